"""COMPREHENSION-TLV data objects (ETSI TS 101 220, 7.1.1): what proactive commands, their answers and envelopes are made of.

A tag is one byte, or 7F and two more; its top bit only says "must be understood". Tags here come without that bit. BER rules for
the first byte do not hold: 1F, 3F and 5F are whole tags.
"""

from __future__ import annotations

from typing import NamedTuple

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim import tlv

_COMPREHENSION = 0x80
_LONG = 0x7F
_LONG_TAG_BYTES = 3


class Item(NamedTuple):
    """One data object. ``required``: who does not understand it must refuse the command."""

    tag: int
    value: bytes
    required: bool = True

    def encode(self) -> bytes:
        """Tag, shortest length, value."""
        return _tag_bytes(self.tag, required=self.required) + tlv.encode_length(len(self.value)) + self.value


def decode(data: bytes) -> list[Item]:
    """All data objects of ``data``, which they must fill. ``PeerError`` (``bad_tlv``)."""
    items: list[Item] = []
    while data:
        item, data = decode_first(data)
        items.append(item)
    return items


def decode_first(data: bytes) -> tuple[Item, bytes]:
    """The first data object, and the bytes after it."""
    tag, required, at = _read_tag(data)
    length, at = tlv.read_length(data, at)
    if len(data) - at < length:
        raise PeerError("bad_tlv", f"object {tag:02X} says {length} bytes, {len(data) - at} are there")
    return Item(tag, data[at : at + length], required), data[at + length :]


def _tag_bytes(tag: int, *, required: bool) -> bytes:
    bit = _COMPREHENSION if required else 0
    if 0 < tag < _LONG:
        return bytes((tag | bit,))
    if 0 < tag - (_LONG << 16) < _COMPREHENSION << 8:
        number = tag - (_LONG << 16) | bit << 8
        return bytes((_LONG,)) + number.to_bytes(2, "big")
    raise LocalError(f"{tag:X} is not a COMPREHENSION-TLV tag")


def _read_tag(data: bytes) -> tuple[int, bool, int]:
    if not data:
        raise PeerError("bad_tlv", "an object was expected, nothing is there")
    first = data[0]
    if first in (0x00, 0x80, 0xFF):
        raise PeerError("bad_tlv", f"{first:02X} is no tag")
    if first != _LONG:
        return first & ~_COMPREHENSION, bool(first & _COMPREHENSION), 1
    if len(data) < _LONG_TAG_BYTES:
        raise PeerError("bad_tlv", "the tag is cut")
    number = int.from_bytes(data[1:_LONG_TAG_BYTES], "big")
    if not number & 0x7FFF:
        raise PeerError("bad_tlv", "a long tag of zero")
    return _LONG << 16 | number & 0x7FFF, bool(number & 0x8000), _LONG_TAG_BYTES
