"""BER-TLV with definite lengths (ISO/IEC 7816-4, 5.2.2; X.690), and the compact view of it that card commands need.

A tag is the integer of its bytes: 0x5A, 0x9F70, 0xBF31. Decoders raise ``PeerError`` (``bad_tlv``) on anything cut or trailing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from simway_protocol.errors import LocalError, PeerError

_TAG_MAX_BYTES = 3
_LENGTH_MAX_BYTES = 3


class Tlv(NamedTuple):
    """One data object: its tag as an integer, its value as bytes."""

    tag: int
    value: bytes


def encode(tag: int, *parts: bytes) -> bytes:
    """Tag, shortest length, and the parts one after another."""
    value = b"".join(parts)
    return _tag_bytes(tag) + encode_length(len(value)) + value


def encode_length(length: int) -> bytes:
    """The shortest form of a length: one byte to 7F, then 81, 82, 83."""
    if length < 0x80:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    if size > _LENGTH_MAX_BYTES:
        raise LocalError(f"a TLV value of {length} bytes is too long")
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


def decode_first(data: bytes) -> tuple[Tlv, bytes]:
    """The first data object, and the bytes after it."""
    tag, at = _read_tag(data)
    length, at = read_length(data, at)
    if len(data) - at < length:
        raise PeerError("bad_tlv", f"tag {tag:X} says {length} bytes, {len(data) - at} are there")
    return Tlv(tag, data[at : at + length]), data[at + length :]


def decode(data: bytes) -> list[Tlv]:
    """All data objects of ``data``, which they must fill."""
    items: list[Tlv] = []
    while data:
        item, data = decode_first(data)
        items.append(item)
    return items


def decode_only(data: bytes, tag: int) -> bytes:
    """The value of the one data object that is to fill ``data``."""
    item, rest = decode_first(data)
    if item.tag != tag or rest:
        raise PeerError("bad_tlv", f"tag {tag:X} alone was expected, tag {item.tag:X} and {len(rest)} bytes more came")
    return item.value


def decode_map(data: bytes) -> dict[int, bytes]:
    """The data objects of a sequence by tag, in whatever order they came; the first of a repeated tag counts."""
    found: dict[int, bytes] = {}
    for tag, value in decode(data):
        found.setdefault(tag, value)
    return found


def need(items: dict[int, bytes], tag: int) -> bytes:
    """The value of a tag that must be there."""
    if tag not in items:
        raise PeerError("bad_tlv", f"tag {tag:X} is missing")
    return items[tag]


def encode_tags(tags: Iterable[int]) -> bytes:
    """A tag list (5C): the tags' bytes one after another."""
    return b"".join(_tag_bytes(tag) for tag in tags)


def decode_tags(data: bytes) -> tuple[int, ...]:
    """The tags of a tag list."""
    tags: list[int] = []
    while data:
        tag, at = _read_tag(data)
        tags.append(tag)
        data = data[at:]
    return tuple(tags)


def encode_integer(value: int) -> bytes:
    """The value bytes of a non-negative ASN.1 INTEGER: shortest, with a leading 00 where the top bit is set."""
    if value < 0:
        raise LocalError("only non-negative integers are sent to cards")
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def decode_integer(data: bytes) -> int:
    """A non-negative ASN.1 INTEGER; cards that forget the leading 00 are forgiven."""
    if not data:
        raise PeerError("bad_tlv", "an integer without bytes")
    return int.from_bytes(data, "big")


def encode_bits(bits: int) -> bytes:
    """A named bit list of one byte in DER: the count of unused bits, then the byte without them (40: ``06 40``; none: ``00``)."""
    return bytes(((bits & -bits).bit_length() - 1, bits)) if bits else b"\x00"


def decode_bits(data: bytes) -> int:
    """The first byte of a bit list. One that lacks its count of unused bits is taken as the bits: some clients send such."""
    if len(data) == 1 and data[0] > 7:
        return data[0]
    if not data or data[0] > 7:
        raise PeerError("bad_tlv", "a bit list without its count of unused bits")
    return data[1] if len(data) > 1 else 0


def decode_tag(data: bytes) -> int:
    """The tag that ``data`` begins with."""
    return _read_tag(data)[0]


def _tag_bytes(tag: int) -> bytes:
    data = tag.to_bytes(max(1, (tag.bit_length() + 7) // 8), "big")
    low_bits_full, more = data[0] & 0x1F == 0x1F, [bool(byte & 0x80) for byte in data[1:]]
    if len(data) > _TAG_MAX_BYTES or low_bits_full != bool(more) or more != [True] * (len(more) - 1) + [False] * bool(more):
        raise LocalError(f"{tag:X} is not a BER tag")
    return data


def _read_tag(data: bytes) -> tuple[int, int]:
    size = 1
    if not data:
        raise PeerError("bad_tlv", "a tag was expected, nothing is there")
    if data[0] & 0x1F == 0x1F:
        size = 2
        while size <= _TAG_MAX_BYTES and len(data) >= size and data[size - 1] & 0x80:
            size += 1
        if size > _TAG_MAX_BYTES or len(data) < size:
            raise PeerError("bad_tlv", "the tag is cut or too long")
    return int.from_bytes(data[:size], "big"), size


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """The length that is written at ``at`` (ISO/IEC 8825-1, 8.1.3; definite forms only), and where the value begins."""
    if at >= len(data):
        raise PeerError("bad_tlv", "a length was expected, nothing is there")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    size = first & 0x7F
    if not 1 <= size <= _LENGTH_MAX_BYTES or at + 1 + size > len(data):
        raise PeerError("bad_tlv", "the length is cut, indefinite or too long")
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
