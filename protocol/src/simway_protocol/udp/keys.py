"""The key schedule of the UDP protocol (docs/protocol.md, "Keys"). Vectors: ``vectors/udp_keys.json``.

Everything a session uses comes from two secrets, the session key that the holder of K computes for the challenge and the
X25519 shared secret, and from the transcript. No key is ever used for two different messages under one nonce.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simway_protocol.errors import PeerError
from simway_protocol.identity import hkdf, hmac_sha256

TRAFFIC_KEY_BYTES = 16
UP_NONCE_PREFIX = b"\x00\x00\x00\x01"
"""Client to server; the nonce is prefix and counter (8 bytes)."""
DOWN_NONCE_PREFIX = b"\x00\x00\x00\x02"


class CardResponse(NamedTuple):
    """What the holder of K answers to a challenge: 32 bytes each."""

    response: bytes
    session_key: bytes


class TrafficKeys(NamedTuple):
    """AES-128-GCM keys, one a direction."""

    up: bytes
    down: bytes


def card_response(device_key: bytes, challenge: bytes) -> CardResponse:
    """Response and session key for a challenge of 32 bytes, as a card computes them."""
    return CardResponse(
        hmac_sha256(device_key, b"simway response\x00" + challenge),
        hmac_sha256(device_key, b"simway session\x00" + challenge),
    )


def hello_hash(hello: bytes) -> bytes:
    """SHA-256 of the HELLO frame."""
    return hashlib.sha256(hello).digest()


def next_hash(previous: bytes, frame: bytes) -> bytes:
    """The transcript's next hash: SHA-256 of the previous hash and the frame. HELLO..CHALLENGE gives the challenge."""
    return hashlib.sha256(previous + frame).digest()


def share_public(private: bytes) -> bytes:
    """The X25519 public share of a private one, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def shared_secret(private: bytes, peer_public: bytes) -> bytes:
    """X25519, 32 bytes; ``PeerError`` (``bad_share``) when the peer's share has low order (RFC 7748, 6.1)."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer_public))
    except ValueError as error:
        raise PeerError("bad_share") from error


def attach_key(secret: bytes, challenge: bytes) -> bytes:
    """The handshake key of ATTACH. ``secret``: session key and X25519 secret, one after the other."""
    return hkdf(secret, b"simway attach", TRAFFIC_KEY_BYTES, challenge)


def attached_key(secret: bytes, challenge: bytes, session_id: bytes) -> bytes:
    """The handshake key of ATTACHED, salted with the session id in that frame's header."""
    return hkdf(secret, b"simway attached", TRAFFIC_KEY_BYTES, challenge + session_id)


def traffic_keys(secret: bytes, session_id: bytes, attach_hash: bytes) -> TrafficKeys:
    """The keys of a session. ``attach_hash``: the transcript hash HELLO..ATTACH."""
    salt = session_id + attach_hash
    both = hkdf(secret, b"simway traffic", 2 * TRAFFIC_KEY_BYTES, salt)
    return TrafficKeys(both[:TRAFFIC_KEY_BYTES], both[TRAFFIC_KEY_BYTES:])


def server_proof(session_key: bytes, session_id: bytes, attach_hash: bytes) -> bytes:
    """The server's proof in ATTACHED that it, too, knows K; 32 bytes."""
    return hmac_sha256(session_key, b"simway server\x00" + session_id + attach_hash)
