"""One session as the client keeps it: keys, counters, the PING that waits for its PONG, and what silence means."""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simway_protocol.errors import PeerError
from simway_protocol.udp.client_handshake import Agreed
from simway_protocol.udp.frames import COUNTER_MAX, Type, encode_body, pack_header
from simway_protocol.udp.keys import DOWN_NONCE_PREFIX, UP_NONCE_PREFIX
from simway_protocol.udp.replay import ReplayWindow
from simway_protocol.udp.timing import DOUBT_MAX_US, DOUBT_MIN_US, KEEPALIVE_US, SILENCE_US, RttEstimator, backoff_us


class Receipt(NamedTuple):
    """A RECEIPT given in this session, for the COMMAND with this MAC."""

    mac: bytes
    counter: int


class ClientSession:
    """Made of what the handshake agreed."""

    def __init__(self, agreed: Agreed, now_us: int) -> None:
        self.session_id = agreed.session_id
        self.generation = agreed.attached.generation
        self._encrypt = AESGCM(agreed.keys.up).encrypt
        self._decrypt = AESGCM(agreed.keys.down).decrypt
        self._window = ReplayWindow()
        self.counter = 0
        self.confirmed = False
        """Whether a valid frame came from the server."""
        self.rtt = RttEstimator()
        self.arrived: dict[bytes, bytes] = {}
        """MAC of the newest COMMAND by command id."""
        self.receipts: dict[bytes, Receipt] = {}
        self._keepalive_us = min(KEEPALIVE_US, max(agreed.attached.idle_timeout_ms * 1_000 // 3, 1_000_000))
        self._last_sent_us = now_us
        self._waiting_since_us: int | None = None
        self._doubt_until_us: int | None = None
        self._trust_until_us = 0
        self._ping_nonce: bytes | None = None
        self._ping_attempts = 0
        self._ping_sent_us = 0
        self._ping_due_us = 0

    # --- frames --------------------------------------------------------------------------------------------------------------

    def seal(self, type_: Type, plain: bytes, now_us: int, wants_answer: bool) -> bytes:
        """A frame under the next counter."""
        self.counter += 1
        header = pack_header(type_, self.session_id, self.counter)
        self._last_sent_us = now_us
        if wants_answer and self._waiting_since_us is None:
            self._waiting_since_us = now_us
        return header + self._encrypt(UP_NONCE_PREFIX + header[9:], plain, header)

    def unseal(self, datagram: bytes, counter: int, now_us: int) -> bytes:
        """The plaintext of a frame of this session; ``PeerError``: stale, replayed, bad_tag. What opens ends doubt."""
        refusal = self._window.judge(counter)
        if refusal is not None:
            raise PeerError(refusal)
        try:
            plain = self._decrypt(DOWN_NONCE_PREFIX + datagram[9:17], datagram[17:], datagram[:17])
        except InvalidTag:
            raise PeerError("bad_tag") from None
        self._window.accept(counter)
        self.confirmed = True
        self._waiting_since_us = None
        if self._doubt_until_us is not None:
            self._doubt_until_us = None
            self._trust_until_us = now_us + DOUBT_MAX_US
        return plain

    # --- pings ---------------------------------------------------------------------------------------------------------------

    def start_ping(self, nonce: bytes, now_us: int) -> None:
        """A PING is due now, unless one is already waiting; that one is then due now."""
        if self._ping_nonce is None:
            self._ping_nonce = nonce
            self._ping_attempts = 0
        self._ping_due_us = now_us

    def wants_ping(self, now_us: int) -> bool:
        """Whether it is time for a keepalive."""
        return self._ping_nonce is None and now_us - self._last_sent_us >= self._keepalive_us

    def due_ping(self, now_us: int) -> bytes | None:
        """The PING frame to send now, if any."""
        if self._ping_nonce is None or now_us < self._ping_due_us:
            return None
        self._ping_attempts += 1
        self._ping_sent_us = now_us
        self._ping_due_us = now_us + backoff_us(self.rtt.rto_us, self._ping_attempts)
        return self.seal(Type.PING, encode_body({1: self._ping_nonce}), now_us, True)

    def take_pong(self, nonce: bytes, now_us: int) -> None:
        """The answer to our PING gives a round-trip time, if the PING was sent once."""
        if nonce != self._ping_nonce:
            raise PeerError("unexpected")
        if self._ping_attempts == 1:
            self.rtt.sample(now_us - self._ping_sent_us)
        self._ping_nonce = None

    # --- ends ----------------------------------------------------------------------------------------------------------------

    def doubt(self, counter: int, nonce: bytes, now_us: int) -> None:
        """A RESET came for a frame of ours: ask, and give the server the time to answer. ``PeerError``: bad_echo, unexpected."""
        if not 1 <= counter <= self.counter:
            raise PeerError("bad_echo")
        if self._doubt_until_us is not None or now_us < self._trust_until_us:
            raise PeerError("unexpected")
        self._doubt_until_us = now_us + min(max(4 * self.rtt.rto_us, DOUBT_MIN_US), DOUBT_MAX_US)
        self.start_ping(nonce, now_us)

    def lost(self, now_us: int) -> str | None:
        """Why the session is over, if it is: reset, silence, counter."""
        if self._doubt_until_us is not None and now_us >= self._doubt_until_us:
            return "reset"
        if self._waiting_since_us is not None and now_us - self._waiting_since_us >= SILENCE_US:
            return "silence"
        return "counter" if self.counter >= COUNTER_MAX - 1_000_000 else None

    @property
    def next_us(self) -> int:
        """When something is due by time."""
        times = [self._ping_due_us if self._ping_nonce is not None else self._last_sent_us + self._keepalive_us]
        if self._doubt_until_us is not None:
            times.append(self._doubt_until_us)
        if self._waiting_since_us is not None:
            times.append(self._waiting_since_us + SILENCE_US)
        return min(times)
