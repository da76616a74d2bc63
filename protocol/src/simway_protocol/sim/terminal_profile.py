"""TERMINAL PROFILE (ETSI TS 102 223, 5.2): what a terminal tells a card that it can do, a bit each."""

from __future__ import annotations

from enum import Enum

_CHANNELS_BYTE = 13
_CHANNELS_SHIFT = 5


class Facility(Enum):
    """A facility's byte and bit, both from 1 as the standard counts them."""

    PROFILE_DOWNLOAD = (1, 1)
    TIMER_EXPIRATION = (1, 6)
    COMMAND_RESULT = (2, 1)
    MORE_TIME = (3, 4)
    POLL_INTERVAL = (3, 6)
    POLLING_OFF = (3, 7)
    REFRESH = (3, 8)
    LOCATION_AND_IMEI = (4, 7)
    SET_UP_EVENT_LIST = (5, 1)
    EVENT_DATA_AVAILABLE = (6, 3)
    EVENT_CHANNEL_STATUS = (6, 4)
    TIMER_START_STOP = (8, 1)
    TIMER_GET = (8, 2)
    DATE_TIME = (8, 3)
    ACCESS_TECHNOLOGY = (9, 8)
    OPEN_CHANNEL = (12, 1)
    CLOSE_CHANNEL = (12, 2)
    RECEIVE_DATA = (12, 3)
    SEND_DATA = (12, 4)
    GET_CHANNEL_STATUS = (12, 5)
    BEARER_GPRS = (13, 2)
    NO_DISPLAY = (14, 6)
    NO_KEYPAD = (14, 7)
    UDP_CLIENT_REMOTE = (17, 2)
    E_UTRAN = (17, 7)


BIP_UDP = (
    Facility.OPEN_CHANNEL, Facility.CLOSE_CHANNEL, Facility.RECEIVE_DATA, Facility.SEND_DATA, Facility.UDP_CLIENT_REMOTE,
)  # fmt: skip
"""What a card needs that is to send datagrams and have answers."""


def encode(facilities: tuple[Facility, ...], channels: int) -> bytes:
    """The data of TERMINAL PROFILE; ``channels`` 0 to 7: how many may be open at once."""
    profile = bytearray(max(_CHANNELS_BYTE, *(facility.value[0] for facility in facilities)))
    for facility in facilities:
        byte, bit = facility.value
        profile[byte - 1] |= 1 << bit - 1
    profile[_CHANNELS_BYTE - 1] |= channels << _CHANNELS_SHIFT
    return bytes(profile)


def announces(profile: bytes, *facilities: Facility) -> bool:
    """True when the profile has all of these; what it is too short for it has not."""
    return all(len(profile) >= byte and profile[byte - 1] & 1 << bit - 1 for byte, bit in (item.value for item in facilities))


def channels_of(profile: bytes) -> int:
    """How many BIP channels the terminal can have open."""
    return profile[_CHANNELS_BYTE - 1] >> _CHANNELS_SHIFT if len(profile) >= _CHANNELS_BYTE else 0
