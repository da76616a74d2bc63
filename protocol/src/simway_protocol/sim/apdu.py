"""Command APDUs (ISO/IEC 7816-4, 5.1; ETSI TS 102 221, 10.1): all seven cases, short and extended, built and parsed.

``le`` counts bytes: None asks for no data, 256 is the short 00, 65536 the extended 0000. Response APDUs are ``(data, sw)``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from simway_protocol.errors import LocalError, PeerError

LE_ANY = 256
SHORT_DATA_MAX_BYTES = 255
EXTENDED_DATA_MAX_BYTES = 65_535
EXTENDED_LE_MAX = 65_536
_HEADER_BYTES = 4
_BASIC_CHANNELS = 4
CHANNELS = 20
"""Logical channels that a class byte can name: 0 to 19."""


class Ins(IntEnum):
    """Instructions that Simway sends or answers. Those of the Simway applet are in ``applet``."""

    TERMINAL_PROFILE = 0x10
    FETCH = 0x12
    TERMINAL_RESPONSE = 0x14
    MANAGE_CHANNEL = 0x70
    SELECT = 0xA4
    TERMINAL_CAPABILITY = 0xAA
    READ_BINARY = 0xB0
    READ_RECORD = 0xB2
    GET_RESPONSE = 0xC0
    ENVELOPE = 0xC2
    GET_DATA = 0xCA
    STORE_DATA = 0xE2
    UPDATE_BINARY = 0xD6
    UPDATE_RECORD = 0xDC
    STATUS = 0xF2


class Command(NamedTuple):
    """A command APDU. ``data`` empty means none; ``le`` None means no answer data is asked for."""

    cla: int
    ins: int
    p1: int = 0
    p2: int = 0
    data: bytes = b""
    le: int | None = None

    def encode(self) -> bytes:
        """Short where it fits, extended where it must be."""
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if len(self.data) > EXTENDED_DATA_MAX_BYTES or (self.le is not None and not 1 <= self.le <= EXTENDED_LE_MAX):
            raise LocalError("an APDU carries at most 65,535 bytes and asks for 1 to 65,536")
        if len(self.data) > SHORT_DATA_MAX_BYTES or (self.le or 0) > LE_ANY:
            return header + self._extended()
        return header + self._short()

    def _short(self) -> bytes:
        lc = bytes((len(self.data),)) + self.data if self.data else b""
        return lc + (b"" if self.le is None else bytes((self.le & 0xFF,)))

    def _extended(self) -> bytes:
        lc = len(self.data).to_bytes(2, "big") + self.data if self.data else b""
        le = b"" if self.le is None else (self.le & 0xFFFF).to_bytes(2, "big")
        return b"\x00" + lc + le

    @classmethod
    def decode(cls, data: bytes) -> Command:
        """Parses a command APDU; ``PeerError`` (``bad_apdu``) when its length says something else than its bytes."""
        if len(data) < _HEADER_BYTES:
            raise PeerError("bad_apdu", f"{len(data)} bytes, a header has 4")
        cla, ins, p1, p2 = data[:_HEADER_BYTES]
        body = data[_HEADER_BYTES:]
        if len(body) > 1 and body[0] == 0 and len(body) != 2:
            content, le = _decode_extended(body[1:])
        else:
            content, le = _decode_short(body)
        return cls(cla, ins, p1, p2, content, le)

    @property
    def channel(self) -> int:
        """The logical channel in the class byte."""
        return channel_of(self.cla)

    @property
    def proprietary(self) -> bool:
        """True for classes 8x and Cx to Fx."""
        return bool(self.cla & 0x80)


def _decode_short(body: bytes) -> tuple[bytes, int | None]:
    if not body:
        return b"", None
    if len(body) == 1:
        return b"", body[0] or LE_ANY
    lc, rest = body[0], body[1:]
    if lc and len(rest) == lc:
        return rest, None
    if lc and len(rest) == lc + 1:
        return rest[:lc], rest[lc] or LE_ANY
    raise PeerError("bad_apdu", f"Lc is {lc}, {len(rest)} bytes follow")


def _decode_extended(body: bytes) -> tuple[bytes, int | None]:
    if len(body) < 2:
        raise PeerError("bad_apdu", "the extended length is cut")
    number, rest = int.from_bytes(body[:2], "big"), body[2:]
    if not rest:
        return b"", number or EXTENDED_LE_MAX
    if number and len(rest) == number:
        return rest, None
    if number and len(rest) == number + 2:
        return rest[:number], int.from_bytes(rest[number:], "big") or EXTENDED_LE_MAX
    raise PeerError("bad_apdu", f"extended Lc is {number}, {len(rest)} bytes follow")


def channel_of(cla: int) -> int:
    """The logical channel that a class byte names (TS 102 221, 10.1.1).

    0 to 3 stand in bits 1-2; 4 to 19 in bits 1-4 where bit 7 is set.
    """
    return _BASIC_CHANNELS + (cla & 0x0F) if cla & 0x40 else cla & 0x03


def class_for(channel: int, *, proprietary: bool = False) -> int:
    """The class byte of a channel: 00 to 03 or 40 to 4F; with ``proprietary`` 80 to 83 or C0 to CF."""
    if not 0 <= channel < CHANNELS:
        raise LocalError(f"there is no logical channel {channel}")
    cla = channel if channel < _BASIC_CHANNELS else 0x40 | (channel - _BASIC_CHANNELS)
    return cla | (0x80 if proprietary else 0)


def open_channel() -> Command:
    """MANAGE CHANNEL open; the card chooses and answers with the number (TS 102 221, 11.1.17)."""
    return Command(0x00, Ins.MANAGE_CHANNEL, 0x00, 0x00, le=1)


def close_channel(channel: int) -> Command:
    """MANAGE CHANNEL close."""
    return Command(0x00, Ins.MANAGE_CHANNEL, 0x80, channel)


def select_application(aid: bytes, channel: int = 0) -> Command:
    """SELECT by AID, first occurrence, FCI or FCP returned (TS 102 221, 11.1.1)."""
    return Command(class_for(channel), Ins.SELECT, 0x04, 0x00, aid, LE_ANY)


def select_file(file_id: int, channel: int = 0) -> Command:
    """SELECT by file id, FCP returned (P2 04)."""
    return Command(class_for(channel), Ins.SELECT, 0x00, 0x04, file_id.to_bytes(2, "big"), LE_ANY)


def read_binary(length: int, offset: int = 0, channel: int = 0) -> Command:
    """READ BINARY of the selected transparent EF. ``length``: 1 to 256 bytes."""
    return Command(class_for(channel), Ins.READ_BINARY, offset >> 8 & 0x7F, offset & 0xFF, le=length)


def read_record(number: int, length: int = LE_ANY, channel: int = 0) -> Command:
    """READ RECORD, absolute mode. ``number`` from 1."""
    return Command(class_for(channel), Ins.READ_RECORD, number, 0x04, le=length)


def get_response(length: int, cla: int = 0x00) -> Command:
    """GET RESPONSE, in the class of the command whose answer waits."""
    return Command(cla, Ins.GET_RESPONSE, le=length)


def fetch(length: int) -> Command:
    """FETCH of a proactive command of ``length`` bytes (TS 102 221, 11.2.3)."""
    return Command(0x80, Ins.FETCH, le=length)


def terminal_response(data: bytes) -> Command:
    """TERMINAL RESPONSE (TS 102 221, 11.2.4)."""
    return Command(0x80, Ins.TERMINAL_RESPONSE, data=data)


def terminal_capability(data: bytes = bytes.fromhex("A9088100820101830107")) -> Command:
    """TERMINAL CAPABILITY; by default that of an LPA in the device (TS 102 221, 11.1.19). Any answer will do."""
    return Command(0x80, Ins.TERMINAL_CAPABILITY, data=data)
