"""The data objects of ES10 (GSMA SGP.22, 5.7) in words: tag, name, value."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

from simway_protocol.errors import PeerError
from simway_protocol.sim import es10b, es10c, euicc_info, memory_reset, numbering, tlv, trace
from simway_protocol.sim.proactive import Result

_SHOWN_BYTES = 16
_DEPTH_MAX = 8
_CONSTRUCTED = 0x20

Format: TypeAlias = Callable[[bytes], str]


def identity_words(digits: str, *, show: bool = False) -> str:
    """A number that names a card or a subscriber: whole, or its first and last four digits."""
    return digits if show or len(digits) <= 8 else f"{digits[:4]}..{digits[-4:]}"


def count_words(data: bytes) -> str:
    """How much it is."""
    return f"{len(data)} byte" if len(data) == 1 else f"{len(data)} bytes"


def result_words(result: int) -> str:
    """A general result of TERMINAL RESPONSE (TS 102 223, 8.12)."""
    try:
        return Result(result).name.lower().replace("_", " ")
    except ValueError:
        return f"result {result:02X}"


def lines(data: bytes, *, show_ids: bool) -> list[str]:
    """One line an object, indented below what holds it. Raises ``PeerError`` for what is no TLV."""
    found: list[str] = []
    for tag, value in tlv.decode(data):
        found += _object(tag, value, tag, 0, show_ids)
    return found


def _object(tag: int, value: bytes, function: int, depth: int, show_ids: bool) -> list[str]:
    name, told = _FIELDS.get((function, tag)) or _FIELDS.get((0, tag)) or (trace.FUNCTIONS.get(tag, ""), _hex)
    head = f"{'  ' * depth}{tag:X} {name}".rstrip()
    if _is_constructed(tag) and depth < _DEPTH_MAX:
        try:
            inner = tlv.decode(value)
        except PeerError:
            return [f"{head}: {count_words(value)}"]
        below: list[str] = []
        for inner_tag, inner_value in inner:
            below += _object(inner_tag, inner_value, function, depth + 1, show_ids)
        return [head, *below]
    return [f"{head}: {_value(told, value, show_ids)}"]


def _value(told: Format, value: bytes, show_ids: bool) -> str:
    try:
        text = told(value)
    except (PeerError, UnicodeDecodeError):
        return _hex(value)
    return identity_words(text, show=show_ids) if told in (_iccid, _eid) else text


def _is_constructed(tag: int) -> bool:
    return bool(tag >> 8 * ((tag.bit_length() - 1) // 8) & _CONSTRUCTED)


# --- values --------------------------------------------------------------------------------------------------------------


def _hex(value: bytes) -> str:
    shown = value[:_SHOWN_BYTES].hex().upper()
    return shown if len(value) <= _SHOWN_BYTES else f"{shown}.. ({count_words(value)})"


def _iccid(value: bytes) -> str:
    return numbering.decode_iccid(value)


def _eid(value: bytes) -> str:
    return numbering.decode_eid(value)


def _text(value: bytes) -> str:
    text = value.decode()
    return repr(text) if text.isprintable() else _hex(value)


def _number(value: bytes) -> str:
    return str(tlv.decode_integer(value))


def _flag(value: bytes) -> str:
    return "yes" if any(value) else "no"


def _version(value: bytes) -> str:
    return ".".join(map(str, value))


def _tags(value: bytes) -> str:
    return " ".join(f"{tag:X}" for tag in tlv.decode_tags(value))


def _rules(value: bytes) -> str:
    return ", ".join(rule.replace("_", " ") for rule in es10c.ProfileInfo(policy=value).rules) or "none"


def _operation(value: bytes) -> str:
    return (es10b.decode_operation(value).name or "none").lower().replace("|", ", ")


def _named(kind: type[IntEnum]) -> Format:
    def told(value: bytes) -> str:
        number = tlv.decode_integer(value)
        try:
            return f"{number} ({kind(number).name.lower().replace('_', ' ')})"
        except ValueError:
            return str(number)

    return told


_RESULTS = {
    es10c.TAG_ENABLE_PROFILE: es10c.EnableResult, es10c.TAG_DISABLE_PROFILE: es10c.DisableResult,
    es10c.TAG_DELETE_PROFILE: es10c.DeleteResult, es10c.TAG_SET_NICKNAME: es10c.NicknameResult,
    memory_reset.TAG_MEMORY_RESET: memory_reset.MemoryResetResult, es10b.TAG_NOTIFICATION_SENT: es10b.RemoveResult,
}  # fmt: skip

_FIELDS: dict[tuple[int, int], tuple[str, Format]] = {
    (0, es10c.TAG_ICCID): ("ICCID", _iccid),
    (0, es10c.TAG_AID): ("AID", _hex),
    (0, es10c.TAG_TAG_LIST): ("tags wanted", _tags),
    (0, es10c.TAG_STATE): ("state", _named(es10c.ProfileState)),
    (0, es10c.TAG_NICKNAME): ("nickname", _text),
    (0, es10c.TAG_PROVIDER): ("provider", _text),
    (0, es10c.TAG_NAME): ("name", _text),
    (0, es10c.TAG_CLASS): ("class", _named(es10c.ProfileClass)),
    (0, es10c.TAG_POLICY): ("policy rules", _rules),
    (0, es10c.TAG_FALLBACK): ("fallback", _flag),
    (0, 0xE3): ("profile", _hex),
    (0, es10b.TAG_NOTIFICATION): ("notification", _hex),
    (es10c.TAG_GET_EID, es10c.TAG_ICCID): ("EID", _eid),
    (es10c.TAG_ENABLE_PROFILE, 0x81): ("refresh", _flag),
    (es10c.TAG_DISABLE_PROFILE, 0x81): ("refresh", _flag),
    (euicc_info.TAG_GET_ADDRESSES, 0x80): ("default SM-DP+", _text),
    (euicc_info.TAG_GET_ADDRESSES, 0x81): ("SM-DS", _text),
    (euicc_info.TAG_GET_EUICC_INFO_2, 0x81): ("profile packages", _version),
    (euicc_info.TAG_GET_EUICC_INFO_2, 0x82): ("SGP.22", _version),
    (euicc_info.TAG_GET_EUICC_INFO_2, 0x83): ("firmware", _version),
    (euicc_info.TAG_GET_EUICC_INFO_2, 0x84): ("resources", _hex),
    **{
        (function, tag): told
        for function in (es10b.TAG_LIST_NOTIFICATION, es10b.TAG_NOTIFICATION_SENT, es10b.TAG_RETRIEVE_NOTIFICATIONS)
        for tag, told in ((0x80, ("number", _number)), (0x81, ("about", _operation)), (0x0C, ("for", _text)))
    },
    **{(function, 0x80): ("result", _named(kind)) for function, kind in _RESULTS.items()},
}
