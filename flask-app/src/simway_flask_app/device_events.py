"""What ``device-events`` does to the store: sessions, inventories, and the ledger's transitions. Within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import structlog
from simway_protocol.messages import Attached, AuditAnchor, CommandEvent, Detached, DeviceEvent, GatewayStarted, Inventory
from sqlalchemy import Connection, select

from simway_flask_app import anchors, audits, ledger
from simway_flask_app.ledger import Event, State
from simway_flask_app.sealing import last_deadline_us, seal_confirm
from simway_flask_app.store import alarms, commands, outbox, registry, trail, twins
from simway_flask_app.store.accepting import ANSWER_GRACE_US
from simway_flask_app.store.commands import Transitions
from simway_flask_app.store.schema import devices
from simway_flask_app.trail import Head, Signer
from simway_flask_app.twin import Finding, Kind

log = structlog.get_logger()

SEALS_MAX = 8
"""A command refused for its counter is sealed anew at most this often."""
JOURNAL_COMMANDS = 16
"""A device's journal lists at least so many commands, or all there are (docs/protocol.md, 8)."""
ACTOR = "dispatcher"
DEVICE = "device"


class DeviceEvents:
    """Applies events. ``on_alarm`` is called when a device's report is not believed. ``noted``: the newest signed head read."""

    def __init__(self, master_secret: bytes, *, on_alarm: Callable[[], object] = lambda: None) -> None:
        self.master_secret, self._on_alarm = master_secret, on_alarm
        self.noted = anchors.Noted()
        self._signer = Signer.of(master_secret)

    def apply_all(self, connection: Connection, events: Sequence[DeviceEvent], now_us: int) -> None:
        """Takes events in their order; what happened to one command, one thing right after the other, is written at once."""
        for is_of_command, run in groupby(events, key=_command_of):
            if is_of_command is not None:
                self._command(connection, [event for event in run if isinstance(event, CommandEvent)], now_us)
                continue
            for event in run:
                self.apply(connection, event, now_us)

    def apply(self, connection: Connection, event: DeviceEvent, now_us: int) -> None:
        """Takes one event."""
        if isinstance(event, Attached):
            registry.note_attached(connection, event)
            twins.note_attached(connection, event.device, event.iccid, now_us)
            self._check_counter(connection, event.device, event.last_counter, event.t_us, now_us)
            audits.ask_at_attach(connection, event.device, now_us)
        elif isinstance(event, Detached):
            registry.note_detached(connection, event)
        elif isinstance(event, GatewayStarted):
            registry.note_gateway_started(connection, event)
        elif isinstance(event, Inventory):
            registry.note_inventory(connection, event)
            twins.note_report(connection, event.device, now_us)
        elif isinstance(event, AuditAnchor):
            self._check_anchor(connection, event, now_us)
        else:
            self._command(connection, [event], now_us)

    def _check_counter(self, connection: Connection, device: str, reported: int, t_us: int, now_us: int) -> None:
        """The device accepts only counters above ``reported``: what is sealed below that and not sent yet is sealed anew.

        A command sealed with just that counter is most likely with the device, and the gateway died before it could say that it
        sent it: it counts as sent, in a session before this one, so that this one can prove it. If not, the device refuses it
        for its counter, and it is sealed anew then.
        """
        if not registry.note_counter(connection, device, reported):
            self._alarm(connection, device, reported, now_us)
            return
        alarms.sync(connection, device, (), (Kind.COMMAND_COUNTER,), now_us)
        for row in commands.unsent(connection, device, reported):
            if row.counter == reported:
                after = ledger.move(row.kind, State.QUEUED, Event.SENT) or State.SENT
                commands.transition(connection, row, after, actor=ACTOR, event=str(Event.SENT), t_us=t_us, now_us=now_us)
                continue
            commands.transition(
                connection, row, State.QUEUED, actor=ACTOR, event="unsealed", t_us=t_us, now_us=now_us, reason="counter",
                counter=None,
            )  # fmt: skip

    def _command(self, connection: Connection, events: Sequence[CommandEvent], now_us: int) -> None:
        """Events of one command and device."""
        device, command_id = events[0].device, events[0].command_id
        row = commands.find(connection, command_id, lock=True)
        if row is None or row.device != device:
            log.warning("an event of a command that is not in the ledger", device=device, command_id=command_id)
            return
        steps = commands.Transitions(connection, row, now_us)
        for event in events:
            self._happened(connection, steps, event, now_us)
        steps.write()

    def _happened(self, connection: Connection, steps: Transitions, event: CommandEvent, now_us: int) -> None:
        row = steps.row
        happened = _meaning(row, event)
        if happened is None:
            log.info("an answer that moves nothing", command_id=row.command_id, answer=event.event, reason=event.reason)
        elif happened is Event.BAD_COUNTER:
            self._bad_counter(connection, steps, event, now_us)
        else:
            if happened is Event.PROVED and ledger.move(row.kind, State(row.state), Event.EXECUTED):
                self._move(connection, steps, Event.EXECUTED, event, now_us)  # one RESULT says both: done, and proved
            self._move(connection, steps, happened, event, now_us)

    def _move(self, connection: Connection, steps: Transitions, happened: Event, event: CommandEvent, now_us: int) -> None:
        """A step of a switch is written before the next one: what follows from it reads the ledger."""
        row = steps.row
        after = ledger.move(row.kind, State(row.state), happened)
        if after is None:
            return
        changes: dict[str, Any] = {}
        if happened in (Event.SENT, Event.RECEIVED) and (happened is Event.SENT or row.state != State.SENT):
            changes["sent_generation"] = event.generation
        if row.kind == "switch" and after in (State.EXECUTED, State.CONFIRMING):
            changes["answer_by_us"] = last_deadline_us(row, now_us) + ANSWER_GRACE_US
        actor = event.gateway if happened in (Event.SENT, Event.EXPIRE) else DEVICE
        proof = commands.proof(connection, row.command_id) if after is State.VERIFIED else {}
        steps.add(
            after, actor=actor, event=str(happened), t_us=event.t_us, reason=event.reason,
            evidence={**proof, **_evidence(event)}, **changes,
        )  # fmt: skip
        if row.kind == "ping":
            return
        steps.write()
        if after is State.CONFIRMING:
            self._confirm(connection, row, now_us)
        if row.kind == "audit" and after is State.EXECUTED:
            self._resolve(connection, row, event, now_us)

    def _confirm(self, connection: Connection, row: Any, now_us: int) -> None:
        key_version = connection.execute(select(devices.c.key_version).where(devices.c.device == row.device)).scalar_one()
        message = seal_confirm(self.master_secret, row, row.counter or 0, key_version, now_us)
        outbox.enqueue(connection, "downlink", message, now_us)

    def _bad_counter(self, connection: Connection, steps: Transitions, event: CommandEvent, now_us: int) -> None:
        steps.write()
        row = steps.row
        reported = event.evidence.get("last_counter")
        believed = type(reported) is not int or registry.note_counter(connection, row.device, reported)
        if type(reported) is int and row.counter is not None and believed and reported < row.counter:
            return  # an answer to an earlier seal, come late
        if not believed:
            self._alarm(connection, row.device, reported, now_us)
        if row.cancel_requested_us is not None:
            self._move(connection, steps, Event.CANCELLED, event, now_us)  # not begun, and the refusal ends the CANCEL, too
        elif not believed or row.seals >= SEALS_MAX:
            self._move(connection, steps, Event.REFUSED, event, now_us)
        elif ledger.move(row.kind, State(row.state), Event.BAD_COUNTER) is not None:
            steps.add(
                State.QUEUED, actor=DEVICE, event=str(Event.BAD_COUNTER), t_us=event.t_us, reason=event.reason,
                evidence=_evidence(event), counter=None,
            )  # fmt: skip

    def _resolve(self, connection: Connection, audit: Any, event: CommandEvent, now_us: int) -> None:
        """An audit brings the device's journal: it may tell what became of commands whose end is UNKNOWN."""
        journal = event.evidence.get("journal")
        if not isinstance(journal, dict):
            return
        twins.note_audit(connection, audit.device, journal, now_us)
        for row in commands.unresolved(connection, audit.device):
            try:
                reaches_back = _reaches_back(connection, journal, row, audit)
                happened = ledger.event_of_audit(journal, row.kind, row.command_id, reaches_back=reaches_back)
            except (TypeError, ValueError, AttributeError, KeyError):
                log.warning("a journal that cannot be read", device=audit.device)
                return
            after = None if happened is None else ledger.move(row.kind, State(row.state), happened)
            if after is not None:
                reason = "never_received" if happened is Event.REFUSED else ""
                proof = commands.proof(connection, row.command_id) if after is State.VERIFIED else {}
                commands.transition(
                    connection, row, after, actor=DEVICE, event="audited", t_us=event.t_us, now_us=now_us, reason=reason,
                    evidence={**proof, "audit": event.command_id},
                )  # fmt: skip

    def _alarm(self, connection: Connection, device: str, reported: object, now_us: int) -> None:
        self._on_alarm()
        log.error("a device reports a command counter that cannot be true; it is not believed", device=device, reported=reported)
        text = f"The device reports command counter {reported}, which cannot be true. Was its journal replaced?"
        alarms.sync(connection, device, [Finding(Kind.COMMAND_COUNTER, "", text)], (), now_us)

    def _check_anchor(self, connection: Connection, event: AuditAnchor, now_us: int) -> None:
        """What was anchored must still stand in the trail: a restored or trimmed store does not have it."""
        head = Head(event.seq, event.hash)
        if not self._signer.verify(head, event.signature):
            log.error("an anchor of the audit trail that this platform did not sign", seq=event.seq)
            return
        self.noted.see(head)
        if trail.stands(connection, head):
            trail.note_anchor(connection, head, event.signature, event.t_us)
            return
        log.error("the audit trail lacks an entry whose hash was signed and anchored", seq=event.seq)
        anchors.raise_alarm(connection, head, now_us)


def _command_of(event: DeviceEvent) -> tuple[str, str] | None:
    return (event.device, event.command_id) if isinstance(event, CommandEvent) else None


def _reaches_back(connection: Connection, journal: dict[str, Any], row: Any, audit: Any) -> bool:
    """True when the journal would show the command ``row``, had the device ever taken it on.

    The device took on the audit, so it takes nothing of a lower counter any more. A short journal is whole, unless it is that of
    a device that forgot what we know it did; a full one reaches as far back as its oldest command.
    """
    if row.counter is None or audit.counter is None or row.counter > audit.counter:
        return False
    entries = journal["commands"]
    listed = [str(entry["command_id"]) for entry in entries if entry["outcome"] != "cancelled"]  # a CANCEL may come late
    if commands.any_before(connection, row, listed):
        return True
    is_whole = len(entries) < JOURNAL_COMMANDS and not journal.get("journal_lost")
    return is_whole and not commands.heard_before(connection, row, DEVICE)


def _meaning(row: Any, event: CommandEvent) -> Event | None:
    if event.event == "result":
        proves = event.iccid == row.target_iccid and event.generation > row.sent_generation
        return ledger.event_of_result(row.kind, event.outcome, event.reason, proves=proves)
    if event.event == "closed":
        return ledger.event_of_closed(event.outcome)
    return {"sent": Event.SENT, "received": Event.RECEIVED, "expired": Event.EXPIRE}.get(event.event)


def _evidence(event: CommandEvent) -> dict[str, Any]:
    """What goes into the history beside the words: the session, and what the device told; ``{}`` for a mere transmission."""
    if event.event in ("sent", "expired"):
        return {}
    return {"generation": event.generation, "iccid": event.iccid, **event.evidence}
