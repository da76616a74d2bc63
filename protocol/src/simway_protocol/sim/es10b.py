"""ES10a and ES10b, as far as they only look or tidy up (SGP.22 v2.x, 5.7.3 to 5.7.22): info, addresses, RAT, notifications."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, NamedTuple

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim import numbering, tlv
from simway_protocol.sim.es10c import TAG_ICCID, ResultCode

TAG_GET_EUICC_INFO_2 = 0xBF22
TAG_LIST_NOTIFICATION = 0xBF28
TAG_NOTIFICATION = 0xBF2F
TAG_NOTIFICATION_SENT = 0xBF30
TAG_GET_ADDRESSES = 0xBF3C
TAG_GET_RAT = 0xBF43
_TAG_ADDRESS = 0x0C
_TAG_OK = 0xA0
_TAG_ERROR = 0x81


class Operation(IntFlag):
    """What a notification is about. The bits of the named bit list, its first bit being the highest of a byte."""

    INSTALL = 0x80
    ENABLE = 0x40
    DISABLE = 0x20
    DELETE = 0x10


ALL_OPERATIONS = Operation(0)
"""No bit: a list request that filters nothing."""


class RemoveResult(ResultCode):
    """SGP.22, 5.7.11."""

    OK = 0
    NOT_FOUND = 1
    UNDEFINED = 127


class Notification(NamedTuple):
    """What the card keeps until it was delivered to ``address`` and removed (SGP.22, 3.5)."""

    seq: int
    operation: Operation
    address: str
    iccid: str

    def encode(self) -> bytes:
        """``BF2F{80 seq, 81 ops, 0C address, 5A iccid}``."""
        parts = [
            tlv.encode(0x80, tlv.encode_integer(self.seq)),
            tlv.encode(0x81, encode_bits(self.operation)),
            tlv.encode(_TAG_ADDRESS, self.address.encode()),
        ]
        if self.iccid:
            parts.append(tlv.encode(TAG_ICCID, numbering.encode_iccid(self.iccid)))
        return tlv.encode(TAG_NOTIFICATION, *parts)

    @classmethod
    def decode(cls, value: bytes) -> Notification:
        """From the value of BF2F."""
        items = tlv.decode_map(value)
        return cls(
            seq=tlv.decode_integer(tlv.need(items, 0x80)),
            operation=decode_operation(tlv.need(items, 0x81)),
            address=_text(tlv.need(items, _TAG_ADDRESS)),
            iccid=numbering.decode_iccid(items[TAG_ICCID]) if TAG_ICCID in items else "",
        )


class Addresses(NamedTuple):
    """The servers that the card is configured for; an empty default SM-DP+ is none."""

    smdp: str
    smds: str


class EuiccInfo2(NamedTuple):
    """The fields of EUICCInfo2 (SGP.22, 5.7.8) that people ask for; versions as ``2.2.2``. Sizes in bytes, -1: not said."""

    profile_version: str
    svn: str
    firmware: str
    installed_applications: int = -1
    free_nonvolatile_bytes: int = -1
    free_volatile_bytes: int = -1
    ts_102241: str = ""
    global_platform: str = ""
    pp_version: str = ""
    accreditation: str = ""
    ci_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ListNotification:
    """SGP.22, 5.7.9. ``operations``: only those; none: all."""

    TAG: ClassVar[int] = TAG_LIST_NOTIFICATION
    operations: Operation = ALL_OPERATIONS

    def encode(self) -> bytes:
        """``BF28 00``, or with ``81`` operations."""
        return tlv.encode(self.TAG, tlv.encode(0x81, encode_bits(self.operations)) if self.operations else b"")

    @classmethod
    def decode(cls, value: bytes) -> ListNotification:
        """From the value of BF28."""
        wanted = tlv.decode_map(value).get(0x81)
        return cls(ALL_OPERATIONS if wanted is None else decode_operation(wanted))


@dataclass(frozen=True, slots=True)
class RemoveNotification:
    """NotificationSent (SGP.22, 5.7.11): delivered, the card may forget it."""

    TAG: ClassVar[int] = TAG_NOTIFICATION_SENT
    seq: int

    def encode(self) -> bytes:
        """``BF30{80 seq}``."""
        return tlv.encode(self.TAG, tlv.encode(0x80, tlv.encode_integer(self.seq)))

    @classmethod
    def decode(cls, value: bytes) -> RemoveNotification:
        """From the value of BF30."""
        return cls(tlv.decode_integer(tlv.need(tlv.decode_map(value), 0x80)))


@dataclass(frozen=True, slots=True)
class Get:
    """One of the requests without a field: addresses, RAT, EUICCInfo2."""

    tag: int

    def encode(self) -> bytes:
        """The tag with an empty value."""
        return tlv.encode(self.tag)


def encode_notifications_response(notifications: list[Notification]) -> bytes:
    """``BF28{A0{BF2F...}}``."""
    return tlv.encode(TAG_LIST_NOTIFICATION, tlv.encode(_TAG_OK, *(item.encode() for item in notifications)))


def decode_notifications_response(data: bytes) -> list[Notification]:
    """The notifications in the card's order."""
    items = tlv.decode_map(tlv.decode_only(data, TAG_LIST_NOTIFICATION))
    if _TAG_ERROR in items:
        raise PeerError("notifications_error", f"the card refused with {tlv.decode_integer(items[_TAG_ERROR])}")
    return [Notification.decode(value) for tag, value in tlv.decode(tlv.need(items, _TAG_OK)) if tag == TAG_NOTIFICATION]


def encode_addresses_response(addresses: Addresses) -> bytes:
    """``BF3C{80 smdp, 81 smds}``; no 80 without a default SM-DP+."""
    smdp = tlv.encode(0x80, addresses.smdp.encode()) if addresses.smdp else b""
    return tlv.encode(TAG_GET_ADDRESSES, smdp, tlv.encode(0x81, addresses.smds.encode()))


def decode_addresses_response(data: bytes) -> Addresses:
    """The configured addresses."""
    items = tlv.decode_map(tlv.decode_only(data, TAG_GET_ADDRESSES))
    return Addresses(_text(items.get(0x80, b"")), _text(tlv.need(items, 0x81)))


def encode_rat_response(rules: bytes = b"") -> bytes:
    """``BF43{A0 rules}``: the rules authorisation table; empty forbids every policy rule."""
    return tlv.encode(TAG_GET_RAT, tlv.encode(_TAG_OK, rules))


def decode_rat_response(data: bytes) -> bytes:
    """The rules as the card codes them."""
    return tlv.need(tlv.decode_map(tlv.decode_only(data, TAG_GET_RAT)), _TAG_OK)


def encode_info_2_response(info: EuiccInfo2) -> bytes:
    """``BF22{81 profile version, 82 SVN, 83 firmware, 84 resources, ..., A9 keys, AA keys, 04 PP version, 0C accreditation}``."""
    resources = b"".join(
        tlv.encode(tag, tlv.encode_integer(value))
        for tag, value in (
            (0x81, info.installed_applications),
            (0x82, info.free_nonvolatile_bytes),
            (0x83, info.free_volatile_bytes),
        )
        if value >= 0
    )
    keys = b"".join(tlv.encode(0x04, key) for key in info.ci_keys)
    parts = (
        tlv.encode(0x81, _version(info.profile_version)),
        tlv.encode(0x82, _version(info.svn)),
        tlv.encode(0x83, _version(info.firmware)),
        tlv.encode(0x84, resources),
        tlv.encode(0x85, b"\x00"),
        tlv.encode(0x86, _version(info.ts_102241)) if info.ts_102241 else b"",
        tlv.encode(0x87, _version(info.global_platform)) if info.global_platform else b"",
        tlv.encode(0x88, b"\x00"),
        tlv.encode(0xA9, keys),
        tlv.encode(0xAA, keys),
        tlv.encode(0x04, _version(info.pp_version or "0.0.0")),
        tlv.encode(0x0C, info.accreditation.encode()),
    )
    return tlv.encode(TAG_GET_EUICC_INFO_2, *parts)


def decode_info_2_response(data: bytes) -> EuiccInfo2:
    """The fields of ``EuiccInfo2``; the others are passed over."""
    items = tlv.decode_map(tlv.decode_only(data, TAG_GET_EUICC_INFO_2))
    resources = tlv.decode_map(items.get(0x84, b""))
    return EuiccInfo2(
        _version_text(tlv.need(items, 0x81)),
        _version_text(tlv.need(items, 0x82)),
        _version_text(tlv.need(items, 0x83)),
        _size(resources, 0x81),
        _size(resources, 0x82),
        _size(resources, 0x83),
        ts_102241=_version_text(items.get(0x86, b"")),
        global_platform=_version_text(items.get(0x87, b"")),
        pp_version=_version_text(items.get(0x04, b"")),
        accreditation=_text(items.get(0x0C, b"")),
        ci_keys=tuple(value for _, value in tlv.decode(items.get(0xA9, b""))),
    )


def encode_bits(bits: int) -> bytes:
    """A named bit list of one byte in DER: the count of unused bits, then the byte without them (40: ``06 40``; none: ``00``)."""
    return bytes(((bits & -bits).bit_length() - 1, bits)) if bits else b"\x00"


def decode_operation(data: bytes) -> Operation:
    """The operations of a bit list; bits that no release here knows are passed over."""
    if not data or data[0] > 7:
        raise PeerError("bad_tlv", "a bit list without its count of unused bits")
    return Operation((data[1] if len(data) > 1 else 0) & 0xF0)


def _size(resources: dict[int, bytes], tag: int) -> int:
    return tlv.decode_integer(resources[tag]) if tag in resources else -1


def _version(text: str) -> bytes:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        raise LocalError(f"{text!r} is not a version of three numbers")
    return bytes(int(part) for part in parts)


def _version_text(value: bytes) -> str:
    return ".".join(str(part) for part in value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PeerError("bad_tlv", "a text is not UTF-8") from error
