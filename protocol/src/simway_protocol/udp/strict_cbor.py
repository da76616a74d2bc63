"""CBOR for bytes that anybody may have sent: a flat map of unsigned integers to integers, bytes and text, and nothing else.

A general decoder gives strangers too much: a regular expression (tag 35) of 900 bytes takes it a second. This one accepts only
the deterministic encoding (RFC 8949, 4.2.1), reads every byte once, and refuses whatever is left over.
"""

from __future__ import annotations

from typing import TypeAlias

from simway_protocol.errors import PeerError

ENTRIES_MAX = 16
Scalar: TypeAlias = int | bytes | str
_UINT, _BYTES, _TEXT, _MAP = 0, 2, 3, 5
_LEAST_OF_LENGTH = {1: 24, 2: 2**8, 4: 2**16, 8: 2**32}
"""The smallest number that may take so many bytes."""


def decode_flat(data: bytes) -> dict[int, Scalar]:
    """The map that ``data`` is, to the last byte; ``PeerError`` (bad_body)."""
    major, count, at = _head(data, 0)
    if major != _MAP or count > ENTRIES_MAX:
        raise PeerError("bad_body", "not a small map")
    body: dict[int, Scalar] = {}
    previous = -1
    for _ in range(count):
        major, key, at = _head(data, at)
        if major != _UINT or key <= previous:
            raise PeerError("bad_body", "keys are numbers in rising order")
        body[key], at = _scalar(data, at)
        previous = key
    if at != len(data):
        raise PeerError("bad_body", "bytes after the map")
    return body


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument, and where the next byte lies."""
    if at >= len(data):
        raise PeerError("bad_body", "cut off")
    major, low = data[at] >> 5, data[at] & 0x1F
    at += 1
    if low < 24:
        return major, low, at
    if low > 27:
        raise PeerError("bad_body", "indefinite or reserved")
    length = 1 << (low - 24)
    argument = int.from_bytes(data[at : at + length])
    if at + length > len(data) or argument < _LEAST_OF_LENGTH[length]:
        raise PeerError("bad_body", "cut off, or longer than it needs to be")
    return major, argument, at + length


def _scalar(data: bytes, at: int) -> tuple[Scalar, int]:
    major, argument, at = _head(data, at)
    if major == _UINT:
        return argument, at
    if major not in (_BYTES, _TEXT) or argument > len(data) - at:
        raise PeerError("bad_body", "not a number, bytes or text")
    raw = data[at : at + argument]
    if major == _BYTES:
        return raw, at + argument
    try:
        return raw.decode(), at + argument
    except UnicodeDecodeError as error:
        raise PeerError("bad_body", "not UTF-8") from error
