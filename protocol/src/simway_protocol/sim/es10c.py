"""ES10c, the local profile management of an eUICC (GSMA SGP.22 v2.x, 5.7): requests and responses, built and parsed.

All of it crosses the card inside STORE DATA (see ``store_data``). What a request's class encodes, it decodes, so that clients and
the simulated card share one codec. ICCIDs and EIDs are digits, AIDs upper-case hexadecimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple, Self, TypeVar

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.messages import RULES
from simway_protocol.messages import Profile as ProfileMessage
from simway_protocol.sim import numbering, tlv

ISD_R_AID = bytes.fromhex("A0000005591010FFFFFFFF8900000100")

TAG_GET_PROFILES_INFO = 0xBF2D
TAG_SET_NICKNAME = 0xBF29
TAG_ENABLE_PROFILE = 0xBF31
TAG_DISABLE_PROFILE = 0xBF32
TAG_DELETE_PROFILE = 0xBF33
TAG_GET_EID = 0xBF3E

TAG_ICCID = 0x5A
TAG_AID = 0x4F
TAG_TAG_LIST = 0x5C
TAG_STATE = 0x9F70
TAG_NICKNAME = 0x90
TAG_PROVIDER = 0x91
TAG_NAME = 0x92
TAG_CLASS = 0x95
TAG_POLICY = 0x99
TAG_FALLBACK = 0x9F26
"""GSMA SGP.32, ``fallbackAttribute``; an SGP.22 card has none."""
_TAG_PROFILE = 0xE3
_TAG_LIST_OK = 0xA0
_TAG_CHOICE = 0xA0
_TAG_ERROR = 0x81
_TAG_RESULT = 0x80
_TAG_REFRESH = 0x81
_TAG_NICKNAME_ELSEWHERE = 0x8F
_PPR1, _PPR2 = 0x40, 0x20
NICKNAME_MAX_BYTES = 64
TEXT_MAX_CHARS = 64
"""Names are cut there; no card that keeps to SGP.22 has a longer one."""
_AID_BYTES = range(5, 17)
_E = TypeVar("_E", bound=IntEnum)
_D = TypeVar("_D")


class ProfileState(IntEnum):
    """9F70."""

    DISABLED = 0
    ENABLED = 1


class ProfileClass(IntEnum):
    """95. A test profile is a security risk in the field: flag it."""

    TEST = 0
    PROVISIONING = 1
    OPERATIONAL = 2
    UNKNOWN = 0xFF
    """None of these: a class of a later release, or a damaged one. Not to be taken for operational."""


class ResultCode(IntEnum):
    """A result code; one that no release here knows reads as ``UNDEFINED``."""

    @classmethod
    def _missing_(cls, value: object) -> ResultCode | None:
        return cls(127) if value != 127 else None


class EnableResult(ResultCode):
    """SGP.22, 5.7.16."""

    OK = 0
    NOT_FOUND = 1
    NOT_DISABLED = 2
    POLICY = 3
    WRONG_REENABLING = 4
    CAT_BUSY = 5
    UNDEFINED = 127


class DisableResult(ResultCode):
    """SGP.22, 5.7.17."""

    OK = 0
    NOT_FOUND = 1
    NOT_ENABLED = 2
    POLICY = 3
    CAT_BUSY = 5
    UNDEFINED = 127


class DeleteResult(ResultCode):
    """SGP.22, 5.7.18."""

    OK = 0
    NOT_FOUND = 1
    NOT_DISABLED = 2
    POLICY = 3
    UNDEFINED = 127


class NicknameResult(ResultCode):
    """SGP.22, 5.7.21."""

    OK = 0
    NOT_FOUND = 1
    UNDEFINED = 127


class ProfilesError(PeerError):
    """The card answered GetProfilesInfo with an error code (1: wrong input, 127: undefined)."""

    def __init__(self, code: int) -> None:
        super().__init__("profiles_error", f"the card refused GetProfilesInfo with {code}")
        self.code = code


class ProfileId(NamedTuple):
    """How a profile is named in a request: by ICCID (``tag`` 5A) or by the AID of its ISD-P (4F). ``value``: as coded."""

    tag: int
    value: bytes

    @classmethod
    def of(cls, text: str) -> ProfileId:
        """From an ICCID (``numbering.is_iccid``, in either case) or an AID (hexadecimal, 5 to 16 bytes)."""
        if numbering.is_iccid(text.upper()):
            return cls(TAG_ICCID, numbering.encode_iccid(text.upper()))
        try:
            aid = bytes.fromhex(text)
        except ValueError as error:
            raise LocalError(f"{text!r} is neither an ICCID nor an AID") from error
        if len(aid) not in _AID_BYTES:
            raise LocalError(f"{text!r} is neither an ICCID nor an AID")
        return cls(TAG_AID, aid)

    @classmethod
    def decode(cls, data: bytes) -> ProfileId:
        """From its TLV; ``PeerError`` when it is neither."""
        items = tlv.decode_map(data)
        if TAG_ICCID in items:
            numbering.decode_iccid(items[TAG_ICCID])
            return cls(TAG_ICCID, items[TAG_ICCID])
        return cls(TAG_AID, tlv.need(items, TAG_AID))

    def encode(self) -> bytes:
        """Its TLV."""
        return tlv.encode(self.tag, self.value)

    def __str__(self) -> str:
        return numbering.decode_iccid(self.value) if self.tag == TAG_ICCID else self.value.hex().upper()


class ProfileInfo(NamedTuple):
    """One profile as the card describes it (SGP.22, 5.7.15). ``None``: the card did not say."""

    iccid: str = ""
    aid: str = ""
    state: ProfileState | None = None
    nickname: str | None = None
    provider: str | None = None
    name: str | None = None
    profile_class: ProfileClass | None = None
    policy: bytes | None = None
    """Profile policy rules as the card codes them (a bit string with its leading count)."""
    fallback: bool = False

    @property
    def rules(self) -> list[str]:
        """What the policy forbids, in the words of the log (``messages.RULES``)."""
        bits = self.policy[1] if self.policy and len(self.policy) > 1 else 0
        return [rule for rule, bit in zip(RULES, (_PPR1, _PPR2), strict=True) if bits & bit]

    @property
    def enabled(self) -> bool:
        """True when the card says that it is enabled."""
        return self.state is ProfileState.ENABLED

    def encode(self, tags: tuple[int, ...] = ()) -> bytes:
        """The E3 object; with ``tags``, only those fields (all fields when empty)."""
        fields: tuple[tuple[int, bytes | None], ...] = (
            (TAG_ICCID, numbering.encode_iccid(self.iccid) if self.iccid else None),
            (TAG_AID, bytes.fromhex(self.aid) if self.aid else None),
            (TAG_STATE, None if self.state is None else bytes((self.state,))),
            (TAG_NICKNAME, None if self.nickname is None else self.nickname.encode()),
            (TAG_PROVIDER, None if self.provider is None else self.provider.encode()),
            (TAG_NAME, None if self.name is None else self.name.encode()),
            (TAG_CLASS, None if self.profile_class is None else bytes((self.profile_class,))),
            (TAG_POLICY, self.policy),
            (TAG_FALLBACK, b"\xff" if self.fallback else None),
        )
        shown = (tlv.encode(tag, value) for tag, value in fields if value is not None and (not tags or tag in tags))
        return tlv.encode(_TAG_PROFILE, *shown)

    @classmethod
    def decode(cls, value: bytes) -> ProfileInfo:
        """From the value of an E3 object, its fields in any order. ``PeerError`` when it is no TLV, or its ICCID none.

        All else is forgiven: names are cut and what is no UTF-8 in them is replaced, an unknown state reads as not said.
        """
        items = tlv.decode_map(value)
        state, profile_class, aid = items.get(TAG_STATE), items.get(TAG_CLASS), items.get(TAG_AID, b"")
        return cls(
            iccid=numbering.decode_iccid(items[TAG_ICCID]) if TAG_ICCID in items else "",
            aid=aid.hex().upper() if len(aid) in _AID_BYTES else "",
            state=None if state is None else _known(ProfileState, state, None),
            nickname=_name(items.get(TAG_NICKNAME)),
            provider=_name(items.get(TAG_PROVIDER)),
            name=_name(items.get(TAG_NAME)),
            profile_class=None if profile_class is None else _known(ProfileClass, profile_class, ProfileClass.UNKNOWN),
            policy=items.get(TAG_POLICY),
            fallback=any(items.get(TAG_FALLBACK, b"")),
        )

    def message(self) -> ProfileMessage:
        """The same in the words of the log. A state that the card left out reads as disabled, a class as operational."""
        profile_class = ProfileClass.OPERATIONAL if self.profile_class is None else self.profile_class
        return ProfileMessage(
            iccid=self.iccid,
            aid=self.aid,
            state="enabled" if self.enabled else "disabled",
            provider=self.provider or "",
            name=self.name or "",
            nickname=self.nickname or "",
            profile_class=profile_class.name.lower(),
            fallback=self.fallback,
            rules=self.rules,
        )


# --- requests ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetEid:
    """SGP.22, 5.7.20."""

    TAG: ClassVar[int] = TAG_GET_EID

    def encode(self) -> bytes:
        """``BF3E 03 5C015A``."""
        return tlv.encode(self.TAG, tlv.encode(TAG_TAG_LIST, b"\x5a"))

    @classmethod
    def decode(cls, value: bytes) -> GetEid:
        """From the value of BF3E."""
        if tlv.need(tlv.decode_map(value), TAG_TAG_LIST) != b"\x5a":
            raise PeerError("bad_request", "GetEID asks for 5A alone")
        return cls()


@dataclass(frozen=True, slots=True)
class GetProfilesInfo:
    """SGP.22, 5.7.15. ``search``: one profile, or all of a class; None: all.

    ``tags``: the fields wanted; empty: the card's choice.
    """

    TAG: ClassVar[int] = TAG_GET_PROFILES_INFO
    search: ProfileId | ProfileClass | None = None
    tags: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """``BF2D{[A0{5A, 4F or 95}] [5C tags]}``."""
        parts: list[bytes] = []
        if self.search is not None:
            search = self.search
            inner = tlv.encode(TAG_CLASS, bytes((search,))) if isinstance(search, ProfileClass) else search.encode()
            parts.append(tlv.encode(_TAG_CHOICE, inner))
        if self.tags:
            parts.append(tlv.encode(TAG_TAG_LIST, tlv.encode_tags(self.tags)))
        return tlv.encode(self.TAG, *parts)

    @classmethod
    def decode(cls, value: bytes) -> GetProfilesInfo:
        """From the value of BF2D."""
        items = tlv.decode_map(value)
        search: ProfileId | ProfileClass | None = None
        if _TAG_CHOICE in items:
            wanted = tlv.decode_map(items[_TAG_CHOICE])
            search = _enum(ProfileClass, wanted[TAG_CLASS]) if TAG_CLASS in wanted else ProfileId.decode(items[_TAG_CHOICE])
        return cls(search, tlv.decode_tags(items.get(TAG_TAG_LIST, b"")))


@dataclass(frozen=True, slots=True)
class _SwitchRequest:
    """``refresh``: the card is to ask for a REFRESH; without it the client resets by itself.

    ``flag``: what says true on the wire; any non-zero byte does.
    """

    TAG: ClassVar[int]
    profile: ProfileId
    refresh: bool = True
    flag: int = 0xFF

    def encode(self) -> bytes:
        """``tag{A0{5A or 4F}, 81 01 refresh}``."""
        return _encode_switch(self.TAG, self.profile, self.flag if self.refresh else 0)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """From the value of the tag."""
        profile, flag = _decode_switch(value)
        return cls(profile, flag != 0, flag or 0xFF)


class EnableProfile(_SwitchRequest):
    """BF31: SGP.22, 5.7.16."""

    __slots__ = ()
    TAG: ClassVar[int] = TAG_ENABLE_PROFILE


class DisableProfile(_SwitchRequest):
    """BF32: SGP.22, 5.7.17."""

    __slots__ = ()
    TAG: ClassVar[int] = TAG_DISABLE_PROFILE


@dataclass(frozen=True, slots=True)
class DeleteProfile:
    """SGP.22, 5.7.18."""

    TAG: ClassVar[int] = TAG_DELETE_PROFILE
    profile: ProfileId

    def encode(self) -> bytes:
        """``BF33{5A or 4F}``: no A0 around it."""
        return tlv.encode(self.TAG, self.profile.encode())

    @classmethod
    def decode(cls, value: bytes) -> DeleteProfile:
        """From the value of BF33."""
        return cls(ProfileId.decode(value))


@dataclass(frozen=True, slots=True)
class SetNickname:
    """SGP.22, 5.7.21. ``nickname``: at most 64 bytes of UTF-8; empty takes it away."""

    TAG: ClassVar[int] = TAG_SET_NICKNAME
    iccid: str
    nickname: str

    def encode(self) -> bytes:
        """``BF29{5A, 90}``."""
        text = self.nickname.encode()
        if len(text) > NICKNAME_MAX_BYTES:
            raise LocalError(f"a nickname has at most {NICKNAME_MAX_BYTES} bytes of UTF-8")
        return tlv.encode(self.TAG, tlv.encode(TAG_ICCID, numbering.encode_iccid(self.iccid)), tlv.encode(TAG_NICKNAME, text))

    @classmethod
    def decode(cls, value: bytes) -> SetNickname:
        """From the value of BF29; the nickname under 90, or under 8F, where some clients put it."""
        items = tlv.decode_map(value)
        text = items[_TAG_NICKNAME_ELSEWHERE] if _TAG_NICKNAME_ELSEWHERE in items else tlv.need(items, TAG_NICKNAME)
        if len(text) > NICKNAME_MAX_BYTES:
            raise PeerError("bad_request", "the nickname is too long")
        return cls(numbering.decode_iccid(tlv.need(items, TAG_ICCID)), _text(text))


# --- responses ---------------------------------------------------------------------------------------------------------


def encode_eid_response(eid: str) -> bytes:
    """``BF3E 12 5A10`` EID."""
    return tlv.encode(TAG_GET_EID, tlv.encode(TAG_ICCID, numbering.encode_eid(eid)))


def decode_eid_response(data: bytes) -> str:
    """The EID's 32 digits."""
    return numbering.decode_eid(tlv.need(tlv.decode_map(tlv.decode_only(data, TAG_GET_EID)), TAG_ICCID))


def encode_profiles_response(profiles: list[ProfileInfo], tags: tuple[int, ...] = ()) -> bytes:
    """``BF2D{A0{E3...}}`` with the fields that ``tags`` names."""
    return tlv.encode(TAG_GET_PROFILES_INFO, tlv.encode(_TAG_LIST_OK, *(profile.encode(tags) for profile in profiles)))


def encode_profiles_error(code: int) -> bytes:
    """``BF2D 03 8101`` code."""
    return tlv.encode(TAG_GET_PROFILES_INFO, tlv.encode(_TAG_ERROR, bytes((code,))))


def decode_profiles_response(data: bytes) -> list[ProfileInfo]:
    """The profiles in the card's order, without those that nobody can read; ``ProfilesError`` where the card refused."""
    return read_profiles_response(data)[0]


def read_profiles_response(data: bytes) -> tuple[list[ProfileInfo], int]:
    """As ``decode_profiles_response``, and how many entries were passed over because they cannot be read.

    An entry that is longer than the list ends it: what is behind it counts with it as one.
    """
    items = tlv.decode_map(tlv.decode_only(data, TAG_GET_PROFILES_INFO))
    if _TAG_ERROR in items:
        raise ProfilesError(tlv.decode_integer(items[_TAG_ERROR]))
    profiles: list[ProfileInfo] = []
    left, unreadable = tlv.need(items, _TAG_LIST_OK), 0
    while left:
        try:
            (tag, value), left = tlv.decode_first(left)
        except PeerError:
            return profiles, unreadable + 1
        try:
            profiles += [ProfileInfo.decode(value)] if tag == _TAG_PROFILE else []
        except PeerError:
            unreadable += 1
    return profiles, unreadable


def encode_result(tag: int, code: int) -> bytes:
    """``tag 03 8001 code``: the answer of enable, disable, delete, nickname and notification removal."""
    return tlv.encode(tag, tlv.encode(_TAG_RESULT, bytes((code,))))


def decode_result(data: bytes, tag: int) -> int:
    """The code of such an answer; wrap it in ``EnableResult`` and its kin."""
    return tlv.decode_integer(tlv.need(tlv.decode_map(tlv.decode_only(data, tag)), _TAG_RESULT))


def _encode_switch(tag: int, profile: ProfileId, flag: int) -> bytes:
    return tlv.encode(tag, tlv.encode(_TAG_CHOICE, profile.encode()), tlv.encode(_TAG_REFRESH, bytes((flag,))))


def _decode_switch(value: bytes) -> tuple[ProfileId, int]:
    items = tlv.decode_map(value)
    flag = tlv.need(items, _TAG_REFRESH)
    if len(flag) != 1:
        raise PeerError("bad_request", "the refresh flag is not one byte")
    return ProfileId.decode(tlv.need(items, _TAG_CHOICE)), flag[0]


def _name(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")[:TEXT_MAX_CHARS]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PeerError("bad_tlv", "a text is not UTF-8") from error


def _known(kind: type[_E], value: bytes, otherwise: _D) -> _E | _D:
    try:
        return _enum(kind, value)
    except PeerError:
        return otherwise


def _enum(kind: type[_E], value: bytes) -> _E:
    try:
        return kind(tlv.decode_integer(value))
    except ValueError as error:
        raise PeerError("bad_tlv", f"{value.hex()} is no {kind.__name__}") from error
