"""HELLO and ATTACH at the server. Nothing is kept between the two: the cookie carries it."""

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
    Challenge,
    Hello,
    decode_attach,
    decode_hello,
    encode_attached,
    encode_challenge,
)
from simway_protocol.udp.cookie import Cookie, CookieJar
from simway_protocol.udp.events import Address
from simway_protocol.udp.frames import (
    ECHO_BYTES,
    HELLO_MIN_BYTES,
    ResetCode,
    Type,
    decode_body,
    decode_clear,
    encode_body,
    encode_clear,
    pack_header,
    seal,
    split_attach,
    unseal,
)
from simway_protocol.udp.keys import (
    DOWN_NONCE_PREFIX,
    UP_NONCE_PREFIX,
    TrafficKeys,
    attach_key,
    attached_key,
    card_response,
    hello_hash,
    next_hash,
    server_proof,
    traffic_keys,
)


class Secrets(NamedTuple):
    """What an ATTACH that opened leaves for the answer."""

    session_key: bytes
    secret: bytes
    challenge: bytes
    attach_hash: bytes
    counter: int


class AttachRequest(NamedTuple):
    """An ATTACH whose sender holds K."""

    device: str
    key_version: int
    attach: Attach
    secrets: Secrets

    def traffic_keys(self, session_id: bytes) -> TrafficKeys:
        """The keys of the session."""
        return traffic_keys(self.secrets.secret, session_id, self.secrets.attach_hash)

    def answer(self, session_id: bytes, generation: int, now_us: int, idle_timeout_ms: int) -> bytes:
        """ATTACHED: yes."""
        proof = server_proof(self.secrets.session_key, session_id, self.secrets.attach_hash)
        return self._attached(session_id, Attached(proof, generation, now_us, idle_timeout_ms=idle_timeout_ms))

    def refusal(self, session_id: bytes, reason: str, retry_after_ms: int, now_us: int) -> bytes:
        """ATTACHED: no. The session id is fresh, salts the key, and opens nothing."""
        proof = server_proof(self.secrets.session_key, session_id, self.secrets.attach_hash)
        return self._attached(session_id, Attached(proof, 0, now_us, reason, retry_after_ms))

    def _attached(self, session_id: bytes, attached: Attached) -> bytes:
        key = attached_key(self.secrets.secret, self.secrets.challenge, session_id)
        header = pack_header(Type.ATTACHED, session_id, self.secrets.counter)
        return seal(AESGCM(key), DOWN_NONCE_PREFIX, header, encode_body(encode_attached(attached)))


def read_hello(datagram: bytes) -> Hello:
    """``PeerError``: hello_too_short, bad_body."""
    if len(datagram) < HELLO_MIN_BYTES:
        raise PeerError("hello_too_short")
    return decode_hello(decode_clear(datagram))


def challenge_for(jar: CookieJar, hello: Hello, datagram: bytes, address: Address, now_us: int) -> bytes:
    """The CHALLENGE that answers a HELLO; ``PeerError`` (not_ready) before the first cookie period."""
    share, server_nonce = jar.share, jar.nonce()
    cookie = jar.seal(
        Cookie(
            address[0], address[1], now_us, hello.device, hello.key_version, hello.nonce, hello.share, server_nonce,
            hello_hash(datagram),
        )
    )  # fmt: skip
    return encode_clear(Type.CHALLENGE, encode_challenge(Challenge(hello.nonce, server_nonce, share, cookie)))


def read_attach(
    jar: CookieJar, device_key: Callable[[str, int], bytes], datagram: bytes, counter: int, address: Address, now_us: int
) -> AttachRequest:
    """The request in an ATTACH. ``PeerError``: the cookie's, too_short, no_key, bad_share, bad_tag, bad_proof, bad_body."""
    sealed, start = split_attach(datagram)
    opened = jar.open(sealed, address, now_us)
    cookie = opened.cookie
    frame = encode_clear(
        Type.CHALLENGE, encode_challenge(Challenge(cookie.client_nonce, cookie.server_nonce, opened.share, sealed))
    )
    challenge = next_hash(cookie.hello_hash, frame)
    try:
        key = device_key(cookie.device, cookie.key_version)
    except Exception as error:  # the shell may know no such version; that must not stop the server
        raise PeerError("no_key") from error
    response, session_key = card_response(key, challenge)
    secret = session_key + opened.exchange()
    plain = unseal(AESGCM(attach_key(secret, challenge)), UP_NONCE_PREFIX, datagram, start)
    attach = decode_attach(decode_body(plain))
    if not hmac.compare_digest(attach.response, response):
        raise PeerError("bad_proof")
    secrets = Secrets(session_key, secret, challenge, next_hash(challenge, datagram), counter)
    return AttachRequest(cookie.device, cookie.key_version, attach, secrets)


def echo_of(datagram: bytes) -> bytes:
    """What a RESET to HELLO or ATTACH echoes: only who saw the frame knows it."""
    return hashlib.sha256(datagram).digest()[:ECHO_BYTES]


def reset_for(datagram: bytes, code: ResetCode, session_id: bytes, counter: int, echo: bool) -> bytes:
    """A RESET; never larger than what it answers."""
    items: dict[int, object] = {1: int(code)}
    if echo:
        items[2] = echo_of(datagram)
    return encode_clear(Type.RESET, items, session_id, counter)
