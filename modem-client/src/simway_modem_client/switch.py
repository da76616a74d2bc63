"""The carrier switch as a pure workflow: a confirmed commit (design, section 8).

The device journals its intent before the APDU, executes, looks at the card and never trusts 9000, attaches with the new ICCID,
reports, and waits for CONFIRM. Without it by the deadline it goes back by itself, and has gone back only when it is attached
over a way back: where the previous carrier died meanwhile, the fallback has its turn. The shell (``switcher``) writes the new
phase to the journal *before* it carries out the actions; each action can be repeated, so a power cut anywhere resolves at boot
by ``BOOTED`` followed by what the card shows then.

| phase | what is known | what can end it |
|---|---|---|
| ``intent`` | the enable may or may not have reached the card | looking at the card |
| ``switched`` | the card showed the target | attaching by it; the deadline |
| ``reported`` | the server was told over the new way | CONFIRM; the deadline |
| ``returning`` | going back, to the previous profile or the fallback | the card showing it |
| ``returned`` | the card showed the way back | attaching by it; a deadline of its own, then the next way back has its turn |
| ``failed``, ``rolled_back``, ``closed`` | over: the journal is closed | |

A radio without coverage, or denied, ends nothing early: networks change their mind within minutes, and the deadline is what the
operator chose to wait. What may begin, and which profile is the way back, is said in ``preflight``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from simway_protocol.sim.bearer import Registration, RegistrationState

BOOTS_MAX = 3
"""The deadline starts anew at boot, at most this often; the next boot goes back at once."""
RETURN_RETRY_FIRST_S = 2.0
RETURN_RETRY_MAX_S = 60.0
RETURN_ATTEMPTS_AT_ONCE = 8
"""While no profile is enabled, so many tries follow each other without a wait."""
RETURN_ATTEMPTS_MAX = 12
"""So often a readable card may refuse every way back before a device that is reachable where it is says so and stays there."""
RETURN_RETRY_SLOW_S = 600.0
"""Beyond that, one that is not reachable goes on trying at this pace: it has nothing else to hope for."""
TURNS_QUICK = 3
"""So many changes from one way back to the next follow at the switch's own deadline."""
TURN_SLOW_S = 6 * 3600.0
"""Beyond that the device stays on the previous profile for so long each time: a platform that is out must not wear out cards."""


class Phase(StrEnum):
    """Where an open switch stands; the last three are final."""

    INTENT = "intent"
    SWITCHED = "switched"
    REPORTED = "reported"
    RETURNING = "returning"
    RETURNED = "returned"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    CLOSED = "closed"


FINAL = frozenset({Phase.FAILED, Phase.ROLLED_BACK, Phase.CLOSED})


class Event(StrEnum):
    """What can happen to an open switch."""

    CARD_ON_TARGET = "card_on_target"
    CARD_ON_WAY_BACK = "card_on_way_back"
    """The card shows the previous profile, or, when that could not be had, the fallback."""
    CARD_ELSEWHERE = "card_elsewhere"
    """The card shows a third profile."""
    CARD_EMPTY = "card_empty"
    """No profile is enabled at all: the device is cut off until one is."""
    CARD_STALE = "card_stale"
    """The files are not those of the enabled profile, resets or not: the next power-on may change the carrier."""
    CARD_UNREADABLE = "card_unreadable"
    ATTACHED = "attached"
    """Attached with the target's ICCID."""
    ATTACHED_BACK = "attached_back"
    """Attached with the ICCID of the way back that the card shows."""
    CONFIRMED = "confirmed"
    DEADLINE = "deadline"
    BOOTED = "booted"
    BOOTED_TOO_OFTEN = "booted_too_often"
    NO_WAY_BACK = "no_way_back"
    """Attached where the card stands, after it refused every way back ``RETURN_ATTEMPTS_MAX`` times."""


class Action(StrEnum):
    """What the shell does next, in order."""

    LOOK_AT_CARD = "look_at_card"
    LOOK_LATER = "look_later"
    ENABLE_WAY_BACK = "enable_way_back"
    ENABLE_WAY_BACK_LATER = "enable_way_back_later"
    TAKE_NEXT_WAY_BACK = "take_next_way_back"
    """Another way back has its turn; ``ENABLE_WAY_BACK`` follows."""
    RESTART_DEADLINE = "restart_deadline"
    REATTACH = "reattach"
    REPORT_EXECUTED = "report_executed"
    REPORT_FAILED = "report_failed"
    REPORT_ROLLED_BACK = "report_rolled_back"
    REPORT_STAYED = "report_stayed"
    REPORT_CLOSED = "report_closed"


class Step(NamedTuple):
    """The next phase, and what to do once it is in the journal."""

    phase: Phase
    actions: tuple[Action, ...] = ()


_P, _E, _A = Phase, Event, Action
_BACK = Step(_P.RETURNING, (_A.ENABLE_WAY_BACK,))
_RETURNED = Step(_P.RETURNED, (_A.RESTART_DEADLINE, _A.REATTACH))
_NEXT = Step(_P.RETURNING, (_A.TAKE_NEXT_WAY_BACK, _A.ENABLE_WAY_BACK))

TABLE: dict[tuple[Phase, Event], Step] = {
    (_P.INTENT, _E.CARD_ON_TARGET): Step(_P.SWITCHED, (_A.REATTACH,)),
    (_P.INTENT, _E.CARD_ON_WAY_BACK): Step(_P.FAILED, (_A.REPORT_FAILED,)),
    (_P.INTENT, _E.CARD_ELSEWHERE): _BACK,
    (_P.INTENT, _E.CARD_EMPTY): _BACK,
    (_P.INTENT, _E.CARD_STALE): _BACK,
    (_P.INTENT, _E.CARD_UNREADABLE): Step(_P.INTENT, (_A.LOOK_LATER,)),
    (_P.INTENT, _E.DEADLINE): _BACK,
    (_P.INTENT, _E.BOOTED): Step(_P.INTENT, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.INTENT, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.SWITCHED, _E.CARD_ON_TARGET): Step(_P.SWITCHED, (_A.REATTACH,)),
    (_P.SWITCHED, _E.CARD_ON_WAY_BACK): _RETURNED,
    (_P.SWITCHED, _E.CARD_ELSEWHERE): _BACK,
    (_P.SWITCHED, _E.CARD_EMPTY): _BACK,
    (_P.SWITCHED, _E.CARD_STALE): _BACK,
    (_P.SWITCHED, _E.CARD_UNREADABLE): Step(_P.SWITCHED, (_A.LOOK_LATER,)),
    (_P.SWITCHED, _E.ATTACHED): Step(_P.REPORTED, (_A.REPORT_EXECUTED,)),
    (_P.SWITCHED, _E.DEADLINE): _BACK,
    (_P.SWITCHED, _E.BOOTED): Step(_P.SWITCHED, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.SWITCHED, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.REPORTED, _E.CARD_ON_TARGET): Step(_P.REPORTED, (_A.REATTACH,)),
    (_P.REPORTED, _E.ATTACHED): Step(_P.REPORTED, (_A.REPORT_EXECUTED,)),
    (_P.REPORTED, _E.CARD_ON_WAY_BACK): _RETURNED,
    (_P.REPORTED, _E.CARD_ELSEWHERE): _BACK,
    (_P.REPORTED, _E.CARD_EMPTY): _BACK,
    (_P.REPORTED, _E.CARD_STALE): _BACK,
    (_P.REPORTED, _E.CARD_UNREADABLE): Step(_P.REPORTED, (_A.LOOK_LATER,)),
    (_P.REPORTED, _E.CONFIRMED): Step(_P.CLOSED, (_A.REPORT_CLOSED,)),
    (_P.REPORTED, _E.DEADLINE): _BACK,
    (_P.REPORTED, _E.BOOTED): Step(_P.REPORTED, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.REPORTED, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.RETURNING, _E.CARD_ON_WAY_BACK): _RETURNED,
    (_P.RETURNING, _E.CARD_ON_TARGET): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.CARD_ELSEWHERE): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.CARD_EMPTY): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.CARD_STALE): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.CARD_UNREADABLE): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.NO_WAY_BACK): Step(_P.FAILED, (_A.REPORT_STAYED,)),
    (_P.RETURNING, _E.BOOTED): _BACK,
    (_P.RETURNING, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.RETURNED, _E.ATTACHED_BACK): Step(_P.ROLLED_BACK, (_A.REPORT_ROLLED_BACK,)),
    (_P.RETURNED, _E.CARD_ON_WAY_BACK): Step(_P.RETURNED, (_A.REATTACH,)),
    (_P.RETURNED, _E.CARD_ON_TARGET): _BACK,
    (_P.RETURNED, _E.CARD_ELSEWHERE): _BACK,
    (_P.RETURNED, _E.CARD_EMPTY): _BACK,
    (_P.RETURNED, _E.CARD_STALE): _BACK,
    (_P.RETURNED, _E.CARD_UNREADABLE): Step(_P.RETURNED, (_A.LOOK_LATER,)),
    (_P.RETURNED, _E.DEADLINE): _NEXT,
    (_P.RETURNED, _E.BOOTED): Step(_P.RETURNED, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.RETURNED, _E.BOOTED_TOO_OFTEN): _NEXT,
}  # fmt: skip


_WHY_BACK = {
    _E.CARD_ELSEWHERE: "wrong_profile", _E.CARD_EMPTY: "card_empty", _E.CARD_STALE: "card_stale",
    _E.CARD_ON_WAY_BACK: "card_went_back", _E.BOOTED_TOO_OFTEN: "booted_too_often",
}  # fmt: skip


def why_back(phase: Phase, event: Event, registration: Registration, *, card_was_seen: bool, is_other_card: bool = False) -> str:
    """The reason that RESULT carries when ``event`` in ``phase`` makes the device go back, or finds it gone back.

    ``card_was_seen``: the last look at the card succeeded. Without a card, or an identity from it, the radio says nothing of the
    network. ``is_other_card``: what answered instead is not the card that the switch began on.
    """
    if event is _E.DEADLINE:
        if phase is Phase.INTENT or not card_was_seen or registration.cause == "no_identity":
            return "other_card" if is_other_card else "card_unreadable"
        return "not_confirmed" if phase is Phase.REPORTED else _why_unreachable(registration)
    return _WHY_BACK.get(event, "")


def _why_unreachable(registration: Registration) -> str:
    """What the radio says at the deadline. ``not_reachable``: it carries data, and yet the server was not attached to."""
    if registration.state == RegistrationState.DENIED:
        return "registration_denied"
    if registration.cause == "wrong_identity":
        return registration.cause
    if not registration.registered:
        return "no_coverage"
    return "not_reachable" if registration.data else "no_data"


def step(phase: Phase, event: Event) -> Step | None:
    """What follows; None when the event means nothing in this phase."""
    return TABLE.get((phase, event))


def boot_event(boots: int) -> Event:
    """The event of the ``boots``-th start (from 1) that finds this switch open."""
    return Event.BOOTED if boots <= BOOTS_MAX else Event.BOOTED_TOO_OFTEN


def turn_s(deadline_s: int, turns: int, *, is_previous: bool) -> float:
    """How long the device waits to be attached over a way back, after ``turns`` changes from one to the next."""
    return TURN_SLOW_S if is_previous and turns >= TURNS_QUICK else float(deadline_s)


def return_wait_s(attempts: int, *, at_once: bool) -> float:
    """How long to wait before the next try to go back, after ``attempts`` that failed on a readable card.

    ``at_once``: no profile is enabled, and another way back was not tried yet.
    """
    if at_once:
        return 0.0
    if attempts >= RETURN_ATTEMPTS_MAX:
        return RETURN_RETRY_SLOW_S
    return float(min(RETURN_RETRY_FIRST_S * 2 ** max(attempts - 1, 0), RETURN_RETRY_MAX_S))
