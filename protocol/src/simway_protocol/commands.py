"""Commands to a device: the canonical body, its MAC, and the words for what became of it (design, section 8).

A body is a CBOR map with integer keys in deterministic encoding (RFC 8949, 4.2.1). It is made once, by the dispatcher, and
travels as those very bytes: who verifies the MAC needs no CBOR. MAC = HMAC-SHA-256(HKDF(K, "command"), "simway command" 00 body).
"""

from __future__ import annotations

import hmac
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import cbor2

from simway_protocol.errors import PeerError
from simway_protocol.identity import derive_command_key, hmac_sha256

DEADLINE_DEFAULT_S = 600
DEADLINE_MIN_S = 30
SWITCH_FLOOR_MAX_S = 180
"""A device whose modem needs longer than ``deadline_s`` to be on the network again gives itself up to this long."""
COMMAND_ID_BYTES = 16
FLAG_FORCE = 0x01
"""Of a switch: a person with a reason let it through although the target is a test profile, or no other way back exists."""
_MAC_LABEL = b"simway command\x00"


class BodyType(IntEnum):
    """What a body asks for."""

    COMMAND = 1
    CANCEL = 2
    CONFIRM = 3


class Kind(IntEnum):
    """What a command does."""

    SWITCH = 1
    PING = 2
    AUDIT = 3


class ResultOutcome(StrEnum):
    """The outcome in RESULT and CLOSED."""

    EXECUTED = "executed"
    FAILED = "failed"
    REFUSED = "refused"
    """Not begun: bad MAC, counter, expiry or preflight."""
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"
    CLOSED = "closed"
    """Only in CLOSED: the journal is closed, the switch stands."""


class Body(NamedTuple):
    """A decoded body. ``command_id``: 16 bytes. ``expires_us``: by the server's clock. ``deadline_s``: for CONFIRM, switch only.

    ``apdus``: the ES10c requests (``BF31...``) that a switch is to store on the card, in order; the device wraps them in
    STORE DATA on the channel that it has. ``flags``: bits (``FLAG_FORCE``); those that no release here knows mean nothing.
    """

    type: BodyType
    device: str
    command_id: bytes
    counter: int
    key_version: int
    expires_us: int
    kind: Kind
    target_iccid: str = ""
    apdus: tuple[bytes, ...] = ()
    flags: int = 0
    deadline_s: int = DEADLINE_DEFAULT_S

    @property
    def forced(self) -> bool:
        """True when ``FLAG_FORCE`` is set."""
        return bool(self.flags & FLAG_FORCE)


def encode_body(body: Body) -> bytes:
    """The canonical CBOR bytes of a body."""
    items: dict[int, Any] = {
        1: int(body.type), 2: body.device, 3: body.command_id, 4: body.counter, 5: body.key_version, 6: body.expires_us,
        7: int(body.kind), 8: body.target_iccid, 9: list(body.apdus), 10: body.flags, 11: body.deadline_s,
    }  # fmt: skip
    return cbor2.dumps(items, canonical=True)


def decode_body(data: bytes) -> Body:
    """The body in ``data``; ``PeerError`` (``bad_command``) when it is not one."""
    try:
        items = cbor2.loads(data)
        body = Body(
            BodyType(items[1]), items[2], items[3], items[4], items[5], items[6], Kind(items[7]), items[8],
            tuple(items[9]), items[10], items[11],
        )  # fmt: skip
    except Exception as error:  # cbor2 raises many kinds; each means the same here
        raise PeerError("bad_command", str(error)) from error
    shapes = (str, bytes, int, int, int, str, int, int)
    fields = (body.device, body.command_id, body.counter, body.key_version, body.expires_us, body.target_iccid, body.flags,
              body.deadline_s)  # fmt: skip
    if not all(type(field) is shape for field, shape in zip(fields, shapes, strict=True)):
        raise PeerError("bad_command", "a field has the wrong type")
    if len(body.command_id) != COMMAND_ID_BYTES or not all(type(apdu) is bytes for apdu in body.apdus):
        raise PeerError("bad_command", "command id or APDU has the wrong shape")
    return body


def command_mac(device_key: bytes, body: bytes) -> bytes:
    """The MAC of a canonical body, 32 bytes."""
    return hmac_sha256(derive_command_key(device_key), _MAC_LABEL + body)


def verify_command(device_key: bytes, body: bytes, mac: bytes) -> bool:
    """Constant-time check of a MAC."""
    return hmac.compare_digest(command_mac(device_key, body), mac)
