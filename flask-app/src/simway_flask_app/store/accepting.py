"""Taking a command on: the facts that its judge sees, its row, and what the audit trail says of the decision."""

from __future__ import annotations

from typing import Any

from simway_protocol.commands import SWITCH_FLOOR_MAX_S
from sqlalchemy import Connection, Insert, bindparam, func, insert, literal_column, select

from simway_flask_app.ledger import State
from simway_flask_app.policy import DAY_US, Facts, Refusal, Verdict
from simway_flask_app.store import registry, trail, twins
from simway_flask_app.store.port import NewCommand
from simway_flask_app.store.schema import commands, devices
from simway_flask_app.twin import profile_of

ANSWER_GRACE_US = 30_000_000
"""Added to a command's last moment before silence is called UNKNOWN: what is under way shall arrive."""
_NEVER_BEGUN = (State.CANCELLED.value, State.EXPIRED.value)
"""Switches that the device never began do not count against the daily cap."""


def facts(connection: Connection, command: NewCommand, now_us: int) -> Facts:
    """What is known of the device now. Raises ``UnknownDevice``."""
    detail = registry.detail(connection, command.device)
    table = commands.c
    switches = twins.open_switches(connection, command.device, now_us)
    unknown = [switch.command_id for switch in switches if switch.state == State.UNKNOWN]
    open_ = [switch.command_id for switch in switches if switch.state != State.UNKNOWN]
    recent = (
        select(table.created_us)
        .where(table.device == command.device, table.kind == "switch", table.created_us > now_us - DAY_US)
        .where(table.state.not_in(_NEVER_BEGUN))
        .order_by(table.created_us)
    )
    return Facts(
        command.target_iccid, None if detail.inventory is None else detail.inventory.profiles, detail.active_iccid,
        open_[0] if open_ else "", unknown[0] if unknown else "", tuple(connection.execute(recent).scalars()),
    )  # fmt: skip


def add(connection: Connection, command: NewCommand, target_class: str, now_us: int) -> dict[str, Any]:
    """Inserts the command's row, behind all others of its device; gives it, but for that place. Raises ``UnknownDevice``."""
    row = {
        "command_id": command.command_id, "device": command.device, "kind": command.kind, "state": State.QUEUED.value,
        "target_iccid": command.target_iccid, "provider": command.provider, "deadline_s": command.deadline_s,
        "expires_us": command.expires_us, "answer_by_us": command.expires_us + _patience_s(command) * 1_000_000 + ANSWER_GRACE_US,
        "created_us": now_us, "updated_us": now_us, "actor": command.actor, "reason": "", "evidence": "{}", "turn": 0,
        "counter": None, "seals": 0, "sent_generation": 0, "cancel_requested_us": None, "cancel_pending": 0,
        "forced": int(command.forced), "force_reason": command.force_reason, "target_class": target_class,
    }  # fmt: skip
    if connection.execute(_ADD, {_MARK + name: value for name, value in row.items()}).rowcount != 1:
        raise registry.unknown(command.device)
    return row


def _adding() -> Insert:
    """One statement that looks for the device and for the place behind its last command."""
    device = bindparam(_MARK + "device", type_=commands.c.device.type)
    newest = select(func.coalesce(func.max(commands.c.seq), 0)).where(commands.c.device == device).scalar_subquery()
    values = [
        newest + literal_column("1") if column.name == "seq" else bindparam(_MARK + column.name, type_=column.type)
        for column in commands.c
    ]
    adding = insert(commands).from_select(list(commands.c), select(*values).where(devices.c.device == device))
    return adding.execution_options(preserve_rowcount=True)


_MARK = "the_"
_ADD = _adding()


def note_accepted(connection: Connection, command: NewCommand, target_class: str, verdict: Verdict, now_us: int) -> None:
    """The audit trail's word on a command that was accepted, and on the rules that somebody set aside for it."""
    detail = _detail(command) | {"command_id": command.command_id, "target_class": target_class}
    _append(connection, "command.accepted", command, command.command_id, detail, now_us)
    if command.forced:
        forced = {"reason": command.force_reason, "overridden": list(verdict.overridden)}
        _append(connection, "command.forced", command, command.command_id, forced, now_us)


def note_refused(connection: Connection, command: NewCommand, refusal: Refusal, now_us: int) -> None:
    """The audit trail's word on a command that a rule forbids."""
    detail = _detail(command) | {"reason": refusal.reason, "text": refusal.text}
    if command.forced:
        detail["force_reason"] = command.force_reason
    _append(connection, "command.refused", command, command.target_iccid, detail, now_us)


def _append(connection: Connection, kind: str, command: NewCommand, subject: str, detail: dict[str, Any], now_us: int) -> None:
    trail.append(connection, kind, device=command.device, actor=command.actor, subject=subject, now_us=now_us, detail=detail)


def _detail(command: NewCommand) -> dict[str, Any]:
    return {
        "kind": command.kind, "target_iccid": command.target_iccid, "provider": command.provider,
        "deadline_s": command.deadline_s, "expires_us": command.expires_us, "forced": command.forced,
    }  # fmt: skip


def target_class(known: Facts) -> str:
    """The profile class of the target; empty where that is not known."""
    target = profile_of(known.profiles or (), known.target)
    return "" if target is None else target.profile_class


def _patience_s(command: NewCommand) -> int:
    """A device whose modem is slow gives a switch longer than its deadline."""
    return max(command.deadline_s, SWITCH_FLOOR_MAX_S) if command.kind == "switch" else command.deadline_s
