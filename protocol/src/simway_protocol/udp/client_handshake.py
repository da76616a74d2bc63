"""The client's attach: HELLO, CHALLENGE, the card's answer, ATTACH, ATTACHED (docs/protocol.md, "Attaching").

One object is one wish to attach; it begins anew by itself (with another nonce and share) when an answer stays out, when a RESET
says that the cookie is no good, and after BUSY. What cannot be proved costs a wait of at most five seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simway_protocol.errors import PeerError
from simway_protocol.udp.bodies import (
    Attach,
    Attached,
    Hello,
    decode_attached,
    decode_challenge,
    encode_attach,
    encode_hello,
)
from simway_protocol.udp.events import AttachRefused, BusyUntil, Challenged
from simway_protocol.udp.frames import (
    ECHO_BYTES,
    HELLO_MIN_BYTES,
    NONCE_BYTES,
    SHARE_BYTES,
    Header,
    ResetCode,
    Type,
    decode_body,
    decode_clear,
    encode_body,
    encode_clear,
    pack_cookie,
    pack_header,
    seal,
    unseal,
)
from simway_protocol.udp.keys import (
    DOWN_NONCE_PREFIX,
    UP_NONCE_PREFIX,
    TrafficKeys,
    attach_key,
    attached_key,
    hello_hash,
    next_hash,
    server_proof,
    share_public,
    shared_secret,
    traffic_keys,
)
from simway_protocol.udp.timing import ATTACH_WAITS_US, HELLO_WAITS_US, SECOND_US, UNPROVED_WAIT_MAX_MS


class AttachWish(NamedTuple):
    """What the shell wants said in ATTACH; see ``bodies.Attach``."""

    iccid: str
    boot_counter: int
    epoch: str
    last_counter: int


class Agreed(NamedTuple):
    """The server proved itself: a session may begin."""

    session_id: bytes
    keys: TrafficKeys
    attached: Attached


class Handshake:
    """States by what is set: no challenge: HELLO is out; a challenge without secret: the card works; a secret: ATTACH is out."""

    def __init__(
        self, device: str, key_version: int, wish: AttachWish, random: Callable[[int], bytes], now_us: int
    ) -> None:  # fmt: skip
        self._device = device
        self._key_version = key_version
        self._wish = wish
        self._random = random
        self._rounds = 0
        self.begin(now_us)

    def begin(self, now_us: int, wait_us: int = 0) -> None:
        """Starts from HELLO with fresh randomness, after ``wait_us``."""
        self._nonce = self._random(NONCE_BYTES)
        self._share_private = self._random(SHARE_BYTES)
        hello = Hello(self._device, self._key_version, self._nonce, share_public(self._share_private))
        self._hello = _padded_hello(hello)
        self._challenge = b""
        self._cookie = b""
        self._shared = b""
        self._response = b""
        self._session_key = b""
        self._secret = b""
        self._sent: list[bytes] = []
        """The ATTACH frames sent, by counter from 1: ATTACHED says in its counter which one it answers."""
        self._answered: set[bytes] = set()
        self.agreed = False
        """Whether a session came of it."""
        self._attempts = 0
        self.due_us: int | None = now_us + wait_us

    # --- sending -------------------------------------------------------------------------------------------------------------

    def due_frame(self, now_us: int) -> bytes | None:
        """The frame that is to go out now, if any."""
        if self.due_us is None or now_us < self.due_us:
            return None
        if not self._secret:
            self.due_us = now_us + HELLO_WAITS_US[min(self._attempts, len(HELLO_WAITS_US) - 1)]
            self._attempts += 1
            return self._hello
        if self._attempts < len(ATTACH_WAITS_US):
            self.due_us = now_us + ATTACH_WAITS_US[self._attempts]
            self._attempts += 1
            return self._attach_frame()
        self.begin(now_us)
        return self.due_frame(now_us)

    def _attach_frame(self) -> bytes:
        attach = Attach(self._response, *self._wish)
        header = pack_header(Type.ATTACH, counter=len(self._sent) + 1)
        aead = AESGCM(attach_key(self._secret, self._challenge))
        frame = seal(aead, UP_NONCE_PREFIX, header, encode_body(encode_attach(attach)), pack_cookie(self._cookie))
        self._sent.append(frame)
        return frame

    # --- receiving -----------------------------------------------------------------------------------------------------------

    def take_challenge(self, datagram: bytes) -> Challenged:
        """The first CHALLENGE to this HELLO; ``PeerError``: bad_body, unexpected, bad_echo, bad_share."""
        challenge = decode_challenge(decode_clear(datagram))
        if self._challenge:
            raise PeerError("unexpected")
        if challenge.client_nonce != self._nonce:
            raise PeerError("bad_echo")
        self._shared = shared_secret(self._share_private, challenge.share)
        self._cookie = challenge.cookie
        self._challenge = next_hash(hello_hash(self._hello), datagram)
        self.due_us = None
        return Challenged(self._challenge)

    def answer(self, response: bytes, session_key: bytes, now_us: int) -> None:
        """What the key's holder computed; ignored when no challenge waits for it."""
        if not self._challenge or self._secret:
            return
        self._response, self._session_key = response, session_key
        self._secret = session_key + self._shared
        self._attempts = 0
        self.due_us = now_us

    def take_attached(self, header: Header, datagram: bytes) -> Agreed | AttachRefused:
        """The server's answer. ``PeerError``: unexpected, replayed, bad_tag, bad_body, bad_proof."""
        if not self._secret or not 1 <= header.counter <= len(self._sent):
            raise PeerError("unexpected")
        if header.session_id in self._answered:
            raise PeerError("replayed")
        key = attached_key(self._secret, self._challenge, header.session_id)
        attached = decode_attached(decode_body(unseal(AESGCM(key), DOWN_NONCE_PREFIX, datagram)))
        attach_hash = next_hash(self._challenge, self._sent[header.counter - 1])
        if not hmac.compare_digest(attached.proof, server_proof(self._session_key, header.session_id, attach_hash)):
            raise PeerError("bad_proof")
        self._answered.add(header.session_id)
        self.due_us = None
        if attached.reason:
            return AttachRefused(attached.reason, True, attached.retry_after_ms)
        self.agreed = True
        return Agreed(header.session_id, traffic_keys(self._secret, header.session_id, attach_hash), attached)

    def take_busy(self, datagram: bytes, now_us: int) -> BusyUntil:
        """The server asks for patience; ``PeerError``: bad_body, unexpected, bad_echo."""
        body = decode_clear(datagram)
        wait_ms = body.get(2)
        if type(wait_ms) is not int or wait_ms < 0:
            raise PeerError("bad_body")
        if self._challenge:
            raise PeerError("unexpected")
        if body.get(1) != self._nonce:
            raise PeerError("bad_echo")
        wait_ms = min(wait_ms, UNPROVED_WAIT_MAX_MS)
        self.begin(now_us, wait_ms * 1_000)
        return BusyUntil(wait_ms)

    def take_reset(self, datagram: bytes, now_us: int) -> AttachRefused | None:
        """A RESET to our HELLO or ATTACH; ``PeerError``: bad_body, bad_echo. None: it begins anew by itself."""
        body = decode_clear(datagram)
        ours = self._sent or ([self._hello] if self._attempts else [])
        if body.get(2) not in [hashlib.sha256(frame).digest()[:ECHO_BYTES] for frame in ours]:
            raise PeerError("bad_echo")
        code = body.get(1)
        if code == ResetCode.BAD_COOKIE and self._sent:
            self._rounds += 1
            self.begin(now_us, min(self._rounds - 1, 5) * SECOND_US)
            return None
        if code == ResetCode.BAD_PROOF and self._sent:
            return AttachRefused("bad_proof", False, UNPROVED_WAIT_MAX_MS)
        if code == ResetCode.VERSION:
            return AttachRefused("version", False, UNPROVED_WAIT_MAX_MS)
        raise PeerError("bad_body", "an unknown code")


def _padded_hello(hello: Hello) -> bytes:
    """HELLO, padded with zero bytes to ``HELLO_MIN_BYTES`` exactly."""
    bare = len(encode_clear(Type.HELLO, encode_hello(hello, HELLO_MIN_BYTES // 2)))
    return encode_clear(Type.HELLO, encode_hello(hello, HELLO_MIN_BYTES // 2 + HELLO_MIN_BYTES - bare))
