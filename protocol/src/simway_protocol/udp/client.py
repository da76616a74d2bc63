"""The device's end of the UDP protocol, sans-IO: datagrams and calls in, events and datagrams out (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cbor2

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.limits import RANGES_MAX_PER_FRAME
from simway_protocol.messages import Range
from simway_protocol.readings import Reading
from simway_protocol.senml import to_records
from simway_protocol.udp.bodies import PING_NONCE_BYTES, Ack, decode_ack, decode_nonce, decode_sealed
from simway_protocol.udp.client_handshake import Agreed, AttachWish, Handshake
from simway_protocol.udp.client_session import ClientSession, Receipt
from simway_protocol.udp.events import (
    Acknowledged,
    AttachedTo,
    AttachRefused,
    ClientEvent,
    CommandArrived,
    Refused,
    SessionLost,
    Settled,
)
from simway_protocol.udp.flight import Flight, Pacer
from simway_protocol.udp.frames import BODY_MAX_BYTES, Header, Type, decode_body, decode_clear, encode_body, parse_header
from simway_protocol.udp.reports import Reports
from simway_protocol.udp.timing import LATER_MAX_MS, PACING_BURST

_READINGS_PER_FRAME_MAX = 128
_DATA_HEAD_BYTES = 32
"""Map, keys, epoch, first sequence and the array's head, at their longest."""
_RANGE_BYTES = 19
_HANDSHAKE = {Type.CHALLENGE, Type.ATTACHED, Type.BUSY}
_SEALED = {Type.COMMAND, Type.CANCEL, Type.CONFIRM}
_REMEMBERED_MAX = 16


def reading_fits(reading: Reading) -> bool:
    """Whether a reading fits into a DATA frame at all; what does not is to be refused at the outbox."""
    return len(cbor2.dumps(to_records([reading])[0])) <= BODY_MAX_BYTES - _DATA_HEAD_BYTES


class ClientEndpoint:
    """One device's way to the server. Not thread-safe; nothing blocks. ``now_us``: one clock, microseconds, in every call.

    A handshake and a session live side by side: while a new session is being attached the old one goes on, until ``AttachedTo``.
    At every ``AttachedTo`` (there may be two in a row, when an ATTACH was answered twice) and at ``SessionLost`` the DATA frames
    in flight are dropped: the shell offers again whatever its outbox holds unacknowledged. Results and closings stay, and go out
    again by themselves. After any call that may have made output call ``take_output``; call ``tick`` at ``next_deadline_us``.
    """

    def __init__(self, *, device: str, key_version: int, random: Callable[[int], bytes]) -> None:
        self._device = device
        self._key_version = key_version
        self._random = random
        self._handshake: Handshake | None = None
        self._session: ClientSession | None = None
        self._epoch = b""
        self._next_epoch = b""
        self._flight = Flight()
        self._pacer = Pacer(PACING_BURST)
        self._reports = Reports()
        self._pause_until_us = 0
        self._now_us = 0
        self._out: list[bytes] = []

    @property
    def attached(self) -> bool:
        """Whether a session stands."""
        return self._session is not None

    @property
    def session_id(self) -> bytes:
        """Of the session that stands, else empty."""
        return self._session.session_id if self._session else b""

    @property
    def generation(self) -> int:
        """Of the session that stands, else 0."""
        return self._session.generation if self._session else 0

    @property
    def rtt_us(self) -> int | None:
        """The smoothed round-trip time of this session, once measured."""
        return self._session.rtt.srtt_us if self._session else None

    # --- attaching -----------------------------------------------------------------------------------------------------------

    def attach(self, *, iccid: str, boot_counter: int, epoch: str, last_counter: int, now_us: int) -> None:
        """Begins to attach, and goes on until ``AttachedTo`` or ``AttachRefused``; a live session goes on until then.

        ``epoch``: of the outbox, 16 hex digits; ``last_counter``: of the last command that the device accepted. Called again it
        begins anew; an answer to an older challenge must not be given then. With another epoch than the live session's, readings
        wait for the new session.
        """
        self._now_us = now_us
        self._next_epoch = bytes.fromhex(epoch)
        if self._next_epoch != self._epoch:
            self._flight = Flight()
        wish = AttachWish(iccid, boot_counter, epoch, last_counter)
        self._handshake = Handshake(self._device, self._key_version, wish, self._random, now_us)

    def answer(self, response: bytes, session_key: bytes, now_us: int) -> None:
        """What the key's holder computed for ``Challenged.challenge`` (``keys.card_response``); ignored when nothing waits."""
        if self._handshake is not None:
            self._handshake.answer(response, session_key, now_us)

    # --- datagrams in --------------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes, now_us: int) -> list[ClientEvent]:
        """Takes one datagram; never raises, whatever the bytes. What is not taken becomes ``Refused``, for counting."""
        self._now_us = now_us
        try:
            header = parse_header(datagram)
            if header.type is Type.RESET:
                return self._reset(header, datagram, now_us)
            if header.type in _HANDSHAKE:
                return self._receive_handshake(header, datagram, now_us)
            return self._receive_session(header, datagram, now_us)
        except PeerError as error:
            return [Refused(error.reason)]

    def _receive_handshake(self, header: Header, datagram: bytes, now_us: int) -> list[ClientEvent]:
        handshake = self._handshake
        if handshake is None:
            raise PeerError("unexpected")
        if header.type is Type.CHALLENGE:
            return [handshake.take_challenge(datagram)]
        if header.type is Type.BUSY:
            return [handshake.take_busy(datagram, now_us)]
        answer = handshake.take_attached(header, datagram)
        if isinstance(answer, AttachRefused):
            self._handshake = None
            return [answer]
        return [self._begin_session(answer, now_us)]

    def _begin_session(self, agreed: Agreed, now_us: int) -> AttachedTo:
        """The handshake stays until the server's first frame: a second ATTACH may have made another session of it."""
        self._session = ClientSession(agreed, now_us)
        self._session.start_ping(self._random(PING_NONCE_BYTES), now_us)
        self._epoch = self._next_epoch
        self._flight = Flight()
        self._pause_until_us = 0
        self._reports.wake(now_us)
        return AttachedTo(agreed.session_id, agreed.attached.generation, agreed.attached.server_time_us)

    def _reset(self, header: Header, datagram: bytes, now_us: int) -> list[ClientEvent]:
        session = self._session
        if session is not None and header.session_id == session.session_id:
            decode_clear(datagram)
            session.doubt(header.counter, self._random(PING_NONCE_BYTES), now_us)
            return []
        if self._handshake is None or self._handshake.agreed:
            raise PeerError("unexpected")
        refused = self._handshake.take_reset(datagram, now_us)
        if refused is None:
            return []
        self._handshake = None
        return [refused]

    def _receive_session(self, header: Header, datagram: bytes, now_us: int) -> list[ClientEvent]:
        session = self._session
        if session is None or header.session_id != session.session_id:
            raise PeerError("unknown_session")
        body = decode_body(session.unseal(datagram, header.counter, now_us))
        if self._handshake is not None and self._handshake.agreed:
            self._handshake = None
        if header.type is Type.ACK:
            return self._ack(session, decode_ack(body), now_us)
        if header.type in _SEALED:
            return self._sealed(session, header.type, body, now_us)
        if header.type is Type.PING:
            self._emit(session, Type.PONG, {1: decode_nonce(body)}, now_us)
        elif header.type is Type.PONG:
            session.take_pong(decode_nonce(body), now_us)
        else:
            raise PeerError("type")
        return []

    def _ack(self, session: ClientSession, ack: Ack, now_us: int) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        if ack.epoch and bytes.fromhex(ack.epoch) == self._epoch:
            self._flight.settle([*ack.logged, *((first, last) for first, last, _ in ack.rejected)], session.rtt, now_us)
            self._flight.put_off(ack.later, session.rtt, now_us)
            later_ms = min(ack.later_ms, LATER_MAX_MS) if ack.later else 0
            self._pause_until_us = max(self._pause_until_us, now_us + later_ms * 1_000)
            events.append(Acknowledged(ack.epoch, ack.logged, ack.rejected, ack.later, later_ms))
        for command_id, digest in ack.results:
            if self._reports.settle(Type.RESULT, command_id, digest):
                events.append(Settled(command_id, "result"))
        for command_id, outcome in ack.closed:
            if self._reports.settle(Type.CLOSED, command_id, outcome):
                events.append(Settled(command_id, "closed"))
        return events

    def _sealed(self, session: ClientSession, type_: Type, body: dict[Any, Any], now_us: int) -> list[ClientEvent]:
        sealed = decode_sealed(body)
        self._reports.wake(now_us, sealed.command_id)
        if type_ is Type.COMMAND:
            receipt = session.receipts.get(sealed.command_id)
            if receipt is not None and receipt.mac == sealed.mac:
                self._emit(session, Type.RECEIPT, {1: sealed.command_id, 2: receipt.counter}, now_us)
                return []
            _remember(session.arrived, sealed.command_id, sealed.mac)
        return [CommandArrived(sealed.body, sealed.mac)]

    # --- readings ------------------------------------------------------------------------------------------------------------

    def window(self) -> int:
        """How many further DATA frames may be in flight now; 0 when not attached, or while the server asked for patience."""
        if self._session is None or self._now_us < self._pause_until_us or self._next_epoch != self._epoch:
            return 0
        return self._flight.room

    def send_data(self, first_seq: int, readings: Sequence[Reading], dropped: Sequence[Range], now_us: int) -> int:
        """Makes one DATA frame of as many of the readings as fit, and repeats it until every number has an outcome.

        ``readings[i]`` has the number ``first_seq + i``; the result says how many were taken. ``dropped``: at most 32 ranges of
        the epoch, all of which go into this frame; with dropped ranges alone ``readings`` is empty. 0, and nothing made, when
        ``window()`` is 0. ``LocalError``: a reading that fits no frame (``reading_fits``), too many ranges.
        """
        self._now_us = now_us
        if self._session is None or self.window() <= 0 or not (readings or dropped):
            return 0
        if len(dropped) > RANGES_MAX_PER_FRAME:
            raise LocalError(f"{len(dropped)} dropped ranges: {RANGES_MAX_PER_FRAME} is the most in one frame")
        records = to_records(readings[:_READINGS_PER_FRAME_MAX])
        count = _count_that_fits(records, BODY_MAX_BYTES - _DATA_HEAD_BYTES - _RANGE_BYTES * len(dropped) - 3)
        if readings and not count and not dropped:
            raise LocalError("a reading too large for a frame: refuse it at the outbox (reading_fits)")
        items: dict[int, Any] = {1: self._epoch, 2: first_seq, 3: records[:count]}
        ranges = [(first_seq, first_seq + count - 1)] if count else []
        if dropped:
            items[4] = [[first, last] for first, last in dropped]
            ranges += [(first, last) for first, last in dropped]
        self._flight.add(encode_body(items), ranges, now_us)
        return count

    # --- commands ------------------------------------------------------------------------------------------------------------

    def send_receipt(self, command_id: bytes, counter: int, now_us: int) -> None:
        """Says that a command is in the journal; said again by itself when the server repeats the command in this session."""
        session = self._session
        if session is None:
            return
        mac = session.arrived.get(command_id)
        if mac is not None:
            _remember(session.receipts, command_id, Receipt(mac, counter))
        self._emit(session, Type.RECEIPT, {1: command_id, 2: counter}, now_us)

    def send_result(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any], now_us: int) -> None:
        """Says what became of a command, over new sessions too, until ``Settled``. Another result of the command replaces it.

        ``evidence``: text, int64, finite floats, booleans, null, bytes, lists, maps with text keys; ``LocalError`` when it holds
        anything else or is over 64 KiB.
        """
        self._reports.add_result(command_id, outcome, reason, evidence, now_us)

    def send_closed(self, command_id: bytes, outcome: str, now_us: int) -> None:
        """Says that a command's journal is closed (``closed`` or ``rolled_back``), over new sessions too, until ``Settled``."""
        self._reports.add_closed(command_id, outcome, now_us)

    # --- time and output -----------------------------------------------------------------------------------------------------

    def tick(self, now_us: int) -> list[ClientEvent]:
        """Does what is due by time; ``SessionLost`` when it is."""
        self._now_us = now_us
        session = self._session
        reason = session.lost(now_us) if session else None
        if session is None or reason is None:
            return []
        self._session = None
        self._flight = Flight()
        if self._handshake is not None and self._handshake.agreed:
            self._handshake = None
        return [SessionLost(reason)]

    def next_deadline_us(self) -> int | None:
        """When ``tick`` and ``take_output`` are wanted next; None: only a datagram or a call can make work."""
        times = [self._handshake.due_us if self._handshake else None]
        session = self._session
        if session is not None:
            paced = [time_us for time_us in (self._flight.next_us, self._reports.next_us) if time_us is not None]
            if paced:
                times.append(max(min(paced), self._pacer.ready_us(self._interval_us(session))))
            times.append(session.next_us)
            if self._now_us < self._pause_until_us:
                times.append(self._pause_until_us)
        return min((time_us for time_us in times if time_us is not None), default=None)

    def take_output(self, now_us: int) -> list[bytes]:
        """The datagrams to send now."""
        self._now_us = now_us
        if self._handshake is not None:
            frame = self._handshake.due_frame(now_us)
            if frame is not None:
                self._out.append(frame)
        if self._session is not None:
            self._pump(self._session, now_us)
        out, self._out = self._out, []
        return out

    def _pump(self, session: ClientSession, now_us: int) -> None:
        if session.wants_ping(now_us):
            session.start_ping(self._random(PING_NONCE_BYTES), now_us)
        ping = session.due_ping(now_us)
        if ping is not None:
            self._out.append(ping)
        interval_us = self._interval_us(session)
        for report in self._reports.due(now_us):
            if not self._pacer.take(now_us, interval_us):
                return
            self._out += [session.seal(report.type, plain, now_us, True) for plain in report.plains]
            self._reports.sent(report, session.rtt, now_us)
        for frame in self._flight.due(now_us):
            if not self._pacer.take(now_us, interval_us):
                return
            self._out.append(session.seal(Type.DATA, frame.plain, now_us, True))
            self._flight.sent(frame, session.rtt, now_us)

    def _interval_us(self, session: ClientSession) -> int:
        return self._pacer.interval_us(self._flight.window, session.rtt.srtt_us)

    def _emit(self, session: ClientSession, type_: Type, items: dict[int, Any], now_us: int) -> None:
        self._out.append(session.seal(type_, encode_body(items), now_us, False))


def _count_that_fits(records: list[dict[Any, Any]], room_bytes: int) -> int:
    for index, record in enumerate(records):
        room_bytes -= len(cbor2.dumps(record))
        if room_bytes < 0:
            return index
    return len(records)


def _remember(known: dict[bytes, Any], key: bytes, value: Any) -> None:
    known[key] = value
    if len(known) > _REMEMBERED_MAX:
        del known[next(iter(known))]
