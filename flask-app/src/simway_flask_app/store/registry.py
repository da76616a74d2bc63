"""Devices: the registry, their newest session, and what their SIM holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from simway_protocol.messages import Attached, Detached, GatewayStarted, Inventory, Profile, RegistryEntry
from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from simway_flask_app.store import alarms, outbox, tiers, trail
from simway_flask_app.store.engine import Database
from simway_flask_app.store.oversight import Alarm
from simway_flask_app.store.port import Device, DeviceDetail, DeviceExists, Session, SimInventory, UnknownDevice
from simway_flask_app.store.schema import devices, inventories, latest, series, sessions

ACTIVE, REVOKED = "active", "revoked"
COUNTER_JUMP_MAX = 2**32
"""A device that reports a command counter further ahead than this is not believed (design, section 8)."""
_profiles = msgspec.json.Decoder(tuple[Profile, ...])
_IS_IT = devices.c.device == bindparam("of")
_DEVICE = select(
    devices.c.device, devices.c.name, devices.c.status, devices.c.key_version, devices.c.created_us, devices.c.updated_us
).where(_IS_IT)
_GENERATION = select(sessions.c.generation).where(sessions.c.device == bindparam("of")).scalar_subquery()
_NEXT_SEAL = (
    update(devices)
    .where(_IS_IT)
    .values(last_counter=devices.c.last_counter + 1)
    .returning(devices.c.last_counter, devices.c.key_version, func.coalesce(_GENERATION, 0))
)


class Registry:
    """The part of the store that knows devices."""

    _database: Database

    def add_device(self, device: str, *, name: str, now_us: int, actor: str = "api") -> Device:
        """See ``port.WebStore``."""
        with trail.deciding(self._database) as connection:
            row = {
                "device": device, "name": name, "status": ACTIVE, "key_version": 1, "last_counter": 0,
                "created_us": now_us, "updated_us": now_us,
            }  # fmt: skip
            try:
                connection.execute(insert(devices).values(row))
            except IntegrityError as error:
                raise DeviceExists(f"device {device} is registered already") from error
            outbox.enqueue(connection, "registry", _entry(device, ACTIVE, 1, now_us), now_us)
            detail = {"name": name, "key_version": 1}
            trail.append(connection, "device.enrolled", device=device, actor=actor, now_us=now_us, detail=detail)
        return Device(device, name, ACTIVE, 1, now_us, now_us)

    def set_device_status(self, device: str, status: str, *, now_us: int, actor: str = "api") -> Device:
        """See ``port.WebStore``."""
        if status not in (ACTIVE, REVOKED):
            raise ValueError(f"a device is {ACTIVE} or {REVOKED}, not {status}")
        with trail.deciding(self._database) as connection:
            changed = connection.execute(
                update(devices)
                .where(devices.c.device == device)
                .values(status=status, updated_us=now_us)
                .returning(devices.c.name, devices.c.key_version, devices.c.created_us)
            ).first()
            if changed is None:
                raise unknown(device)
            outbox.enqueue(connection, "registry", _entry(device, status, changed.key_version, now_us), now_us)
            trail.append(connection, "device.status", device=device, actor=actor, now_us=now_us, detail={"status": status})
        return Device(device, changed.name, status, changed.key_version, changed.created_us, now_us)

    def devices(self, *, limit: int = 100, after: str = "") -> list[DeviceDetail]:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            query = _DETAILS.where(devices.c.device > after).order_by(devices.c.device).limit(limit)
            rows = connection.execute(query).all()
            standing = alarms.standing(connection, [row.device for row in rows])
            return [_detail(row, standing.get(row.device, ())) for row in rows]

    def device(self, device: str) -> DeviceDetail:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return detail(connection, device)

    def require_device(self, device: str) -> Device:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            row = connection.execute(_DEVICE, {"of": device}).first()
        if row is None:
            raise unknown(device)
        return Device(*row)


def unknown(device: str) -> UnknownDevice:
    """The error that names it."""
    return UnknownDevice(f"no device {device} is registered")


def detail(connection: Connection, device: str) -> DeviceDetail:
    """A device with what is known of it. Raises ``UnknownDevice``."""
    row = connection.execute(_DETAILS_OF, {"of": device}).first()
    if row is None:
        raise unknown(device)
    return _detail(row, alarms.standing(connection, [device]).get(device, ()))


def announce(connection: Connection, now_us: int) -> None:
    """Puts every entry of the registry into the outbox again, for a log that knows none."""
    for row in connection.execute(select(devices.c.device, devices.c.status, devices.c.key_version)).all():
        outbox.enqueue(connection, "registry", _entry(row.device, row.status, row.key_version, now_us), now_us)
    tiers.announce(connection, now_us)


def note_attached(connection: Connection, event: Attached) -> None:
    """Keeps the session, unless a newer one is known."""
    values = {
        "generation": event.generation, "gateway": event.gateway, "iccid": event.iccid, "boot_counter": event.boot_counter,
        "epoch": event.epoch, "key_version": event.key_version, "address": event.address, "attached_us": event.t_us,
        "detached_us": None, "detached_reason": "", "place": event.place, "worker": event.worker,
    }  # fmt: skip
    known = connection.execute(select(sessions.c.generation).where(sessions.c.device == event.device)).scalar()
    if known is None:
        connection.execute(insert(sessions).values(device=event.device, **values))
    elif known < event.generation:
        connection.execute(update(sessions).where(sessions.c.device == event.device).values(values))


def note_detached(connection: Connection, event: Detached) -> None:
    """Ends the session, if it is still the newest."""
    connection.execute(
        update(sessions)
        .where(sessions.c.device == event.device, sessions.c.generation == event.generation)
        .values(detached_us=event.t_us, detached_reason=event.reason)
    )


def note_gateway_started(connection: Connection, event: GatewayStarted) -> None:
    """Ends the sessions that lived where a gateway's process begins anew, and those of processes that it has no more.

    Events come in order: what attached to the new process comes later. Sessions from before places were told count as there.
    """
    table = sessions.c
    there = table.place.in_((event.place, "")) & ((table.worker == event.worker) | (table.worker >= event.workers))
    connection.execute(
        update(sessions)
        .where(table.gateway == event.gateway, there, table.detached_us.is_(None))
        .values(detached_us=event.t_us, detached_reason="gateway_lost")
    )


def note_inventory(connection: Connection, event: Inventory) -> None:
    """Keeps the inventory, unless one of a newer session is known. Events come in order, and a gateway's clock may step back."""
    values = {
        "eid": event.eid, "active_iccid": event.active_iccid, "profiles": msgspec.json.encode(event.profiles).decode(),
        "t_us": event.t_us, "generation": event.generation, "os_version": event.os_version, "smdp": event.smdp,
    }  # fmt: skip
    known = connection.execute(select(inventories.c.generation).where(inventories.c.device == event.device)).scalar()
    if known is None:
        connection.execute(insert(inventories).values(device=event.device, **values))
    elif known <= event.generation:
        connection.execute(update(inventories).where(inventories.c.device == event.device).values(values))


def note_counter(connection: Connection, device: str, reported: int) -> bool:
    """Raises the known command counter to what the device reports; False when that is too far ahead to be believed."""
    known = connection.execute(select(devices.c.last_counter).where(devices.c.device == device)).scalar()
    if known is None or reported <= known:
        return True
    if reported - known > COUNTER_JUMP_MAX:
        return False
    connection.execute(update(devices).where(devices.c.device == device).values(last_counter=reported))
    return True


class NextSeal(NamedTuple):
    """What the next command of a device is sealed with; ``generation``: of its newest session, 0 when it never attached."""

    counter: int
    key_version: int
    generation: int


def next_seal(connection: Connection, device: str) -> NextSeal:
    """Takes the next command counter of a device."""
    return NextSeal(*connection.execute(_NEXT_SEAL, {"of": device}).one())


def _entry(device: str, status: str, key_version: int, now_us: int) -> RegistryEntry:
    return RegistryEntry(device, status, [key_version] if status == ACTIVE else [], now_us)


def _details() -> Any:
    newest = (
        select(func.max(latest.c.t_us))
        .select_from(latest.join(series, latest.c.series_id == series.c.series_id))
        .where(series.c.device == devices.c.device)
        .correlate(devices)
        .scalar_subquery()
    )
    return select(
        devices.c.device, devices.c.name, devices.c.status, devices.c.key_version, devices.c.created_us, devices.c.updated_us,
        *(column.label(f"session_{column.name}") for column in sessions.c if column.name != "device"),
        *(column.label(f"sim_{column.name}") for column in inventories.c if column.name != "device"),
        newest.label("last_reading_us"),
    ).select_from(
        devices.outerjoin(sessions, sessions.c.device == devices.c.device).outerjoin(
            inventories, inventories.c.device == devices.c.device
        )
    )  # fmt: skip


_DETAILS = _details()
_DETAILS_OF = _DETAILS.where(_IS_IT)


def _detail(row: Any, standing: tuple[Alarm, ...]) -> DeviceDetail:
    session = inventory = None
    if row.session_generation is not None:
        session = Session(
            row.session_generation, row.session_gateway, row.session_iccid, row.session_boot_counter, row.session_epoch,
            row.session_key_version, row.session_address, row.session_attached_us, row.session_detached_us,
            row.session_detached_reason,
        )  # fmt: skip
    if row.sim_t_us is not None:
        profiles = _profiles.decode(row.sim_profiles)
        inventory = SimInventory(
            row.sim_eid, row.sim_active_iccid, profiles, row.sim_t_us, row.sim_generation, row.sim_os_version, row.sim_smdp
        )
    device = Device(row.device, row.name, row.status, row.key_version, row.created_us, row.updated_us)
    return DeviceDetail(device, session, inventory, row.last_reading_us, standing)
