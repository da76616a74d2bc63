"""Frames: header, clear bodies, sealed bodies (docs/protocol.md, "Frames"). One frame a datagram.

A parser either returns a value or raises ``PeerError`` whose ``reason`` is one of the short words that counters use.
"""

from __future__ import annotations

import re
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.limits import DATAGRAM_MAX_BYTES
from simway_protocol.udp.strict_cbor import Scalar, decode_flat

VERSION = 1
HEADER_BYTES = 17
TAG_BYTES = 16
SEALED_MIN_BYTES = HEADER_BYTES + TAG_BYTES
BODY_MAX_BYTES = DATAGRAM_MAX_BYTES - SEALED_MIN_BYTES
"""The largest plaintext of a sealed frame."""
SESSION_ID_BYTES = 8
NO_SESSION = bytes(SESSION_ID_BYTES)
NONCE_BYTES = 16
SHARE_BYTES = 32
ECHO_BYTES = 16
"""How much of a frame's SHA-256 a RESET echoes."""
HELLO_MIN_BYTES = 512
"""HELLO is padded to at least this, and no answer to it is larger."""
COUNTER_MAX = 2**32 - 1
"""A session ends before either direction's counter passes this (NIST SP 800-38D, 8.3, with room)."""

HEADER = Struct("!B8sQ")
_LENGTH = Struct("!H")
_VERSION_BITS = VERSION << 5
_TYPE_MASK = 0x1F


class Type(IntEnum):
    """The five low bits of the first byte."""

    HELLO = 1
    CHALLENGE = 2
    ATTACH = 3
    ATTACHED = 4
    DATA = 5
    ACK = 6
    COMMAND = 7
    RECEIPT = 8
    CANCEL = 9
    RESULT = 10
    CONFIRM = 11
    CLOSED = 12
    PING = 13
    PONG = 14
    BUSY = 15
    RESET = 16


class ResetCode(IntEnum):
    """Why RESET: field 1 of its body."""

    UNKNOWN_SESSION = 1
    BAD_COOKIE = 2
    """Too old, of another address, or not ours: begin again with HELLO."""
    BAD_PROOF = 3
    """The ATTACH does not open under the device's key."""
    VERSION = 4
    """The server does not speak the version of the HELLO."""


class Header(NamedTuple):
    """The first 17 bytes."""

    type: Type
    session_id: bytes
    counter: int


UP_TYPES = {
    _VERSION_BITS | type_: type_ for type_ in (Type.DATA, Type.RECEIPT, Type.RESULT, Type.CLOSED, Type.PING, Type.PONG)
}  # fmt: skip
"""What a client sends in a session, by the first byte."""
_TYPES = {int(type_): type_ for type_ in Type}


def first_byte(type_: Type) -> int:
    """Version and type in one byte."""
    return _VERSION_BITS | type_


def parse_header(datagram: bytes) -> Header:
    """The header of a datagram; ``PeerError``: too_long, too_short, version, type."""
    if len(datagram) > DATAGRAM_MAX_BYTES:
        raise PeerError("too_long")
    if len(datagram) < HEADER_BYTES:
        raise PeerError("too_short")
    first, session_id, counter = HEADER.unpack_from(datagram)
    if first >> 5 != VERSION:
        raise PeerError("version")
    type_ = _TYPES.get(first & _TYPE_MASK)
    if type_ is None:
        raise PeerError("type")
    return Header(type_, session_id, counter)


def pack_header(type_: Type, session_id: bytes = NO_SESSION, counter: int = 0) -> bytes:
    """The 17 bytes of a header."""
    return HEADER.pack(_VERSION_BITS | type_, session_id, counter)


# --- bodies ------------------------------------------------------------------------------------------------------------------


def encode_body(items: dict[int, Any]) -> bytes:
    """The deterministic CBOR of a body."""
    return cbor2.dumps(items, canonical=True)


def _refuse_tag(*_: Any) -> Any:
    raise PeerError("bad_body", "a tag that is not allowed")


_STRICT_TAGS = dict.fromkeys((28, 29, 35, 36, 256), _refuse_tag)
_may_hold_strict_tag = re.compile(rb"[\xd8\x00][\x1d\x23\x24]").search


def decode_body(plain: bytes, *, is_large: bool = False) -> dict[Any, Any]:
    """The map that an opened frame holds; ``PeerError`` (bad_body). Bytes after the map are padding.

    Refused are shared values (tags 28, 29), with which a kilobyte unfolds to gigabytes, and regular expressions and MIME
    (35, 36), which take up to a second. Such a tag ends in the byte 1d, 23 or 24 after d8 or 00 (28 is harmless without 29), so
    few frames take the slow way. ``is_large``: it is more than a frame holds, so references to strings (256) are refused, too.
    """
    try:
        if is_large or ((0x1D in plain or 0x23 in plain or 0x24 in plain) and _may_hold_strict_tag(plain)):
            body = cbor2.loads(plain, semantic_decoders=_STRICT_TAGS)
        else:
            body = cbor2.loads(plain)
    except Exception as error:  # cbor2 raises many kinds; each means the same here
        raise PeerError("bad_body", "not CBOR") from error
    if type(body) is not dict:
        raise PeerError("bad_body", "not a map")
    return body


def encode_clear(type_: Type, items: dict[int, Any], session_id: bytes = NO_SESSION, counter: int = 0) -> bytes:
    """A frame without encryption: HELLO, CHALLENGE, BUSY, RESET."""
    return pack_header(type_, session_id, counter) + encode_body(items)


def decode_clear(datagram: bytes) -> dict[int, Scalar]:
    """The body of a clear frame. It must be deterministic CBOR and nothing after it; ``PeerError`` (bad_body)."""
    return decode_flat(datagram[HEADER_BYTES:])


# --- sealed frames -----------------------------------------------------------------------------------------------------------


def seal(aead: AESGCM, prefix: bytes, header: bytes, plain: bytes, between: bytes = b"") -> bytes:
    """A sealed frame. ``between``: what goes in the clear between header and ciphertext, authenticated too."""
    associated = header + between
    frame = associated + aead.encrypt(prefix + header[9:], plain, associated)
    if len(frame) > DATAGRAM_MAX_BYTES:
        raise LocalError(f"a frame of {len(frame)} bytes: {DATAGRAM_MAX_BYTES} is the most")
    return frame


def unseal(aead: AESGCM, prefix: bytes, frame: bytes, associated_bytes: int = HEADER_BYTES) -> bytes:
    """The plaintext of a sealed frame; ``PeerError``: too_short, bad_tag."""
    if len(frame) < associated_bytes + TAG_BYTES:
        raise PeerError("too_short")
    try:
        return aead.decrypt(prefix + frame[9:17], frame[associated_bytes:], frame[:associated_bytes])
    except InvalidTag:
        raise PeerError("bad_tag") from None


def pack_cookie(cookie: bytes) -> bytes:
    """What ATTACH carries between header and ciphertext: length (2 bytes) and cookie."""
    return _LENGTH.pack(len(cookie)) + cookie


def split_attach(datagram: bytes) -> tuple[bytes, int]:
    """The cookie of an ATTACH and the number of bytes before its ciphertext; ``PeerError``: too_short."""
    if len(datagram) < HEADER_BYTES + _LENGTH.size:
        raise PeerError("too_short")
    (length,) = _LENGTH.unpack_from(datagram, HEADER_BYTES)
    start = HEADER_BYTES + _LENGTH.size
    if len(datagram) < start + length + TAG_BYTES:
        raise PeerError("too_short")
    return datagram[start : start + length], start + length
