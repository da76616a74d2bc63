"""Data objects of proactive commands, their answers and envelopes (ETSI TS 102 223, 8): values from and to their bytes.

Decoders take the value of a data object, without tag and length; they raise ``PeerError`` (``bad_proactive``).
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import NOT_UNDERSTOOD

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

TIMERS = range(1, 9)
"""Timer identifiers (8.37)."""
TIMER_MAX_S = 24 * 3600 - 1
CHANNELS = range(1, 8)
"""Channel identifiers (8.56)."""
MUCH = 0xFF
"""In a channel data length: more than 255 bytes (8.54)."""
AREA_UNKNOWN = 0xFFFE
"""The LAC or TAC that says that there is none (3GPP TS 23.003, 4.1)."""
IMEI_DIGITS = 15
_UNIT_S = {0x00: 60.0, 0x01: 1.0, 0x02: 0.1}
_LINK_ESTABLISHED = 0x80
_TIME_ZONE_UNKNOWN = 0xFF
_WEST = 0x08
_QUARTER_S = 900
_CENTURY = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tag(IntEnum):
    """Tags without the comprehension bit (ETSI TS 101 220, table 7.23)."""

    DURATION = 0x04
    ALPHA_IDENTIFIER = 0x05
    TEXT_STRING = 0x0D
    LOCATION_INFORMATION = 0x13
    IMEI = 0x14
    EVENT_LIST = 0x19
    ICON_IDENTIFIER = 0x1E
    TIMER_IDENTIFIER = 0x24
    TIMER_VALUE = 0x25
    DATE_TIME = 0x26
    BEARER_DESCRIPTION = 0x35
    CHANNEL_DATA = 0x36
    CHANNEL_DATA_LENGTH = 0x37
    CHANNEL_STATUS = 0x38
    BUFFER_SIZE = 0x39
    TRANSPORT = 0x3C
    OTHER_ADDRESS = 0x3E
    ACCESS_TECHNOLOGY = 0x3F
    NETWORK_ACCESS_NAME = 0x47
    TEXT_ATTRIBUTE = 0x50
    FRAME_IDENTIFIER = 0x68


class Event(IntEnum):
    """Events that Simway knows (8.25)."""

    DATA_AVAILABLE = 0x09
    CHANNEL_STATUS = 0x0A


class AccessTechnology(IntEnum):
    """8.61."""

    GSM = 0x00
    UTRAN = 0x03
    E_UTRAN = 0x08
    NG_RAN = 0x0A


class BearerType(IntEnum):
    """Bearers of packets (8.52)."""

    GPRS = 0x02
    DEFAULT = 0x03
    UTRAN = 0x09
    E_UTRAN = 0x0B


class Bearer(NamedTuple):
    """A bearer description (8.52)."""

    type: int
    parameters: bytes = b""

    def item(self) -> Item:
        """The data object."""
        return Item(Tag.BEARER_DESCRIPTION, bytes((self.type,)) + self.parameters)

    @classmethod
    def decode(cls, value: bytes) -> Bearer:
        """From the object's value."""
        if not value:
            raise PeerError(NOT_UNDERSTOOD, "a bearer description without a type")
        return cls(value[0], value[1:])


class TransportProtocol(IntEnum):
    """8.59."""

    UDP_REMOTE = 0x01
    TCP_REMOTE = 0x02


class Transport(NamedTuple):
    """UICC/terminal interface transport level (8.59)."""

    protocol: int
    port: int

    def item(self) -> Item:
        """The data object."""
        return Item(Tag.TRANSPORT, bytes((self.protocol,)) + self.port.to_bytes(2, "big"))

    @classmethod
    def decode(cls, value: bytes) -> Transport:
        """From the object's value."""
        if len(value) != 3:
            raise PeerError(NOT_UNDERSTOOD, f"a transport level of {len(value)} bytes")
        return cls(value[0], int.from_bytes(value[1:], "big"))


class ChannelStatus(NamedTuple):
    """8.56. ``established``: the link stands; ``info`` 05: it was dropped. ``channel`` 0: no channel."""

    channel: int
    established: bool
    info: int = 0

    def item(self) -> Item:
        """The data object."""
        return Item(Tag.CHANNEL_STATUS, bytes((self.channel | (_LINK_ESTABLISHED if self.established else 0), self.info)))

    @classmethod
    def decode(cls, value: bytes) -> ChannelStatus:
        """From the object's value."""
        if len(value) != 2:
            raise PeerError(NOT_UNDERSTOOD, f"a channel status of {len(value)} bytes")
        return cls(value[0] & 0x07, bool(value[0] & _LINK_ESTABLISHED), value[1])


# --- addresses and sizes -----------------------------------------------------------------------------------------------


def address_item(address: Address) -> Item:
    """Other address (8.58): 21 IPv4, 57 IPv6."""
    kind = 0x21 if address.version == 4 else 0x57
    return Item(Tag.OTHER_ADDRESS, bytes((kind,)) + address.packed)


def decode_address(value: bytes) -> Address:
    """The address in another address."""
    if len(value) == 5 and value[0] == 0x21:
        return ipaddress.IPv4Address(value[1:])
    if len(value) == 17 and value[0] == 0x57:
        return ipaddress.IPv6Address(value[1:])
    raise PeerError(NOT_UNDERSTOOD, "neither an IPv4 nor an IPv6 address")


def buffer_size_item(size: int) -> Item:
    """Buffer size (8.55), bytes."""
    return Item(Tag.BUFFER_SIZE, size.to_bytes(2, "big"))


def decode_buffer_size(value: bytes) -> int:
    """A buffer size, bytes."""
    if len(value) != 2:
        raise PeerError(NOT_UNDERSTOOD, f"a buffer size of {len(value)} bytes")
    return int.from_bytes(value, "big")


def data_length_item(length: int) -> Item:
    """Channel data length (8.54); 255 stands for that many and more."""
    return Item(Tag.CHANNEL_DATA_LENGTH, bytes((min(length, MUCH),)))


def decode_byte(value: bytes) -> int:
    """An object of one byte: channel data length, timer identifier, access technology."""
    if len(value) != 1:
        raise PeerError(NOT_UNDERSTOOD, f"{len(value)} bytes where one was expected")
    return value[0]


# --- where and what the terminal is ------------------------------------------------------------------------------------


class Location(NamedTuple):
    """Location information (8.19). ``plmn``: MCC and MNC, 5 or 6 digits; ``area``: LAC or TAC; ``cell``: 2 or 4 bytes."""

    plmn: str
    area: int = AREA_UNKNOWN
    cell: bytes = b"\xff\xff\xff\xff"

    def item(self) -> Item:
        """The data object; the PLMN as in 3GPP TS 24.008, 10.5.1.13."""
        digits = self.plmn[:3] + (self.plmn[5:] or "F") + self.plmn[3:5]
        if len(digits) != 6 or not self.plmn.isdecimal():
            raise LocalError(f"{self.plmn!r} is no MCC and MNC")
        pairs = bytes.fromhex(digits[1] + digits[0] + digits[3] + digits[2] + digits[5] + digits[4])
        return Item(Tag.LOCATION_INFORMATION, pairs + self.area.to_bytes(2, "big") + self.cell)

    @classmethod
    def decode(cls, value: bytes) -> Location:
        """From the object's value."""
        low = value[:3].hex().upper()
        if len(value) not in (7, 9):
            raise PeerError(NOT_UNDERSTOOD, f"a location of {len(value)} bytes")
        plmn = low[1] + low[0] + low[3] + low[5] + low[4] + low[2].replace("F", "")
        if not plmn.isdecimal():
            raise PeerError(NOT_UNDERSTOOD, "no MCC and MNC")
        return cls(plmn, int.from_bytes(value[3:5], "big"), value[5:])


def imei_item(imei: str) -> Item:
    """IMEI (8.20), 15 digits, as the mobile identity of 3GPP TS 24.008, 10.5.1.4."""
    if len(imei) != IMEI_DIGITS or not imei.isdecimal():
        raise LocalError(f"an IMEI has {IMEI_DIGITS} digits, not {imei!r}")
    digits = imei[0] + "A" + "".join(imei[at + 1] + imei[at] for at in range(1, IMEI_DIGITS, 2))
    return Item(Tag.IMEI, bytes.fromhex(digits))


def decode_imei(value: bytes) -> str:
    """The 15 digits of an IMEI."""
    digits = "".join(f"{byte:02X}"[::-1] for byte in value)
    if len(value) != 8 or digits[0] != "A" or not digits[1:].isdecimal():
        raise PeerError(NOT_UNDERSTOOD, "no IMEI")
    return digits[1:]


# --- times -------------------------------------------------------------------------------------------------------------


def duration_item(seconds: int) -> Item:
    """Duration (8.8) in seconds up to 255, beyond that in whole minutes."""
    unit, count = (0x01, seconds) if seconds <= 0xFF else (0x00, (seconds + 59) // 60)
    if not 1 <= count <= 0xFF:
        raise LocalError(f"a duration is 1 s to 255 min, not {seconds} s")
    return Item(Tag.DURATION, bytes((unit, count)))


def decode_duration(value: bytes) -> float:
    """A duration, seconds."""
    if len(value) != 2 or value[0] not in _UNIT_S or not value[1]:
        raise PeerError(NOT_UNDERSTOOD, "no duration")
    return round(value[1] * _UNIT_S[value[0]], 1)


def timer_value_item(seconds: int) -> Item:
    """Timer value (8.38): hours, minutes, seconds."""
    if not 0 <= seconds <= TIMER_MAX_S:
        raise LocalError(f"a timer runs 0 to {TIMER_MAX_S} s, not {seconds}")
    return Item(Tag.TIMER_VALUE, bytes(map(_swapped, (seconds // 3600, seconds // 60 % 60, seconds % 60))))


def decode_timer_value(value: bytes) -> int:
    """A timer value, seconds."""
    if len(value) != 3:
        raise PeerError(NOT_UNDERSTOOD, f"a timer value of {len(value)} bytes")
    hours, minutes, seconds = map(_unswapped, value)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise PeerError(NOT_UNDERSTOOD, "no time of a day")
    return hours * 3600 + minutes * 60 + seconds


def date_time_item(unix_s: int) -> Item:
    """Date-Time and Time zone (8.39; 3GPP TS 23.040, 9.2.3.11) in UTC."""
    try:
        at = _EPOCH + timedelta(seconds=unix_s)
    except OverflowError as error:
        raise LocalError(f"{unix_s} s since 1970 cannot be said") from error
    if at.year // 100 != _CENTURY:
        raise LocalError(f"the year {at.year} cannot be said")
    parts = (at.year % 100, at.month, at.day, at.hour, at.minute, at.second, 0)
    return Item(Tag.DATE_TIME, bytes(map(_swapped, parts)))


def decode_date_time(value: bytes) -> int:
    """Seconds since 1970, UTC. A time without a zone counts as UTC."""
    if len(value) != 7:
        raise PeerError(NOT_UNDERSTOOD, f"a date and time of {len(value)} bytes")
    year, month, day, hour, minute, second = map(_unswapped, value[:6])
    try:
        at = datetime(_CENTURY * 100 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise PeerError(NOT_UNDERSTOOD, str(error)) from error
    return (at - _EPOCH) // timedelta(seconds=1) - _zone_s(value[6])


def _zone_s(byte: int) -> int:
    if byte == _TIME_ZONE_UNKNOWN:
        return 0
    quarters = _unswapped(byte & ~_WEST)
    return -quarters * _QUARTER_S if byte & _WEST else quarters * _QUARTER_S


def _swapped(number: int) -> int:
    """Two decimal digits, the lower one first."""
    return number % 10 << 4 | number // 10


def _unswapped(byte: int) -> int:
    tens, ones = byte & 0x0F, byte >> 4
    if tens > 9 or ones > 9:
        raise PeerError(NOT_UNDERSTOOD, f"{byte:02X} are not two digits")
    return tens * 10 + ones
