"""From the store's values to those of the REST API."""

from __future__ import annotations

from typing import Any, cast

from simway_protocol.messages import Profile

from simway_flask_app.sim_word import SimWord
from simway_flask_app.store import port
from simway_flask_app.store.oversight import Alarm
from simway_flask_app.store.questions import Answer
from simway_flask_app.web import schemas, schemas_readings
from simway_flask_app.web.times import to_text


def optional_text(t_us: int | None) -> str | None:
    """``times.to_text``, or None for None."""
    return None if t_us is None else to_text(t_us)


def device(detail: port.DeviceDetail) -> schemas.Device:
    """A device with its carrier, inventory and session."""
    row, carrier = detail.device, active_carrier(detail)
    return schemas.Device(
        id=row.device,
        name=row.name,
        status=cast(Any, row.status),
        key_version=row.key_version,
        created_at=to_text(row.created_us),
        created_us=row.created_us,
        last_reading_at=optional_text(detail.last_reading_us),
        last_reading_us=detail.last_reading_us,
        active_carrier=carrier,
        inventory=inventory(detail.inventory, carrier.iccid if carrier else "") if detail.inventory else None,
        session=session(detail.session) if detail.session else None,
        alarms=[alarm(item) for item in detail.alarms],
    )


def alarm(row: Alarm) -> schemas.Alarm:
    """One alarm."""
    return schemas.Alarm(
        row.alarm_id, row.device, row.kind, row.subject, cast(Any, row.severity), row.text, to_text(row.raised_us), row.raised_us,
        optional_text(row.over_us), row.over_us,
    )  # fmt: skip


def sim_word(word: SimWord | None) -> schemas.SimWord | None:
    """The SIM's own word."""
    return None if word is None else schemas.SimWord(word.iccid, word.n, word.verified, to_text(word.t_us), word.t_us)


def active_carrier(detail: port.DeviceDetail) -> schemas.Carrier | None:
    """The carrier in use, by the newer of attach and inventory."""
    attach, held = detail.session, detail.inventory
    if attach is not None and attach.iccid and (held is None or attach.attached_us >= held.t_us):
        return _carrier(attach.iccid, held, "attach", attach.attached_us)
    if held is not None and held.active_iccid:
        return _carrier(held.active_iccid, held, "inventory", held.t_us)
    return None


def _carrier(iccid: str, held: port.SimInventory | None, source: str, at_us: int) -> schemas.Carrier:
    profile = next((item for item in held.profiles if item.iccid == iccid), None) if held else None
    provider, name = (profile.provider, profile.name) if profile else ("", "")
    return schemas.Carrier(iccid, provider, name, cast(Any, source), to_text(at_us), at_us)


def inventory(held: port.SimInventory, active_iccid: str) -> schemas.Inventory:
    """The inventory; the carrier in use is marked, which an attach may know before the next inventory does."""
    active = active_iccid or held.active_iccid
    profiles = [_profile(item, item.iccid == active) for item in held.profiles]
    return schemas.Inventory(held.eid, active, profiles, held.os_version, held.smdp, to_text(held.t_us), held.t_us)


def _profile(item: Profile, active: bool) -> schemas.SimProfile:
    return schemas.SimProfile(
        item.iccid,
        item.provider,
        item.name,
        item.nickname,
        item.state,
        item.profile_class,
        active,
        item.fallback,
        list(item.rules),
    )


def session(row: port.Session) -> schemas.Session:
    """The newest attach."""
    return schemas.Session(
        attached=row.detached_us is None,
        gateway=row.gateway,
        address=row.address,
        iccid=row.iccid,
        boot_counter=row.boot_counter,
        key_version=row.key_version,
        attached_at=to_text(row.attached_us),
        attached_us=row.attached_us,
        detached_at=optional_text(row.detached_us),
        detached_us=row.detached_us,
        detached_reason=row.detached_reason,
    )


def reading(row: port.StoredReading) -> schemas_readings.Reading:
    """One reading."""
    return schemas_readings.Reading(row.sensor, to_text(row.t_us), row.t_us, row.value, row.unit)


def series_answer(device_id: str, answer: Answer) -> schemas_readings.SeriesAnswer:
    """Windows or a chart."""
    return schemas_readings.SeriesAnswer(
        device_id, answer.window_us, answer.tier, optional_text(answer.from_us), answer.from_us, optional_text(answer.to_us),
        answer.to_us, answer.raw_from_us, answer.known_from_us,
        [schemas_readings.Series(one.sensor, one.unit, one.points) for one in answer.series],
    )  # fmt: skip


def _command_fields(row: port.Command) -> dict[str, Any]:
    return {
        "id": row.command_id,
        "device": row.device,
        "kind": row.kind,
        "state": str(row.state),
        "reason": row.reason,
        "target": schemas.Target(row.target_iccid, row.provider, row.target_class) if row.kind == "switch" else None,
        "test_profile": row.target_class == "test",
        "forced": row.forced,
        "force_reason": row.force_reason,
        "deadline_s": row.deadline_s,
        "actor": row.actor,
        "counter": row.counter,
        "created_at": to_text(row.created_us),
        "created_us": row.created_us,
        "updated_at": to_text(row.updated_us),
        "updated_us": row.updated_us,
        "expires_at": to_text(row.expires_us),
        "expires_us": row.expires_us,
        "cancel_requested_at": optional_text(row.cancel_requested_us),
        "cancel_requested_us": row.cancel_requested_us,
        "evidence": dict(row.evidence),
    }


def command(row: port.Command) -> schemas.Command:
    """A command."""
    return schemas.Command(**_command_fields(row))


def command_with_history(
    row: port.Command, history: list[port.HistoryRow], word: SimWord | None = None
) -> schemas.CommandWithHistory:
    """A command, what happened to it, and the SIM's own word on it."""
    shown = [history_entry(item) for item in history]
    return schemas.CommandWithHistory(**_command_fields(row), history=shown, sim_word=sim_word(word))


def history_entry(row: port.HistoryRow) -> schemas.HistoryEntry:
    """One line of a command's history."""
    return schemas.HistoryEntry(
        row.seq, to_text(row.t_us), row.t_us, row.actor, row.event, str(row.state), row.reason, dict(row.evidence)
    )
