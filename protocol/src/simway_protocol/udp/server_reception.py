"""What comes to the server for no session that it has: HELLO, ATTACH, frames of sessions that are gone, and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.udp.cookie import CookieJar
from simway_protocol.udp.events import Address
from simway_protocol.udp.frames import (
    NO_SESSION,
    SEALED_MIN_BYTES,
    SESSION_ID_BYTES,
    UP_TYPES,
    Header,
    ResetCode,
    Type,
    encode_clear,
    parse_header,
)
from simway_protocol.udp.limiter import Limiter
from simway_protocol.udp.server_handshake import AttachRequest, challenge_for, read_attach, read_hello, reset_for
from simway_protocol.udp.server_session import Session
from simway_protocol.udp.server_table import SessionTable

RESETS_PER_S = 1_000
"""RESETs that one endpoint sends; those beyond are left out."""
RETRY_MS = {"not_ready": 1_000, "unknown_device": 1_000, "full": 5_000}
"""When a device refused for this reason may try again. An unknown one may have been enrolled this very moment."""
RETRY_DEFAULT_MS = 60_000
_RESET_CODES = {
    "bad_cookie": ResetCode.BAD_COOKIE,
    "cookie_address": ResetCode.BAD_COOKIE,
    "cookie_expired": ResetCode.BAD_COOKIE,
    "no_key": ResetCode.BAD_PROOF,
    "bad_tag": ResetCode.BAD_PROOF,
    "bad_share": ResetCode.BAD_PROOF,
    "bad_proof": ResetCode.BAD_PROOF,
}


class Answer(NamedTuple):
    """``frame``: to send back, if any; ``refused``: the reason to count, if any, of ``device`` where that is proved."""

    frame: bytes | None
    refused: str = ""
    device: str = ""


class Reception:
    """Answers strangers, opens sessions in the table. Keeps nothing of a HELLO; it hears BUSY while ``busy_ms`` is above 0."""

    def __init__(
        self, jar: CookieJar, table: SessionTable, device_key: Callable[[str, int], bytes],
        check_device: Callable[[str, int], str | None], random: Callable[[int], bytes], worker_index: int,
    ) -> None:  # fmt: skip
        self._jar = jar
        self._table = table
        self._device_key = device_key
        self._check_device = check_device
        self._random = random
        self._worker_index = worker_index
        self._resets = Limiter(RESETS_PER_S, RESETS_PER_S)
        self.busy_ms = 0

    def receive(self, datagram: bytes, address: Address, now_us: int) -> Answer:
        """The answer to a datagram outside any session; ``PeerError`` when there is none and it is to be counted."""
        try:
            header = parse_header(datagram)
        except PeerError as error:
            if error.reason == "version" and datagram[0] & 0x1F == Type.HELLO:
                return self._reset(datagram, Header(Type.HELLO, NO_SESSION, 0), ResetCode.VERSION, "version", now_us)
            raise
        if header.type is Type.HELLO:
            return self._hello(datagram, address, now_us)
        if header.type is Type.ATTACH:
            return self._attach(header, datagram, address, now_us)
        if datagram[0] not in UP_TYPES:
            raise PeerError("type")
        if len(datagram) < SEALED_MIN_BYTES:
            raise PeerError("too_short")
        return self._reset(datagram, header, ResetCode.UNKNOWN_SESSION, "unknown_session", now_us)

    def _reset(self, datagram: bytes, header: Header, code: ResetCode, reason: str, now_us: int) -> Answer:
        """A RESET, if it is allowed one and it is no larger than what it answers."""
        echo = header.type in (Type.HELLO, Type.ATTACH)
        reset = reset_for(datagram, code, header.session_id, header.counter, echo)
        if len(reset) > len(datagram) or not self._resets.take(now_us):
            raise PeerError(reason)
        return Answer(reset, reason)

    def _hello(self, datagram: bytes, address: Address, now_us: int) -> Answer:
        hello = read_hello(datagram)
        if self.busy_ms:
            return Answer(encode_clear(Type.BUSY, {1: hello.nonce, 2: self.busy_ms}), "busy")
        return Answer(challenge_for(self._jar, hello, datagram, address, now_us))

    def _attach(self, header: Header, datagram: bytes, address: Address, now_us: int) -> Answer:
        try:
            request = read_attach(self._jar, self._device_key, datagram, header.counter, address, now_us)
        except PeerError as error:
            if error.reason in _RESET_CODES:
                return self._reset(datagram, header, _RESET_CODES[error.reason], error.reason, now_us)
            raise
        for session in self._table.of(request.device):
            if session.attach_hash == request.secrets.attach_hash:
                return _again(session)
        session_id = self._new_session_id()
        refusal = self._check_device(request.device, request.key_version)
        if not refusal and self._table.is_full_for(request.device):
            refusal = "full"
        if refusal:
            frame = request.refusal(session_id, str(refusal), RETRY_MS.get(refusal, RETRY_DEFAULT_MS), now_us)
            return Answer(frame, str(refusal), request.device)
        return Answer(self._open(session_id, request, address, now_us))

    def _open(self, session_id: bytes, request: AttachRequest, address: Address, now_us: int) -> bytes:
        generation = self._table.next_generation(request.device, now_us * 64 + self._worker_index)
        session = Session(
            request.device, session_id, generation, address, request.attach, request.key_version,
            request.traffic_keys(session_id), request.secrets.attach_hash, now_us,
        )  # fmt: skip
        self._table.add(session, now_us)
        session.answer = request.answer(session_id, generation, now_us, self._table.idle_timeout_us // 1_000)
        return session.answer

    def _new_session_id(self) -> bytes:
        while True:
            session_id = self._random(SESSION_ID_BYTES)
            if session_id != NO_SESSION and session_id not in self._table.by_id:
                return session_id


def _again(session: Session) -> Answer:
    """The very ATTACH that made ``session``: the same answer again while that is unconfirmed, then nothing."""
    if session.confirmed:
        raise PeerError("replayed")
    return Answer(session.answer)
