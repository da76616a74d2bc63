"""Twins in the store: what belongs on each SIM, held against what is reported; the rules are in ``simway_flask_app.twin``.

``refresh`` follows everything that may change a finding: a report, a session, a step of a switch, and what a person says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from simway_flask_app.ledger import FINAL, State
from simway_flask_app.store import alarms, registry, trail
from simway_flask_app.store.engine import Database
from simway_flask_app.store.oversight import Desired, Twin
from simway_flask_app.store.port import DeviceDetail
from simway_flask_app.store.schema import commands, devices, twins
from simway_flask_app.twin import OF_TWIN, Expected, OpenSwitch, Reported, findings

ACTOR = "dispatcher"
OVER = FINAL | {State.EXPIRED, State.CANCELLED}
OPEN = tuple(state for state in State if state not in OVER)
OVERDUE_GRACE_US = 120_000_000
"""A switch may take its deadline, and then so long to go back and say so."""
_UNDER_WAY = (State.RECEIVED, State.EXECUTED, State.CONFIRMING)
_iccids = msgspec.json.Decoder(tuple[str, ...])


class Twins:
    """The part of the store that knows twins."""

    _database: Database

    def twin(self, device: str) -> Twin:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return _twin(connection, device)

    def set_desired(self, device: str, *, iccid: str, eid: str, actor: str, now_us: int) -> Twin:
        """See ``port.WebStore``."""
        with trail.deciding(self._database) as connection:
            reported = _reported(registry.detail(connection, device))
            if reported is not None:
                iccid, eid = iccid or reported.active_iccid, eid or reported.eid
            held = () if reported is None else tuple(profile.iccid for profile in reported.profiles)
            wanted = Desired(iccid, eid, held, "person", actor, now_us)
            _set(connection, device, wanted, now_us)
            refresh(connection, device, now_us, actor=actor)
            return _twin(connection, device)


def note_report(connection: Connection, device: str, now_us: int) -> None:
    """An inventory came: the first one says what belongs on the SIM, later ones are held against it."""
    if connection.execute(select(devices.c.device).where(devices.c.device == device)).first() is None:
        return
    if _desired_row(connection, device) is None:
        reported = _reported(registry.detail(connection, device))
        if reported is None:
            return
        held = tuple(profile.iccid for profile in reported.profiles)
        _set(connection, device, Desired(reported.active_iccid, reported.eid, held, "report", ACTOR, now_us), now_us)
    refresh(connection, device, now_us)


def note_attached(connection: Connection, device: str, iccid: str, now_us: int) -> None:
    """A session came. Mostly it says what shall be, and then there is nothing to judge: a whole fleet may attach at once."""
    wanted = connection.execute(select(twins.c.iccid).where(twins.c.device == device)).scalar()
    if wanted is not None and (wanted != iccid or alarms.standing(connection, [device])):
        refresh(connection, device, now_us)


def note_switch(connection: Connection, row: Any, state: State, now_us: int) -> None:
    """A switch moved to ``state``. VERIFIED says which profile shall be active from now on."""
    known = _desired_row(connection, row.device)
    if known is not None and state in FINAL and known.open_switch == row.command_id:
        connection.execute(update(twins).where(twins.c.device == row.device).values(open_switch=""))
    if known is not None and state is State.VERIFIED:
        held = _iccids.decode(known.profiles)
        wanted = Desired(row.target_iccid, known.eid, held, "switch", row.actor, now_us)
        _set(connection, row.device, wanted, now_us)
    refresh(connection, row.device, now_us)


def note_audit(connection: Connection, device: str, journal: Mapping[str, Any], now_us: int) -> None:
    """An audit told the device's journal: which switch it shows as open."""
    told = journal.get("open_switch")
    command_id = told.get("command_id") if isinstance(told, dict) else ""
    open_switch = command_id if isinstance(command_id, str) else ""
    values = {"open_switch": open_switch, "audited_us": now_us}
    connection.execute(update(twins).where(twins.c.device == device).values(values))
    refresh(connection, device, now_us)


def refresh(connection: Connection, device: str, now_us: int, *, actor: str = ACTOR) -> None:
    """Raises and ends alarms by what is known now. Within a transaction of ``SqlStore.deciding``."""
    row = _desired_row(connection, device)
    switches = open_switches(connection, device, now_us)
    reported = None if row is None else _reported(registry.detail(connection, device))
    expected = Expected("", "", ()) if row is None else Expected(row.iccid, row.eid, _iccids.decode(row.profiles))
    journal = "" if row is None else _not_in_ledger(connection, row.open_switch)
    found, undecided = findings(expected, reported, switches, journal)
    alarms.sync(connection, device, found, frozenset(OF_TWIN) - undecided, now_us, actor=actor)


def open_switches(connection: Connection, device: str, now_us: int) -> list[OpenSwitch]:
    """The device's switches that are not over, the first one first."""
    open_ = commands.c.state.in_([state.value for state in OPEN])
    query = select(commands).where(commands.c.device == device, commands.c.kind == "switch", open_)
    return [_open_switch(row, now_us) for row in connection.execute(query.order_by(commands.c.seq))]


def _open_switch(row: Any, now_us: int) -> OpenSwitch:
    late = row.state in _UNDER_WAY and now_us > row.updated_us + row.deadline_s * 1_000_000 + OVERDUE_GRACE_US
    return OpenSwitch(row.command_id, row.state, row.state == State.UNKNOWN or late)


def newest_switch(connection: Connection, device: str) -> Any:
    """The row of the device's newest switch, or None."""
    query = select(commands).where(commands.c.device == device, commands.c.kind == "switch")
    return connection.execute(query.order_by(commands.c.seq.desc()).limit(1)).first()


def overdue(connection: Connection, now_us: int) -> list[str]:
    """Devices with a switch that time alone has made overdue."""
    table = commands.c
    late = table.updated_us + table.deadline_s * 1_000_000 + OVERDUE_GRACE_US < now_us
    query = select(table.device).where(table.state.in_([state.value for state in _UNDER_WAY]), table.kind == "switch", late)
    return list(connection.execute(query.distinct()).scalars())


def desired_of(connection: Connection, device: str) -> Desired | None:
    """What belongs on the device's SIM, or None before its first report."""
    row = _desired_row(connection, device)
    if row is None:
        return None
    return Desired(row.iccid, row.eid, _iccids.decode(row.profiles), row.source, row.actor, row.set_us)


def _twin(connection: Connection, device: str) -> Twin:
    detail = registry.detail(connection, device)
    row = _desired_row(connection, device)
    newest = newest_switch(connection, device)
    return Twin(
        detail, detail.active_iccid, desired_of(connection, device), "" if newest is None else newest.command_id,
        "" if row is None else row.open_switch, 0 if row is None else row.audited_us,
    )  # fmt: skip


def _desired_row(connection: Connection, device: str) -> Any:
    return connection.execute(select(twins).where(twins.c.device == device)).first()


def _set(connection: Connection, device: str, wanted: Desired, now_us: int) -> None:
    values = {
        "iccid": wanted.iccid, "eid": wanted.eid, "profiles": msgspec.json.encode(wanted.profiles).decode(),
        "source": wanted.source, "actor": wanted.actor, "set_us": wanted.set_us,
    }  # fmt: skip
    if _desired_row(connection, device) is None:
        connection.execute(insert(twins).values(device=device, open_switch="", audited_us=0, **values))
    else:
        connection.execute(update(twins).where(twins.c.device == device).values(values))
    detail = {"iccid": wanted.iccid, "eid": wanted.eid, "profiles": list(wanted.profiles), "source": wanted.source}
    trail.append(
        connection, "desired.changed", device=device, actor=wanted.actor, subject=wanted.iccid, now_us=now_us, detail=detail
    )


def _reported(detail: DeviceDetail) -> Reported | None:
    held = detail.inventory
    return None if held is None else Reported(held.eid, detail.active_iccid, held.profiles)


def _not_in_ledger(connection: Connection, command_id: str) -> str:
    if not command_id:
        return ""
    state = connection.execute(select(commands.c.state).where(commands.c.command_id == command_id)).scalar()
    return command_id if state is None or state in OVER else ""
