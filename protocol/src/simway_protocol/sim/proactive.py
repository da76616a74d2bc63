"""Proactive commands (ETSI TS 102 223): what FETCH gives, what TERMINAL RESPONSE answers, what ENVELOPE brings.

This module holds the frames, with their data objects uninterpreted; ``proactive_commands`` has the commands that Simway speaks,
``proactive_objects`` their objects, ``terminal_profile`` what a terminal can do.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.sim import comprehension, tlv
from simway_protocol.sim.comprehension import Item

TAG_PROACTIVE = 0xD0
TAG_EVENT_DOWNLOAD = 0xD6
TAG_TIMER_EXPIRATION = 0xD7
_TAG_DETAILS = 0x01
_TAG_DEVICES = 0x02
_TAG_RESULT = 0x03
UICC, TERMINAL, NETWORK = 0x81, 0x82, 0x83
CHANNEL_BASE = 0x20
"""Device identities (8.7); BIP channel n is 20 + n."""
MISSING = "missing_object"
NOT_UNDERSTOOD = "bad_proactive"
"""Reasons of ``PeerError`` for a command whose frame is right and whose objects are not."""


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
    GET_CHANNEL_STATUS = 0x44


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
    """General results (TS 102 223, 8.12). 0x: performed; 2x: worth another try; 3x: not worth one."""

    PERFORMED = 0x00
    PARTIAL_COMPREHENSION = 0x01
    MISSING_INFORMATION = 0x02
    MODIFIED = 0x07
    TERMINAL_UNABLE = 0x20
    TIMER_STATE = 0x24
    BEYOND_CAPABILITIES = 0x30
    TYPE_NOT_UNDERSTOOD = 0x31
    DATA_NOT_UNDERSTOOD = 0x32
    VALUES_MISSING = 0x36
    BIP_ERROR = 0x3A


class BipCause(IntEnum):
    """Additional information of ``BIP_ERROR`` (TS 102 223, 8.12.11)."""

    NO_SPECIFIC_CAUSE = 0x00
    NO_CHANNEL = 0x01
    CHANNEL_CLOSED = 0x02
    CHANNEL_ID_NOT_VALID = 0x03
    BUFFER_SIZE = 0x04
    TRANSPORT_NOT_AVAILABLE = 0x06
    NOT_REACHABLE = 0x07


class TerminalCause(IntEnum):
    """Additional information of ``TERMINAL_UNABLE`` (TS 102 223, 8.12.2)."""

    NO_SPECIFIC_CAUSE = 0x00
    NO_SERVICE = 0x04


class ProactiveCommand(NamedTuple):
    """A proactive command. ``items``: its further objects; ``destination``: the device it is for."""

    number: int
    type: int
    qualifier: int
    items: tuple[Item, ...] = ()
    destination: int = TERMINAL

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
        """``D0{81 03 number type qualifier, 82 02 81 destination, ...}``, as FETCH gives it."""
        return tlv.encode(
            TAG_PROACTIVE,
            Item(_TAG_DETAILS, bytes(self[:3])).encode(),
            Item(_TAG_DEVICES, bytes((UICC, self.destination))).encode(),
            *(item.encode() for item in self.items),
        )

    @classmethod
    def decode(cls, data: bytes) -> ProactiveCommand:
        """From the data of FETCH. ``PeerError``: then ``details_of`` says what the answer is to name."""
        items = comprehension.decode(tlv.decode_only(data, TAG_PROACTIVE))
        number, command_type, qualifier = _need_details(items)
        devices = find(items, _TAG_DEVICES)
        if devices is None or len(devices) != 2 or devices[0] != UICC:
            raise PeerError(NOT_UNDERSTOOD, "no device identities from the UICC")
        others = tuple(item for item in items if item.tag not in (_TAG_DETAILS, _TAG_DEVICES))
        return cls(number, command_type, qualifier, others, devices[1])


class TerminalResponse(NamedTuple):
    """The terminal's answer. ``result``: a ``Result``; ``additional``: bytes after it; ``items``: further objects."""

    number: int
    type: int
    qualifier: int
    result: int
    additional: bytes = b""
    items: tuple[Item, ...] = ()

    @classmethod
    def to(cls, command: ProactiveCommand, result: int, additional: bytes = b"", *items: Item) -> TerminalResponse:
        """The answer to ``command``."""
        return cls(command.number, command.type, command.qualifier, result, additional, items)

    @property
    def performed(self) -> bool:
        """True for every result of the class 0x."""
        return self.result < 0x10

    def encode(self) -> bytes:
        """``81 03 ..., 82 02 8281, 83 01 result``: the data of TERMINAL RESPONSE."""
        parts = (
            Item(_TAG_DETAILS, bytes(self[:3])),
            Item(_TAG_DEVICES, bytes((TERMINAL, UICC))),
            Item(_TAG_RESULT, bytes((self.result,)) + self.additional),
            *self.items,
        )
        return b"".join(item.encode() for item in parts)

    @classmethod
    def decode(cls, data: bytes) -> TerminalResponse:
        """From the data of TERMINAL RESPONSE."""
        items = comprehension.decode(data)
        number, command_type, qualifier = _need_details(items)
        result = find(items, _TAG_RESULT)
        if not result:
            raise PeerError(NOT_UNDERSTOOD, "no result")
        known = (_TAG_DETAILS, _TAG_DEVICES, _TAG_RESULT)
        others = tuple(item for item in items if item.tag not in known)
        return cls(number, command_type, qualifier, result[0], result[1:], others)


class Envelope(NamedTuple):
    """What the terminal tells the card unasked: ``tag`` is ``TAG_EVENT_DOWNLOAD`` or ``TAG_TIMER_EXPIRATION`` (TS 102 223, 7)."""

    tag: int
    items: tuple[Item, ...]
    source: int = TERMINAL

    def encode(self) -> bytes:
        """The data of ENVELOPE: device identities first, but after the event list where there is one."""
        devices = Item(_TAG_DEVICES, bytes((self.source, UICC)))
        lead = 1 if self.tag == TAG_EVENT_DOWNLOAD else 0
        ordered = (*self.items[:lead], devices, *self.items[lead:])
        return tlv.encode(self.tag, *(item.encode() for item in ordered))

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """From the data of ENVELOPE, of whatever tag."""
        outer, rest = tlv.decode_first(data)
        if rest:
            raise PeerError("bad_tlv", "bytes after the envelope")
        items = comprehension.decode(outer.value)
        devices = find(items, _TAG_DEVICES)
        if devices is None or len(devices) != 2 or devices[1] != UICC:
            raise PeerError(NOT_UNDERSTOOD, "no device identities to the UICC")
        return cls(outer.tag, tuple(item for item in items if item.tag != _TAG_DEVICES), devices[0])


def find(items: list[Item] | tuple[Item, ...], tag: int) -> bytes | None:
    """The value of the first object with this tag."""
    return next((item.value for item in items if item.tag == tag), None)


def need(items: list[Item] | tuple[Item, ...], tag: int, what: str) -> bytes:
    """The value of an object that must be there; ``PeerError`` (``missing_object``)."""
    value = find(items, tag)
    if value is None:
        raise PeerError(MISSING, what)
    return value


def details_of(data: bytes) -> ProactiveCommand:
    """What the answer to an undecodable command names: its number, type and qualifier where they can be read, else zeros."""
    try:
        outer, _ = tlv.decode_first(data)
        first, _ = comprehension.decode_first(outer.value)
        number, command_type, qualifier = _need_details([first])
    except PeerError:
        return ProactiveCommand(0, 0, 0)
    return ProactiveCommand(number, command_type, qualifier)


def _need_details(items: list[Item]) -> tuple[int, int, int]:
    details = find(items, _TAG_DETAILS)
    if details is None or len(details) != 3:
        raise PeerError(NOT_UNDERSTOOD, "no command details of three bytes")
    return details[0], details[1], details[2]
