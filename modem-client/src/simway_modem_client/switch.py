"""The carrier switch as a pure workflow: a confirmed commit (design, section 8).

The device journals its intent before the APDU, executes, looks at the card and never trusts 9000, attaches with the new ICCID,
reports, and waits for CONFIRM. Without it by the deadline it goes back by itself. The shell (``switcher``) writes the new phase
to the journal *before* it carries out the actions; each action can be repeated, so a power cut anywhere resolves at boot by
``BOOTED`` followed by what the card shows then.

| phase | what is known | what can end it |
|---|---|---|
| ``intent`` | the enable may or may not have reached the card | looking at the card |
| ``switched`` | the card showed the target | attaching by it; the deadline |
| ``reported`` | the server was told over the new way | CONFIRM; the deadline |
| ``returning`` | going back, to the previous profile or the fallback | the card showing it |
| ``failed``, ``rolled_back``, ``closed`` | over: the journal is closed | |
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

BOOTS_MAX = 3
"""The deadline starts anew at boot, at most this often; the next boot goes back at once."""
RETURN_ATTEMPTS_BEFORE_FALLBACK = 3
"""So often the previous profile is tried before any other way back."""


class Phase(StrEnum):
    """Where an open switch stands; the last three are final."""

    INTENT = "intent"
    SWITCHED = "switched"
    REPORTED = "reported"
    RETURNING = "returning"
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
    """The card shows a third profile, or none."""
    CARD_UNREADABLE = "card_unreadable"
    ATTACHED = "attached"
    """Attached with the target's ICCID."""
    CONFIRMED = "confirmed"
    DEADLINE = "deadline"
    BOOTED = "booted"
    BOOTED_TOO_OFTEN = "booted_too_often"


class Action(StrEnum):
    """What the shell does next, in order."""

    LOOK_AT_CARD = "look_at_card"
    LOOK_LATER = "look_later"
    ENABLE_WAY_BACK = "enable_way_back"
    ENABLE_WAY_BACK_LATER = "enable_way_back_later"
    RESTART_DEADLINE = "restart_deadline"
    REATTACH = "reattach"
    REPORT_EXECUTED = "report_executed"
    REPORT_FAILED = "report_failed"
    REPORT_ROLLED_BACK = "report_rolled_back"
    REPORT_CLOSED = "report_closed"


class Step(NamedTuple):
    """The next phase, and what to do once it is in the journal."""

    phase: Phase
    actions: tuple[Action, ...] = ()


_P, _E, _A = Phase, Event, Action
_BACK = Step(_P.RETURNING, (_A.ENABLE_WAY_BACK,))
_RETURNED = Step(_P.ROLLED_BACK, (_A.REPORT_ROLLED_BACK, _A.REATTACH))

TABLE: dict[tuple[Phase, Event], Step] = {
    (_P.INTENT, _E.CARD_ON_TARGET): Step(_P.SWITCHED, (_A.REATTACH,)),
    (_P.INTENT, _E.CARD_ON_WAY_BACK): Step(_P.FAILED, (_A.REPORT_FAILED,)),
    (_P.INTENT, _E.CARD_ELSEWHERE): _BACK,
    (_P.INTENT, _E.CARD_UNREADABLE): Step(_P.INTENT, (_A.LOOK_LATER,)),
    (_P.INTENT, _E.DEADLINE): _BACK,
    (_P.INTENT, _E.BOOTED): Step(_P.INTENT, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.INTENT, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.SWITCHED, _E.CARD_ON_TARGET): Step(_P.SWITCHED, (_A.REATTACH,)),
    (_P.SWITCHED, _E.CARD_ON_WAY_BACK): _RETURNED,
    (_P.SWITCHED, _E.CARD_ELSEWHERE): _BACK,
    (_P.SWITCHED, _E.CARD_UNREADABLE): Step(_P.SWITCHED, (_A.LOOK_LATER,)),
    (_P.SWITCHED, _E.ATTACHED): Step(_P.REPORTED, (_A.REPORT_EXECUTED,)),
    (_P.SWITCHED, _E.DEADLINE): _BACK,
    (_P.SWITCHED, _E.BOOTED): Step(_P.SWITCHED, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.SWITCHED, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.REPORTED, _E.CARD_ON_TARGET): Step(_P.REPORTED, (_A.REATTACH,)),
    (_P.REPORTED, _E.ATTACHED): Step(_P.REPORTED, (_A.REPORT_EXECUTED,)),
    (_P.REPORTED, _E.CARD_ON_WAY_BACK): _RETURNED,
    (_P.REPORTED, _E.CARD_ELSEWHERE): _BACK,
    (_P.REPORTED, _E.CARD_UNREADABLE): Step(_P.REPORTED, (_A.LOOK_LATER,)),
    (_P.REPORTED, _E.CONFIRMED): Step(_P.CLOSED, (_A.REPORT_CLOSED,)),
    (_P.REPORTED, _E.DEADLINE): _BACK,
    (_P.REPORTED, _E.BOOTED): Step(_P.REPORTED, (_A.RESTART_DEADLINE, _A.LOOK_AT_CARD)),
    (_P.REPORTED, _E.BOOTED_TOO_OFTEN): _BACK,

    (_P.RETURNING, _E.CARD_ON_WAY_BACK): _RETURNED,
    (_P.RETURNING, _E.CARD_ON_TARGET): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.CARD_ELSEWHERE): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.CARD_UNREADABLE): Step(_P.RETURNING, (_A.ENABLE_WAY_BACK_LATER,)),
    (_P.RETURNING, _E.BOOTED): _BACK,
    (_P.RETURNING, _E.BOOTED_TOO_OFTEN): _BACK,
}  # fmt: skip


_WHY_BACK = {
    (_P.SWITCHED, _E.DEADLINE): "not_reachable",
    (_P.REPORTED, _E.DEADLINE): "not_confirmed",
}
_WHY_BACK_BY_EVENT = {
    _E.DEADLINE: "card_unreadable", _E.CARD_ELSEWHERE: "wrong_profile", _E.BOOTED_TOO_OFTEN: "booted_too_often",
    _E.CARD_ON_WAY_BACK: "card_went_back",
}  # fmt: skip


def why_back(phase: Phase, event: Event) -> str:
    """The reason that RESULT carries when ``event`` in ``phase`` makes the device go back, or finds it gone back."""
    return _WHY_BACK.get((phase, event)) or _WHY_BACK_BY_EVENT.get(event, "")


def step(phase: Phase, event: Event) -> Step | None:
    """What follows; None when the event means nothing in this phase."""
    return TABLE.get((phase, event))


def boot_event(boots: int) -> Event:
    """The event of the ``boots``-th start (from 1) that finds this switch open."""
    return Event.BOOTED if boots <= BOOTS_MAX else Event.BOOTED_TOO_OFTEN


class Preflight(NamedTuple):
    """What is known before a switch; ``profiles``: (ICCID, class, enabled) of each profile."""

    target: str
    active: str
    profiles: tuple[tuple[str, str, bool], ...]
    key_survives: bool
    request_is_enable_of_target: bool
    switch_open: bool


def refuse(known: Preflight) -> str:
    """Why a switch must not begin, as the constant that RESULT carries; empty when it may."""
    by_iccid = {iccid: (profile_class, enabled) for iccid, profile_class, enabled in known.profiles}
    checks = (
        (known.switch_open, "switch_open"),
        (not known.request_is_enable_of_target, "not_an_enable_of_the_target"),
        (not known.profiles, "not_an_euicc"),
        (known.target not in by_iccid, "profile_not_found"),
        (known.target == known.active or by_iccid.get(known.target, ("", False))[1], "already_enabled"),
        (by_iccid.get(known.target, ("", False))[0] == "test", "test_profile"),
        (not known.active or known.active not in by_iccid, "no_way_back"),
        (not known.key_survives, "key_would_be_out_of_reach"),
    )
    return next((reason for failed, reason in checks if failed), "")


def way_back(previous: str, target: str, profiles: tuple[tuple[str, str, bool], ...], attempts: int) -> str:
    """Which profile to enable on the ``attempts``-th try (from 0): the previous one, and in its turn another operational one."""
    others = [
        iccid for iccid, profile_class, _enabled in profiles if profile_class == "operational" and iccid not in (previous, target)
    ]
    if attempts < RETURN_ATTEMPTS_BEFORE_FALLBACK or not others:
        return previous
    choices = [previous, *others]
    return choices[(attempts - RETURN_ATTEMPTS_BEFORE_FALLBACK + 1) % len(choices)]
