"""The server's end of the UDP protocol, sans-IO: datagrams and calls in, events and datagrams out (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simway_protocol.errors import PeerError
from simway_protocol.limits import DATAGRAM_MAX_BYTES
from simway_protocol.outcomes import Outcome
from simway_protocol.udp.bodies import (
    EPOCH_BYTES,
    NUMBER_MAX,
    REASON_MAX_CHARS,
    Sealed,
    decode_nonce,
    decode_ranges,
)
from simway_protocol.udp.cookie import CookieJar, CookiePeriod
from simway_protocol.udp.downlink import TYPES, Downlink, Pending, Timers
from simway_protocol.udp.events import Address, DataReceived, Refused, ServerEvent, SessionAttached
from simway_protocol.udp.frames import (
    BODY_MAX_BYTES,
    SEALED_MIN_BYTES,
    UP_TYPES,
    Type,
    decode_body,
    parse_header,
)
from simway_protocol.udp.server_progress import TAKE, progress, shelf_of
from simway_protocol.udp.server_reception import Answer, Reception
from simway_protocol.udp.server_session import Session
from simway_protocol.udp.server_table import SessionTable
from simway_protocol.udp.timing import COMMAND_RTO_US, IDLE_TIMEOUT_US, SECOND_US, VALIDATION_PINGS_MAX, backoff_us

__all__ = ["CookiePeriod", "ServerEndpoint"]

SESSIONS_MAX = 100_000
SEALED_BODY_MAX_BYTES = BODY_MAX_BYTES - 64
"""The largest body of COMMAND, CANCEL and CONFIRM."""
_DATA, _REJECTED, _LATER = Type.DATA, Outcome.REJECTED, Outcome.LATER
"""Bound once: before Python 3.12 to look a member up costs as much as a comparison."""


class ServerEndpoint:
    """All sessions of one worker. Not thread-safe; nothing blocks. ``now_us``: one clock, UTC microseconds, in every call.

    After any call that may have made output call ``take_output``; call ``tick`` at ``next_deadline_us``.
    """

    def __init__(
        self,
        *,
        worker_index: int,
        device_key: Callable[[str, int], bytes],
        check_device: Callable[[str, int], str | None],
        random: Callable[[int], bytes],
        idle_timeout_us: int = IDLE_TIMEOUT_US,
        sessions_max: int = SESSIONS_MAX,
    ) -> None:
        """``device_key``: K of (device, key version), may raise for one it does not have; ``check_device``: a refusal's reason or
        None, asked only of who proved K; ``random``: n bytes from the system's generator.
        """
        self._random = random
        self._jar = CookieJar(random)
        self._table = SessionTable(idle_timeout_us, sessions_max)
        self._sessions = self._table.by_id
        self._live = self._table.live
        self._reception = Reception(self._jar, self._table, device_key, check_device, random, worker_index)
        self._downlink = Downlink()
        self._timers = Timers()
        self._now_us = 0
        self._dirty: list[Session] = []
        self._out: list[tuple[bytes, Address]] = []
        self._events: list[ServerEvent] = []

    @property
    def sessions(self) -> int:
        """How many sessions there are, unconfirmed ones included."""
        return len(self._sessions)

    def set_cookie_periods(self, periods: Sequence[CookiePeriod]) -> None:
        """The periods alive, the newest last: call every ``timing.COOKIE_PERIOD_US`` with the newest two.

        Until the first call HELLO is refused as ``not_ready``.
        """
        self._jar.set_periods(periods)

    def busy(self, retry_after_ms: int) -> None:
        """While above 0, HELLO is answered by BUSY with this wait. Sessions go on."""
        self._reception.busy_ms = retry_after_ms

    # --- datagrams in --------------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes, address: Address, now_us: int) -> list[ServerEvent]:
        """Takes one datagram; never raises, whatever the bytes. Answers lie in ``take_output`` afterwards."""
        session = self._sessions.get(datagram[1:9])
        try:
            if session is None:
                self._take_answer(self._reception.receive(datagram, address, now_us), address)
            else:
                self._receive_inside(session, datagram, address, now_us)
        except PeerError as error:
            self._events.append(Refused(error.reason, session.device if session else ""))
        events, self._events = self._events, []
        return events

    def _take_answer(self, answer: Answer, address: Address) -> None:
        if answer.frame is not None:
            self._out.append((answer.frame, address))
        if answer.refused:
            self._events.append(Refused(answer.refused, answer.device))

    def _receive_inside(self, session: Session, datagram: bytes, address: Address, now_us: int) -> None:
        type_ = UP_TYPES.get(datagram[0])
        if type_ is None or not SEALED_MIN_BYTES <= len(datagram) <= DATAGRAM_MAX_BYTES:
            parse_header(datagram)
            raise PeerError("too_short" if type_ else "type")
        plain = session.unseal(datagram)
        session.last_us = now_us
        if address != session.address or session.candidate is not None:
            self._note_address(session, datagram, address, now_us)
        if not session.confirmed:
            self._confirm(session, now_us)
        body = decode_body(plain)
        if type_ is _DATA:
            self._events.append(_data(session, body))
        elif type_ is Type.PING:
            self._send(session, Type.PONG, {1: decode_nonce(body)})
        elif type_ is Type.PONG:
            self._pong(session, decode_nonce(body), address, now_us)
        else:
            try:
                told = TAKE[type_](session, body, self._downlink)
            finally:
                self._mark_settled(session)
            if told is not None:
                self._events.append(told)

    def _confirm(self, session: Session, now_us: int) -> None:
        """The first valid frame: the session is live, its predecessor ends, and what waits for the device goes out."""
        self._events += self._table.confirm(session)
        attach = session.attach
        self._events.append(
            SessionAttached(
                session.device, session.session_id, session.generation, session.address, attach.iccid, attach.boot_counter,
                attach.epoch, attach.last_counter, session.key_version,
            )
        )  # fmt: skip
        self._wake_commands(session.device, now_us)

    # --- addresses -----------------------------------------------------------------------------------------------------------

    def _note_address(self, session: Session, datagram: bytes, address: Address, now_us: int) -> None:
        """A newest frame from another address makes that a candidate; a newest frame from the validated one ends a candidacy."""
        if int.from_bytes(datagram[9:17]) != session.window.top:
            return
        if address == session.address:
            session.candidate = None
        elif session.came_from(address, len(datagram), self._random):
            self._validate(session, session.candidate_nonce, now_us)

    def _validate(self, session: Session, nonce: bytes, now_us: int) -> None:
        """Sends a PING to the candidate, and again until it is answered."""
        if session.candidate is None or session.candidate_nonce != nonce or session.ping_attempts >= VALIDATION_PINGS_MAX:
            return
        session.ping_attempts += 1
        self._send(session, Type.PING, {1: nonce})
        self._timers.add(now_us + backoff_us(COMMAND_RTO_US, session.ping_attempts), (session, nonce))

    def _pong(self, session: Session, nonce: bytes, address: Address, now_us: int) -> None:
        if session.candidate == address and nonce == session.candidate_nonce:
            session.address, session.candidate = address, None
            self._wake_commands(session.device, now_us)

    def _send(self, session: Session, type_: Type, items: dict[int, Any]) -> None:
        """Sends where answers go, within the room that an unvalidated address has."""
        frame = session.seal(type_, items)
        if session.may_reply(len(frame)):
            self._out.append((frame, session.candidate or session.address))

    # --- acknowledgements ----------------------------------------------------------------------------------------------------

    def acknowledge(
        self, session_id: bytes, epoch: str, first: int, last: int, outcome: Outcome, detail: str = "", later_ms: int = 0
    ) -> None:
        """Says what became of the sequence numbers ``first``..``last``, both included; coalesced until ``take_output``.

        ``detail``: the reason of REJECTED (``outcomes.Reason``); ``later_ms``: the wait of LATER. A session that has ended is
        ignored: the device sends again.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return
        acks = session.acks
        if acks is None or acks.epoch != epoch:
            acks = session.acks_for(epoch)
        if outcome == _REJECTED:
            acks.rejected.append((first, last, detail[:REASON_MAX_CHARS]))
        else:
            ranges = acks.logged
            if outcome == _LATER:
                ranges = acks.later
                acks.later_ms = max(acks.later_ms, later_ms)
            if ranges and ranges[-1][1] + 1 == first:
                ranges[-1][1] = last
            else:
                ranges.append([first, last])
        if not session.dirty:
            self._mark_dirty(session)

    def settle(self, session_id: bytes, command_id: bytes, what: str) -> None:
        """``what``: result or closed; the oldest such of the command that was told and not settled is in the log now.

        The device is told in the next ACK, and again when it repeats itself.
        """
        session = self._sessions.get(session_id)
        if session is not None:
            shelf_of(session).settle(command_id, what)
            self._mark_settled(session)

    def _mark_settled(self, session: Session) -> None:
        if session.shelf is not None and session.shelf.has_settled:
            self._mark_dirty(session)

    def _mark_dirty(self, session: Session) -> None:
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)

    def take_output(self, now_us: int) -> list[tuple[bytes, Address]]:
        """The datagrams to send now: what was acknowledged since the last call goes in one ACK a session, if one holds it."""
        self._look_at_clock(now_us)
        self._send_due(now_us)
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            session.dirty = False
            if session.session_id in self._sessions:
                for items in session.take_acks():
                    self._send(session, Type.ACK, items)
        out, self._out = self._out, []
        return out

    # --- commands ------------------------------------------------------------------------------------------------------------

    def submit(self, device: str, command_id: bytes, type: str, body: bytes, mac: bytes, expires_us: int) -> None:
        """Holds a ``command``, ``cancel`` or ``confirm`` until a live session is there, then sends it until answered. Idempotent.

        What was not sent by ``expires_us`` is dropped; what was sent is repeated beyond it, since the device's refusal is worth
        more than silence. A body too large for a frame becomes ``Refused("command_too_long")``. Call ``tick`` soon.
        """
        type_ = TYPES.get(type)
        if type_ is None or len(body) > SEALED_BODY_MAX_BYTES:
            self._events.append(Refused("command_type" if type_ is None else "command_too_long", device))
            return
        pending = self._downlink.add(device, type_, Sealed(command_id, body, mac), expires_us)
        if pending is not None and device in self._live:
            self._timers.add(0, pending)

    def note_sent(self, device: str, command_id: bytes) -> None:
        """Another worker has sent it: the device's refusal is worth more than silence, whichever worker it attaches to."""
        self._downlink.note_sent(device, command_id)

    def forget(self, device: str, command_id: bytes) -> None:
        """Sends nothing more for this command: the ledger says that it is over, or another worker has it."""
        self._downlink.drop(device, command_id)

    def _wake_commands(self, device: str, now_us: int) -> None:
        for pending in self._downlink.of(device):
            pending.attempts = pending.due_us = 0
            self._timers.add(now_us, pending)

    def _look_at_clock(self, now_us: int) -> None:
        """A clock that was set back must not hold up timers until it is there again."""
        if now_us < self._now_us - SECOND_US:
            self._timers.hasten(now_us)
            self._table.begin_anew(now_us)
        self._now_us = now_us

    def _send_due(self, now_us: int) -> None:
        for thing in self._timers.pop_due(now_us):
            if isinstance(thing, Pending):
                self._send_pending(thing, now_us)
            elif thing[0].session_id in self._sessions:
                self._validate(thing[0], thing[1], now_us)

    def _send_pending(self, pending: Pending, now_us: int) -> None:
        session = self._live.get(pending.device)
        if session is None or not pending.live or pending.due_us > now_us:
            return
        if not pending.sent and now_us > pending.expires_us:
            self._downlink.drop(pending.device, pending.command_id, pending.type)
            return
        self._out.append((session.seal(pending.type, pending.items), session.address))
        pending.attempts += 1
        pending.due_us = now_us + backoff_us(COMMAND_RTO_US, pending.attempts)
        self._timers.add(pending.due_us, pending)
        if not pending.sent and pending.type is Type.COMMAND:
            self._events.append(progress(session, pending.command_id, "sent"))
        pending.sent = True

    # --- ends and time -------------------------------------------------------------------------------------------------------

    def supersede(self, device: str, generation: int) -> list[ServerEvent]:
        """Drops sessions of the device older than ``generation``: another worker has a newer one."""
        self._events += self._table.supersede(device, generation)
        return self._take_events()

    def refuse(self, device: str, reason: str) -> list[ServerEvent]:
        """Ends all sessions of the device (``revoked``). What it sends next is answered by RESET, and its ATTACH refused."""
        self._events += self._table.end(self._table.of(device), reason)
        return self._take_events()

    def shutdown(self) -> list[ServerEvent]:
        """Ends every session."""
        self._events += self._table.end(list(self._sessions.values()), "shutdown")
        return self._take_events()

    def tick(self, now_us: int) -> list[ServerEvent]:
        """Does what is due: retransmissions, idle sessions. Call at ``next_deadline_us`` and after ``submit``."""
        self._look_at_clock(now_us)
        self._events += self._table.sweep(now_us)
        self._send_due(now_us)
        return self._take_events()

    def next_deadline_us(self) -> int | None:
        """When ``tick`` is wanted next; may lie in the past. None: only a datagram or a call can make work."""
        if self._events:
            return 0
        times = [time_us for time_us in (self._timers.next_us, self._table.next_sweep_us) if time_us is not None]
        return min(times, default=None)

    def _take_events(self) -> list[ServerEvent]:
        events, self._events = self._events, []
        return events


def _data(session: Session, body: dict[Any, Any]) -> DataReceived:
    """The event of a DATA body: 1 epoch, 2 first sequence, 3 records, 4 dropped ranges."""
    epoch, first, records = body.get(1), body.get(2), body.get(3)
    if type(epoch) is not bytes or len(epoch) != EPOCH_BYTES or type(first) is not int or type(records) is not list:
        raise PeerError("bad_body", "DATA lacks a field")
    dropped = decode_ranges(body[4]) if 4 in body else []
    if not 1 <= first <= NUMBER_MAX - len(records) or not (records or dropped):
        raise PeerError("bad_body", "DATA says nothing, or its numbers are out of range")
    text = session.epoch_text if epoch == session.epoch_bytes else epoch.hex()
    return DataReceived(session.device, session.session_id, text, first, records, dropped)
