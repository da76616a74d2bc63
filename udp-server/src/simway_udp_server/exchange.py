"""What each event of the endpoint leads to, without socket, thread or timer: the worker makes calls of datagrams and callbacks.

Up: DATA -> ``admit`` -> batcher; when the log has it, the ACK. Beside it the events of devices go to ``device-events``, in order,
and RESULT and CLOSED are settled with the device when they are there. Down: ``commands`` knows what is open, the endpoint sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from simway_ingest.admission import Verdict, admit_pack
from simway_ingest.appender import Appender
from simway_ingest.batcher import Batcher, Busy, Settled
from simway_ingest.dead_letters import DeadLetters
from simway_protocol import messages
from simway_protocol.commands import ResultOutcome
from simway_protocol.messages import (
    Attached,
    CommandEvent,
    DeadLetter,
    Detached,
    DeviceEvent,
    Downlink,
    GatewayStarted,
    Inventory,
    RegistryEntry,
    Uplink,
)  # fmt: skip
from simway_protocol.outcomes import Outcome
from simway_protocol.udp.events import CommandProgress, DataReceived, Refused, ServerEvent, SessionAttached, SessionEnded
from simway_protocol.udp.server import ServerEndpoint

from simway_udp_server.commands import Commands
from simway_udp_server.counts import GATEWAY, Counts
from simway_udp_server.evidence import clean, clean_text, inventory_of
from simway_udp_server.traces import Traces

NO_COMMAND = bytes(16)
"""The command id of an inventory that nobody asked for."""
PROGRESS_PATIENCE_S = 0.05
"""So long may SENT and RECEIVED wait for the RESULT of a quick command, which then waits for no append but its own.

Not those of a switch: its RESULT comes by another session, whose worker would publish it before RECEIVED is out.
"""
_REASON_MAX_CHARS = 200
_OUTCOMES = frozenset(outcome.value for outcome in ResultOutcome)

Token = tuple[bytes, str, list[Verdict], int]
"""What an uplink is answered by: session id, epoch, verdicts, when it came (us)."""


class Exchange:
    """The glue of one worker; every call on its event loop. Times are UTC microseconds.

    After ``take`` and any other call the worker sends what ``endpoint.take_output`` holds; ``wake`` asks it to, at other times.
    ``batcher`` is to be set, and to answer to ``settled``.
    """

    def __init__(
        self,
        endpoint: ServerEndpoint,
        *,
        events: Appender,
        letters: DeadLetters,
        counts: Counts,
        check_device: Callable[[str, int], str | None],
        retention_us: Callable[[], int],
        announces_expiry: bool,
        wake: Callable[[], None],
        traces: Traces | None = None,
        place: str = "",
        worker: int = 0,
    ) -> None:
        """``retention_us``: how old readings may be now. ``announces_expiry``: of all workers one says that a command expired
        unsent. ``traces``: None when they are off. ``place`` and ``worker``: where our sessions live (``messages.Attached``).
        """
        self.endpoint, self.commands = endpoint, Commands()
        self._events, self._letters, self._counts = events, letters, counts
        self._check_device, self._retention_us, self._announces_expiry = check_device, retention_us, announces_expiry
        self._wake, self._traces = wake, traces
        self._place, self._worker = place, worker
        self._begun = False
        self._sessions: dict[str, SessionAttached] = {}
        self._refused = counts.refused
        self.batcher: Batcher[Token]

    # --- up ------------------------------------------------------------------------------------------------------------------

    def take(self, found: Sequence[ServerEvent], now_us: int) -> None:
        """Does what the endpoint's events ask for."""
        for event in found:
            kind = type(event)
            if kind is DataReceived:
                self._take_data(event, now_us)  # type: ignore[arg-type]
            elif kind is Refused:
                self._refused[event.reason] = self._refused.get(event.reason, 0) + 1  # type: ignore[union-attr]
                if event.reason == "bad_result":  # type: ignore[union-attr]
                    self._letters.add([DeadLetter("udp-server", "bad_result", now_us, event.device, GATEWAY)])
            elif kind is CommandProgress:
                self._take_progress(event, now_us)  # type: ignore[arg-type]
            elif kind is SessionAttached:
                self._take_attached(event, now_us)  # type: ignore[arg-type]
            elif kind is SessionEnded:
                self._take_ended(event, now_us)  # type: ignore[arg-type]

    def _take_data(self, event: DataReceived, now_us: int) -> None:
        head = Uplink(event.device, GATEWAY, now_us, event.epoch, event.first_seq)
        sampled = self._traces.sample(head) if self._traces is not None else None
        admission = admit_pack(event.records, head, event.dropped, self._retention_us())
        uplinks, verdicts = admission.uplinks, admission.verdicts
        if uplinks:
            try:
                self.batcher.add(uplinks, (event.session_id, event.epoch, verdicts, now_us), sampled)
            except Busy as busy:
                self._later(event.session_id, event.epoch, verdicts, "busy", busy.retry_after_ms)
                if sampled is not None:
                    self._traces.turned_away(sampled, str(busy))  # type: ignore[union-attr]
                return
            if sampled is not None:
                sampled.handed_over(len(event.records))
        if admission.letters:
            self._letters.add(admission.letters)
        if not uplinks:
            return
        counts = self._counts
        counts.uplinks += 1
        counts.readings += len(event.records)
        for _, refusal in admission.refusals:
            _count(counts.rejected, refusal.reason)
        for first, last in uplinks[0].dropped:
            counts.dropped_at_device += last - first + 1

    def _later(self, session_id: bytes, epoch: str, verdicts: list[Verdict], reason: str, retry_after_ms: int) -> None:
        _count(self._counts.later, reason)
        for first, last, _, _ in verdicts:
            self.endpoint.acknowledge(session_id, epoch, first, last, Outcome.LATER, "", retry_after_ms)

    def settled(self, results: Sequence[Settled[Token]], now_us: int) -> None:
        """The log has answered: tells the devices."""
        acknowledge, acknowledged = self.endpoint.acknowledge, self._counts.acknowledged
        for result in results:
            if result.traced and self._traces is not None:
                self._traces.settled(result)
            if result.error is not None:
                for session_id, epoch, verdicts, _ in result.tokens:
                    self._later(session_id, epoch, verdicts, "log", result.retry_after_ms)
                continue
            came_us = times = 0
            for session_id, epoch, verdicts, received_us in result.tokens:
                for first, last, outcome, reason in verdicts:
                    acknowledge(session_id, epoch, first, last, outcome, reason)
                if received_us != came_us:
                    if times:
                        acknowledged(now_us - came_us, times)
                    came_us, times = received_us, 0
                times += 1
            acknowledged(now_us - came_us, times)

    # --- sessions ------------------------------------------------------------------------------------------------------------

    def _take_attached(self, event: SessionAttached, now_us: int) -> None:
        self._counts.attached += 1
        self._sessions[event.device] = event
        host, port = event.address
        self._publish(
            Attached(
                event.device, event.generation, GATEWAY, event.iccid, event.boot_counter, event.epoch, event.last_counter,
                event.key_version, now_us, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", self._place, self._worker,
            )
        )  # fmt: skip
        refusal = self._check_device(event.device, event.key_version)
        if refusal:
            self.take(self.endpoint.refuse(event.device, "revoked"), now_us)

    def _take_ended(self, event: SessionEnded, now_us: int) -> None:
        known = self._sessions.get(event.device)
        if known is not None and known.session_id == event.session_id:
            del self._sessions[event.device]
        self._publish(Detached(event.device, event.generation, GATEWAY, event.reason, now_us))

    def registry_changed(self, entry: RegistryEntry, now_us: int) -> None:
        """Ends the device's session if it is revoked, or used a key version that is listed no more."""
        known = self._sessions.get(entry.device)
        if entry.status != "active" or (known is not None and known.key_version not in entry.key_versions):
            self.take(self.endpoint.refuse(entry.device, "revoked"), now_us)

    def has_session(self, device: str) -> bool:
        """Whether a live session of the device is here. May be called from any thread."""
        return device in self._sessions

    # --- commands ------------------------------------------------------------------------------------------------------------

    def _take_progress(self, event: CommandProgress, now_us: int) -> None:
        """Publishes, and settles RESULT and CLOSED once the log has them."""
        durable = None
        if event.event in ("result", "closed"):
            durable = partial(self._settle, event.session_id, event.command_id, event.event)
        evidence = clean(event.evidence)
        inventory = self._inventory(event, evidence, now_us)
        if inventory is not None:
            self._publish(inventory, durable if event.command_id == NO_COMMAND else None)
        elif event.command_id == NO_COMMAND and durable is not None:
            self._letters.add([DeadLetter("udp-server", "bad_inventory", now_us, event.device, GATEWAY)])
            durable()
        if event.command_id != NO_COMMAND:
            said = _said(event, evidence, now_us)
            is_in_no_hurry = said.event in ("sent", "received") and self.commands.is_quick(said.device, said.command_id)
            self.commands.note(said, now_us)
            self._publish(said, durable, PROGRESS_PATIENCE_S if is_in_no_hurry else 0.0)

    def _settle(self, session_id: bytes, command_id: bytes, what: str) -> None:
        self.endpoint.settle(session_id, command_id, what)
        self._wake()

    def _inventory(self, event: CommandProgress, evidence: dict[str, object], now_us: int) -> Inventory | None:
        found = inventory_of(evidence) if event.event == "result" else None
        if found is None:
            return None
        return Inventory(
            event.device, GATEWAY, event.generation, now_us, found.eid, found.active_iccid, found.profiles, found.os_version,
            found.smdp,
        )  # fmt: skip

    def downlink(self, found: Sequence[tuple[Downlink, int]], now_us: int) -> None:
        """New records of ``downlink``, each with the time of its append: what is open goes to the endpoint, from ``begin`` on."""
        for message, appended_us in found:
            if self.commands.take(message, appended_us, now_us) and self._begun:
                self._submit(message)

    def announce(self, workers: int, now_us: int) -> None:
        """Says, before any session is published, that this worker begins; ``workers``: how many there are."""
        self._publish(GatewayStarted("", GATEWAY, self._place, self._worker, workers, now_us))

    def begin(self) -> None:
        """Both topics have been read to their end: what is open now is to be sent."""
        self._begun = True
        for message in self.commands.open():
            self._submit(message)

    def _submit(self, message: Downlink) -> None:
        self.endpoint.submit(
            message.device, bytes.fromhex(message.command_id), message.type, message.body, message.mac, message.expires_us
        )  # fmt: skip
        if self.commands.was_sent(message.device, message.command_id):
            self.endpoint.note_sent(message.device, bytes.fromhex(message.command_id))

    def device_events(self, found: Sequence[tuple[DeviceEvent, int]], now_us: int) -> None:
        """What any worker has published: a newer session elsewhere ends ours, a command that is over is sent no more."""
        for event, appended_us in found:
            if isinstance(event, Attached):
                self.take(self.endpoint.supersede(event.device, event.generation), now_us)
            elif isinstance(event, CommandEvent):
                self._happened(event, appended_us)

    def _happened(self, event: CommandEvent, appended_us: int) -> None:
        if self.commands.note(event, appended_us):
            self._forget(event.device, event.command_id)
        elif event.event == "sent" and self.commands.was_sent(event.device, event.command_id):
            self.endpoint.note_sent(event.device, bytes.fromhex(event.command_id))

    def _forget(self, device: str, command_id: str) -> None:
        """Ends what is over under this id, and goes on with what is not (a confirm, say)."""
        if not self._begun:
            return
        self.endpoint.forget(device, bytes.fromhex(command_id))
        for message in self.commands.of(device, command_id):
            self._submit(message)

    def expire(self, now_us: int) -> None:
        """Drops what has expired; call about once a second."""
        for message, never_sent in self.commands.expire(now_us):
            self._forget(message.device, message.command_id)
            if never_sent and self._announces_expiry:
                self._publish(
                    CommandEvent(message.device, message.command_id, "expired", GATEWAY, 0, now_us, counter=message.counter)
                )

    def _publish(self, event: DeviceEvent, durable: Callable[[], None] | None = None, patience_s: float = 0.0) -> None:
        """Results and closings always find room: a device has one command outstanding and waits until they are logged."""
        always = durable is not None
        self._events.add(event.device.encode(), messages.encode(event), durable, always=always, patience_s=patience_s)


def _count(totals: dict[str, int], name: str) -> None:
    totals[name] = totals.get(name, 0) + 1


def _said(event: CommandProgress, evidence: dict[str, object], now_us: int) -> CommandEvent:
    """What the device said, as the log takes it. An outcome that is none counts as failed: the ledger must be able to go on."""
    outcome, reason = event.outcome, clean_text(event.reason, _REASON_MAX_CHARS)
    if event.event in ("result", "closed") and outcome not in _OUTCOMES:
        outcome, reason = ResultOutcome.FAILED.value, f"unknown outcome {ascii(outcome)[:40]}"
    return CommandEvent(
        event.device, event.command_id.hex(), event.event, GATEWAY, event.generation, now_us, event.iccid, outcome, reason,
        event.counter, evidence,
    )  # fmt: skip
