"""What the endpoints tell their shells: plain values, in order. Shared vocabulary of ``client`` and ``server``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from simway_protocol.messages import Range, RejectedRange

Address: TypeAlias = tuple[str, int]


# --- server side -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SessionAttached:
    """First valid frame under the traffic keys: the session counts, and older ones of the device are superseded."""

    device: str
    session_id: bytes
    generation: int
    address: Address
    iccid: str
    boot_counter: int
    epoch: str
    last_counter: int
    key_version: int


@dataclass(slots=True)
class SessionEnded:
    """``reason``: superseded, idle, revoked or shutdown."""

    device: str
    session_id: bytes
    generation: int
    reason: str


class DataReceived(msgspec.Struct):
    """One DATA frame. ``records``: the SenML pack as CBOR gave it, not yet resolved; answer by ``ServerEndpoint.acknowledge``."""

    device: str
    session_id: bytes
    epoch: str
    first_seq: int
    records: list[dict[Any, Any]]
    dropped: list[Range]


@dataclass(slots=True)
class CommandProgress:
    """``event``: sent, received, result or closed. A result comes once, when all its parts are here.

    The device repeats result and closed until the shell, having logged them, calls ``ServerEndpoint.settle``.
    """

    device: str
    session_id: bytes
    generation: int
    iccid: str
    command_id: bytes
    event: str
    outcome: str = ""
    reason: str = ""
    counter: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Refused:
    """A datagram that was not taken, for counting; the answer, if the protocol owes one, is already in the output."""

    reason: str
    device: str = ""


ServerEvent: TypeAlias = SessionAttached | SessionEnded | DataReceived | CommandProgress | Refused


# --- client side -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Challenged:
    """The card is wanted: compute the session key for ``challenge`` and call ``ClientEndpoint.answer``."""

    challenge: bytes


@dataclass(slots=True)
class AttachedTo:
    """The server proved itself; ``server_time_us`` is its clock when it answered. ``generation`` grows per device."""

    session_id: bytes
    generation: int
    server_time_us: int


@dataclass(slots=True)
class AttachRefused:
    """The server refused for a reason under the handshake key (``proved``), or by a plain RESET that anybody can forge."""

    reason: str
    proved: bool
    retry_after_ms: int


@dataclass(slots=True)
class SessionLost:
    """The session is over on this side (RESET that fits, silence, or counters used up): attach anew."""

    reason: str


@dataclass(slots=True)
class Acknowledged:
    """Outcomes for ranges of an epoch. ``later_ms``: for the ranges in ``later``."""

    epoch: str
    logged: list[Range] = field(default_factory=list)
    rejected: list[RejectedRange] = field(default_factory=list)
    later: list[Range] = field(default_factory=list)
    later_ms: int = 0


@dataclass(slots=True)
class CommandArrived:
    """COMMAND, CANCEL or CONFIRM (see ``commands.Body.type``); the MAC is still to be verified by the key's holder."""

    body: bytes
    mac: bytes


@dataclass(slots=True)
class Settled:
    """The server has RESULT (``what`` = "result") or CLOSED ("closed") of this command in its log."""

    command_id: bytes
    what: str


@dataclass(slots=True)
class BusyUntil:
    """The server asked for patience; nothing is sent before this long has passed."""

    retry_after_ms: int


ClientEvent: TypeAlias = (
    Challenged | AttachedTo | AttachRefused | SessionLost | Acknowledged | CommandArrived | Settled | BusyUntil | Refused
)
