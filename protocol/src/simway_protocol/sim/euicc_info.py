"""What an eUICC says of itself by ES10a and ES10b (GSMA SGP.22 v2.x, 5.7.3, 5.7.4, 5.7.7, 5.7.8, 5.7.22).

Addresses, EUICCInfo1 and 2, the rules authorisation table and a challenge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim import tlv

TAG_GET_EUICC_INFO_1 = 0xBF20
TAG_GET_EUICC_INFO_2 = 0xBF22
TAG_GET_CHALLENGE = 0xBF2E
TAG_GET_ADDRESSES = 0xBF3C
TAG_SET_DEFAULT_SMDP = 0xBF3F
TAG_GET_RAT = 0xBF43
CHALLENGE_BYTES = 16
_TAG_OK = 0xA0


class Addresses(NamedTuple):
    """The servers that the card is configured for; an empty default SM-DP+ is none."""

    smdp: str
    smds: str


class EuiccInfo2(NamedTuple):
    """The fields of EUICCInfo2 (SGP.22, 5.7.8) that people ask for; versions as ``2.2.2``. Sizes in bytes, -1: not said.

    The capabilities are bit lists as coded; ``category``: 1 basic, 2 medium, 3 contactless.
    """

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
    uicc_capability: bytes = b"\x00"
    rsp_capability: bytes = b"\x00"
    category: int = -1


class EuiccInfo1(NamedTuple):
    """What a server is told before it is trusted (SGP.22, 5.7.8). ``ci_keys``: whose certificates the card believes."""

    svn: str
    ci_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SetDefaultSmdp:
    """SetDefaultDpAddress (SGP.22, 5.7.4); an empty address takes it away."""

    TAG: ClassVar[int] = TAG_SET_DEFAULT_SMDP
    address: str

    def encode(self) -> bytes:
        """``BF3F{80 address}``."""
        return tlv.encode(self.TAG, tlv.encode(0x80, self.address.encode()))

    @classmethod
    def decode(cls, value: bytes) -> SetDefaultSmdp:
        """From the value of BF3F."""
        return cls(_text(tlv.need(tlv.decode_map(value), 0x80)))


@dataclass(frozen=True, slots=True)
class Get:
    """One of the requests without a field: addresses, RAT, EUICCInfo2."""

    tag: int

    def encode(self) -> bytes:
        """The tag with an empty value."""
        return tlv.encode(self.tag)


def encode_challenge_response(challenge: bytes) -> bytes:
    """``BF2E{80 challenge}``: 16 random bytes."""
    return tlv.encode(TAG_GET_CHALLENGE, tlv.encode(0x80, challenge))


def decode_challenge_response(data: bytes) -> bytes:
    """The 16 bytes."""
    challenge = tlv.need(tlv.decode_map(tlv.decode_only(data, TAG_GET_CHALLENGE)), 0x80)
    if len(challenge) != CHALLENGE_BYTES:
        raise PeerError("bad_tlv", f"a challenge of {len(challenge)} bytes, 16 expected")
    return challenge


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


def encode_info_1_response(info: EuiccInfo1) -> bytes:
    """``BF20{82 SVN, A9 keys, AA keys}``."""
    keys = b"".join(tlv.encode(0x04, key) for key in info.ci_keys)
    return tlv.encode(TAG_GET_EUICC_INFO_1, tlv.encode(0x82, _version(info.svn)), tlv.encode(0xA9, keys), tlv.encode(0xAA, keys))


def decode_info_1_response(data: bytes) -> EuiccInfo1:
    """The fields of ``EuiccInfo1``."""
    items = tlv.decode_map(tlv.decode_only(data, TAG_GET_EUICC_INFO_1))
    return EuiccInfo1(_version_text(tlv.need(items, 0x82)), tuple(value for _, value in tlv.decode(tlv.need(items, 0xA9))))


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
        tlv.encode(0x85, info.uicc_capability),
        tlv.encode(0x86, _version(info.ts_102241)) if info.ts_102241 else b"",
        tlv.encode(0x87, _version(info.global_platform)) if info.global_platform else b"",
        tlv.encode(0x88, info.rsp_capability),
        tlv.encode(0xA9, keys),
        tlv.encode(0xAA, keys),
        tlv.encode(0x8B, bytes((info.category,))) if info.category >= 0 else b"",
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
        uicc_capability=items.get(0x85, b"\x00"),
        rsp_capability=items.get(0x88, b"\x00"),
        category=_size(items, 0x8B),
    )


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
