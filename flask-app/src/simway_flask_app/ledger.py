"""The command ledger: where a command stands, and what moves it (design, section 8). Pure.

One table for a carrier switch, one for what only has to be answered (ping, audit):

* EXPIRED is set by our clock, and only from QUEUED. After SENT it is the device's answer that counts, or UNKNOWN.
* A switch goes on to CONFIRMING only by PROVED: a RESULT of a session that attached after the switch, naming the target ICCID.
* VERIFIED is made by CLOSED alone: the device says so once it has closed its journal, which it does on CONFIRM alone.
* ROLLED_BACK is legal from every open state: device and server always end up agreeing.
* UNKNOWN is open: a late answer or an audit resolves it. It does not hold the device's turn.
* EXPIRED and CANCELLED, set here while a gateway was sending already, yield to what the device then says.
* VERIFIED, ROLLED_BACK and FAILED are final, and so is EXECUTED of a ping or an audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class State(StrEnum):
    """Where a command stands."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    RECEIVED = "RECEIVED"
    EXECUTED = "EXECUTED"
    CONFIRMING = "CONFIRMING"
    VERIFIED = "VERIFIED"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"


class Event(StrEnum):
    """What can happen to it."""

    SENT = "sent"
    """A gateway transmitted it for the first time."""
    RECEIVED = "received"
    """RECEIPT: the device took it on."""
    EXECUTED = "executed"
    """RESULT: done, but (for a switch) not from a session that proves it."""
    PROVED = "proved"
    """RESULT of a switch: done, from a session attached after it with the target ICCID."""
    FAILED = "failed"
    """RESULT: begun, and failed."""
    REFUSED = "refused"
    """RESULT: not begun (MAC, expiry, preflight). Once the device took it on, such an answer is to a CANCEL or CONFIRM."""
    BAD_COUNTER = "bad_counter"
    """RESULT: refused for its counter; it is to be sealed anew under the same id."""
    ROLLED_BACK = "rolled_back"
    """RESULT or CLOSED: the device went back to the previous profile."""
    CANCELLED = "cancelled"
    """RESULT: given up, as asked."""
    CLOSED = "closed"
    """CLOSED: the journal is closed, the switch stands."""
    EXPIRE = "expire"
    """Our clock: it was not sent in time."""
    LAPSE = "lapse"
    """Our clock: the last moment for an answer is past."""
    CANCEL = "cancel"
    """A person wants it cancelled."""


_S, _E = State, Event
Table = Mapping[tuple[State, Event], State]

_ANSWERS = {
    _E.FAILED: _S.FAILED, _E.ROLLED_BACK: _S.ROLLED_BACK, _E.CLOSED: _S.VERIFIED, _E.PROVED: _S.CONFIRMING,
}  # fmt: skip
_NOT_BEGUN = {_E.REFUSED: _S.FAILED}
_PLAIN_ANSWERS = {_E.EXECUTED: _S.EXECUTED, _E.FAILED: _S.FAILED, _E.CANCELLED: _S.CANCELLED}


def _rows(state: State, moves: Mapping[Event, State]) -> dict[tuple[State, Event], State]:
    return {(state, event): after for event, after in moves.items()}


SWITCH: Table = MappingProxyType(
    _rows(_S.QUEUED, _ANSWERS | _NOT_BEGUN | {
        _E.SENT: _S.SENT, _E.RECEIVED: _S.RECEIVED, _E.EXECUTED: _S.EXECUTED, _E.CANCELLED: _S.CANCELLED,
        _E.BAD_COUNTER: _S.QUEUED, _E.EXPIRE: _S.EXPIRED, _E.CANCEL: _S.CANCELLED,
    })
    | _rows(_S.SENT, _ANSWERS | _NOT_BEGUN | {
        _E.RECEIVED: _S.RECEIVED, _E.EXECUTED: _S.EXECUTED, _E.CANCELLED: _S.CANCELLED, _E.BAD_COUNTER: _S.QUEUED,
        _E.LAPSE: _S.UNKNOWN, _E.CANCEL: _S.SENT,
    })
    | _rows(_S.RECEIVED, _ANSWERS | {
        _E.EXECUTED: _S.EXECUTED, _E.CANCELLED: _S.CANCELLED, _E.LAPSE: _S.UNKNOWN, _E.CANCEL: _S.RECEIVED,
    })
    | _rows(_S.EXECUTED, _ANSWERS | {_E.LAPSE: _S.UNKNOWN})
    | _rows(_S.CONFIRMING, {
        _E.FAILED: _S.FAILED, _E.ROLLED_BACK: _S.ROLLED_BACK, _E.CLOSED: _S.VERIFIED, _E.LAPSE: _S.UNKNOWN,
    })
    | _rows(_S.UNKNOWN, _ANSWERS | _NOT_BEGUN | {_E.EXECUTED: _S.EXECUTED, _E.CANCELLED: _S.CANCELLED})
    | _rows(_S.EXPIRED, _ANSWERS | _NOT_BEGUN | {
        _E.SENT: _S.SENT, _E.RECEIVED: _S.RECEIVED, _E.EXECUTED: _S.EXECUTED, _E.CANCELLED: _S.CANCELLED,
    })
    | _rows(_S.CANCELLED, _ANSWERS | {_E.SENT: _S.SENT, _E.RECEIVED: _S.RECEIVED, _E.EXECUTED: _S.EXECUTED})
)  # fmt: skip
"""Of a carrier switch. A pair that is not here moves nothing."""

PLAIN: Table = MappingProxyType(
    _rows(_S.QUEUED, _PLAIN_ANSWERS | _NOT_BEGUN | {
        _E.SENT: _S.SENT, _E.RECEIVED: _S.RECEIVED, _E.BAD_COUNTER: _S.QUEUED, _E.EXPIRE: _S.EXPIRED, _E.CANCEL: _S.CANCELLED,
    })
    | _rows(_S.SENT, _PLAIN_ANSWERS | _NOT_BEGUN | {
        _E.RECEIVED: _S.RECEIVED, _E.BAD_COUNTER: _S.QUEUED, _E.LAPSE: _S.UNKNOWN, _E.CANCEL: _S.SENT,
    })
    | _rows(_S.RECEIVED, _PLAIN_ANSWERS | {_E.LAPSE: _S.UNKNOWN, _E.CANCEL: _S.RECEIVED})
    | _rows(_S.UNKNOWN, _PLAIN_ANSWERS | _NOT_BEGUN)
    | _rows(_S.EXPIRED, _PLAIN_ANSWERS | _NOT_BEGUN | {_E.SENT: _S.SENT, _E.RECEIVED: _S.RECEIVED})
    | _rows(_S.CANCELLED, {
        _E.SENT: _S.SENT, _E.RECEIVED: _S.RECEIVED, _E.EXECUTED: _S.EXECUTED, _E.FAILED: _S.FAILED,
    })
)  # fmt: skip
"""Of a ping or an audit."""

_TURN = frozenset({_S.SENT, _S.RECEIVED, _S.EXECUTED, _S.CONFIRMING})
FINAL = frozenset({_S.VERIFIED, _S.ROLLED_BACK, _S.FAILED})
"""Nothing moves these any more."""
LAPSING = (_S.SENT, _S.RECEIVED, _S.EXECUTED, _S.CONFIRMING)
"""States that wait for the device."""


def table_of(kind: str) -> Table:
    """The table of a kind of command."""
    return SWITCH if kind == "switch" else PLAIN


def move(kind: str, state: State, event: Event) -> State | None:
    """Where ``event`` leads from ``state``; None when it means nothing there."""
    return table_of(kind).get((state, event))


def holds_turn(kind: str, state: State, *, sealed: bool) -> bool:
    """True while the device's next command must wait for this one."""
    if state is State.QUEUED:
        return sealed
    return state in _TURN and not (kind != "switch" and state is State.EXECUTED)


def may_cancel(state: State) -> bool:
    """True before the command is executed: the device may still be asked."""
    return state in (State.QUEUED, State.SENT, State.RECEIVED)


def event_of_result(kind: str, outcome: str, reason: str, *, proves: bool) -> Event | None:
    """What a RESULT means; None for one that answers a CANCEL that came too late, or that no release here knows.

    ``proves``: it came from a session attached after the switch with the target ICCID.
    """
    if outcome == "refused":
        return {"counter": Event.BAD_COUNTER, "too_late": None}.get(reason, Event.REFUSED)
    if outcome == "executed":
        return Event.PROVED if kind == "switch" and proves else Event.EXECUTED
    return _RESULTS.get(outcome)


_RESULTS = {"failed": Event.FAILED, "cancelled": Event.CANCELLED, "rolled_back": Event.ROLLED_BACK}
_CLOSINGS = {"closed": Event.CLOSED, "rolled_back": Event.ROLLED_BACK, "failed": Event.FAILED}


def event_of_closed(outcome: str) -> Event | None:
    """What a CLOSED means."""
    return _CLOSINGS.get(outcome)


def event_of_audit(journal: Mapping[str, Any], kind: str, command_id: str, *, reaches_back: bool) -> Event | None:
    """What an audit tells of a command whose end is UNKNOWN; None when it leaves that open.

    ``journal`` is the device's (docs/protocol.md): ``open_switch`` and ``commands``, the newest first. ``reaches_back``: it
    would show the command, had the device ever taken it on; one that is not there then never arrived.
    """
    if (journal.get("open_switch") or {}).get("command_id") == command_id:
        return None
    for entry in journal.get("commands") or ():
        if entry.get("command_id") == command_id:
            if entry.get("closed"):
                return event_of_closed(entry["closed"])
            unproved = entry.get("outcome") == "executed" and kind == "switch"
            return None if unproved else event_of_result(kind, entry.get("outcome", ""), entry.get("reason", ""), proves=False)
    return Event.REFUSED if reaches_back else None
