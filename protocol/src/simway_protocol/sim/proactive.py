"""Proactive commands (ETSI TS 102 223): what FETCH gives and TERMINAL RESPONSE answers.

Objects are COMPREHENSION-TLVs: bit 8 of the tag only says "must be understood", so 81 and 01 name the same object.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim import tlv

TAG_PROACTIVE = 0xD0
_TAG_DETAILS = 0x01
_TAG_DEVICES = 0x02
_TAG_RESULT = 0x03
_COMPREHENSION = 0x80
_UICC, _TERMINAL = 0x81, 0x82


class CommandType(IntEnum):
    """Types of proactive command (TS 102 223, 9.4) that Simway knows by name."""

    REFRESH = 0x01
    MORE_TIME = 0x02
    POLL_INTERVAL = 0x03
    POLLING_OFF = 0x04
    SET_UP_EVENT_LIST = 0x05
    SET_UP_MENU = 0x25
    PROVIDE_LOCAL_INFORMATION = 0x26
    TIMER_MANAGEMENT = 0x27
    OPEN_CHANNEL = 0x40
    CLOSE_CHANNEL = 0x41
    RECEIVE_DATA = 0x42
    SEND_DATA = 0x43


class Refresh(IntEnum):
    """Qualifiers of REFRESH (TS 102 223, 8.6)."""

    INIT_AND_FULL_CHANGE = 0x00
    FILE_CHANGE = 0x01
    INIT_AND_FILE_CHANGE = 0x02
    INIT = 0x03
    UICC_RESET = 0x04
    APPLICATION_RESET = 0x05
    SESSION_RESET = 0x06
    EUICC_PROFILE_STATE_CHANGE = 0x09


class Result(IntEnum):
    """General results (TS 102 223, 8.12)."""

    PERFORMED = 0x00
    BEYOND_CAPABILITIES = 0x30


class ProactiveCommand(NamedTuple):
    """A proactive command. ``items``: its further objects, tags without the comprehension bit."""

    number: int
    type: int
    qualifier: int
    items: tuple[tlv.Tlv, ...] = ()

    @property
    def name(self) -> str:
        """Its name, or its type in hexadecimal."""
        try:
            return CommandType(self.type).name.replace("_", " ")
        except ValueError:
            return f"{self.type:02X}"

    @property
    def wants_reset(self) -> bool:
        """True for a REFRESH after which the terminal is to reset the card."""
        return self.type == CommandType.REFRESH and self.qualifier in (Refresh.UICC_RESET, Refresh.EUICC_PROFILE_STATE_CHANGE)

    def encode(self) -> bytes:
        """``D0{81 03 number type qualifier, 82 02 8182, ...}``, as FETCH gives it."""
        return tlv.encode(
            TAG_PROACTIVE,
            _details(self),
            tlv.encode(_COMPREHENSION | _TAG_DEVICES, bytes((_UICC, _TERMINAL))),
            *(tlv.encode(_COMPREHENSION | item.tag, item.value) for item in self.items),
        )

    @classmethod
    def decode(cls, data: bytes) -> ProactiveCommand:
        """From the data of FETCH."""
        items = _decode_items(tlv.decode_only(data, TAG_PROACTIVE))
        details = _need_details(items)
        others = tuple(item for item in items if item.tag not in (_TAG_DETAILS, _TAG_DEVICES))
        return cls(details[0], details[1], details[2], others)


class TerminalResponse(NamedTuple):
    """The terminal's answer. ``result``: a ``Result``; ``additional``: bytes after it; ``items``: further objects."""

    number: int
    type: int
    qualifier: int
    result: int
    additional: bytes = b""
    items: tuple[tlv.Tlv, ...] = ()

    @classmethod
    def to(cls, command: ProactiveCommand, result: int) -> TerminalResponse:
        """The answer to ``command``."""
        return cls(command.number, command.type, command.qualifier, result)

    def encode(self) -> bytes:
        """``81 03 ..., 82 02 8281, 83 01 result``: the data of TERMINAL RESPONSE."""
        parts = (
            _details(self),
            tlv.encode(_COMPREHENSION | _TAG_DEVICES, bytes((_TERMINAL, _UICC))),
            tlv.encode(_COMPREHENSION | _TAG_RESULT, bytes((self.result,)), self.additional),
            *(tlv.encode(_COMPREHENSION | item.tag, item.value) for item in self.items),
        )
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> TerminalResponse:
        """From the data of TERMINAL RESPONSE."""
        items = _decode_items(data)
        details = _need_details(items)
        result = next((item.value for item in items if item.tag == _TAG_RESULT), b"")
        if not result:
            raise PeerError("bad_proactive", "no result")
        known = (_TAG_DETAILS, _TAG_DEVICES, _TAG_RESULT)
        others = tuple(item for item in items if item.tag not in known)
        return cls(details[0], details[1], details[2], result[0], result[1:], others)


def _details(message: ProactiveCommand | TerminalResponse) -> bytes:
    return tlv.encode(_COMPREHENSION | _TAG_DETAILS, bytes((message.number, message.type, message.qualifier)))


def _decode_items(data: bytes) -> list[tlv.Tlv]:
    return [tlv.Tlv(tag & ~_COMPREHENSION, value) for tag, value in tlv.decode(data)]


def _need_details(items: list[tlv.Tlv]) -> bytes:
    details = next((item.value for item in items if item.tag == _TAG_DETAILS), b"")
    if len(details) != 3:
        raise PeerError("bad_proactive", "no command details of three bytes")
    return details
