"""The Simway applet: a card that holds the device key K and never gives it out (design, section 4).

Card level, AID ``F053494D57415901`` (F0 "SIMWAY" 01), on any logical channel; class 80 with the channel. Four instructions:

* 10 AUTHENTICATE: 32-byte challenge in, 64 bytes out: response, session key. 6985 while the card is blank.
* 20 VERIFY COMMAND: mac(32) || body in blocks as of STORE DATA (P1 11 more, 91 last; P2 counts). 9000, or 6982 for a wrong MAC.
* 30 PERSONALISE: K(32) || key version(4, big-endian) || transport code, once; then 6985 for ever. Only a card that was installed
  with a transport code asks for one: 63Cx for a wrong one, with x tries left, and 6983 after the last.
* 40 STATUS: personalised(1: 00 or 01) || key version(4).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.identity import KEY_BYTES, MAC_BYTES
from simway_protocol.sim import store_data
from simway_protocol.sim.apdu import LE_ANY, Command, class_for
from simway_protocol.udp.keys import CardResponse

AID = bytes.fromhex("F053494D57415901")
CHALLENGE_BYTES = 32
RESPONSE_BYTES = 32
SESSION_KEY_BYTES = 32
TRANSPORT_CODE_MAX_BYTES = 32
_VERSION_BYTES = 4


class Ins(IntEnum):
    """The applet's instructions."""

    AUTHENTICATE = 0x10
    VERIFY_COMMAND = 0x20
    PERSONALISE = 0x30
    STATUS = 0x40


class AppletStatus(NamedTuple):
    """What STATUS gives; ``key_version`` is 0 on a blank card."""

    personalised: bool
    key_version: int


def authenticate(challenge: bytes, channel: int = 0) -> Command:
    """AUTHENTICATE for a 32-byte challenge."""
    if len(challenge) != CHALLENGE_BYTES:
        raise LocalError(f"a challenge has {CHALLENGE_BYTES} bytes")
    return Command(_class(channel), Ins.AUTHENTICATE, data=challenge, le=LE_ANY)


def encode_answer(answer: CardResponse) -> bytes:
    """The data that AUTHENTICATE gives."""
    return answer.response + answer.session_key


def decode_answer(data: bytes) -> CardResponse:
    """The two halves of AUTHENTICATE's data. The session key is secret: it goes into the key schedule and nowhere else."""
    if len(data) != RESPONSE_BYTES + SESSION_KEY_BYTES:
        raise PeerError("bad_applet", f"AUTHENTICATE gave {len(data)} bytes, 64 expected")
    return CardResponse(data[:RESPONSE_BYTES], data[RESPONSE_BYTES:])


def verify_command(body: bytes, mac: bytes, channel: int = 0) -> list[Command]:
    """VERIFY COMMAND for a canonical body (``commands``) and its MAC, in as many blocks as it takes."""
    if len(mac) != MAC_BYTES:
        raise LocalError(f"a MAC has {MAC_BYTES} bytes")
    return store_data.split(mac + body, channel, ins=Ins.VERIFY_COMMAND)


def decode_verify(data: bytes) -> tuple[bytes, bytes]:
    """(body, mac) of the assembled blocks."""
    if len(data) <= MAC_BYTES:
        raise PeerError("bad_applet", "VERIFY COMMAND without a body")
    return data[MAC_BYTES:], data[:MAC_BYTES]


def personalise(device_key: bytes, key_version: int, channel: int = 0, transport_code: bytes = b"") -> Command:
    """PERSONALISE with K and its version. Send it over a way that nobody else reads."""
    if len(transport_code) > TRANSPORT_CODE_MAX_BYTES:
        raise LocalError(f"a transport code has at most {TRANSPORT_CODE_MAX_BYTES} bytes")
    if len(device_key) != KEY_BYTES or not 0 < key_version < 1 << 8 * _VERSION_BYTES:
        raise LocalError(f"a device key has {KEY_BYTES} bytes, its version is 1 to 2^32-1")
    data = device_key + key_version.to_bytes(_VERSION_BYTES, "big") + transport_code
    return Command(_class(channel), Ins.PERSONALISE, data=data)


def decode_personalise(data: bytes) -> tuple[bytes, int]:
    """(K, key version)."""
    if len(data) != KEY_BYTES + _VERSION_BYTES or not any(data[KEY_BYTES:]):
        raise PeerError("bad_applet", "PERSONALISE takes a key of 32 bytes and a version above 0")
    return data[:KEY_BYTES], int.from_bytes(data[KEY_BYTES:], "big")


def status(channel: int = 0) -> Command:
    """STATUS."""
    return Command(_class(channel), Ins.STATUS, le=1 + _VERSION_BYTES)


def encode_status(value: AppletStatus) -> bytes:
    """The data that STATUS gives."""
    return bytes((value.personalised,)) + value.key_version.to_bytes(_VERSION_BYTES, "big")


def decode_status(data: bytes) -> AppletStatus:
    """The data of STATUS in words."""
    if len(data) != 1 + _VERSION_BYTES or data[0] > 1:
        raise PeerError("bad_applet", "STATUS gave something else than a flag and a version")
    return AppletStatus(data[0] == 1, int.from_bytes(data[1:], "big"))


def _class(channel: int) -> int:
    return class_for(channel, proprietary=True)
