"""What is judged about a switch and its card, without touching either: may it begin, how to ask, and which way leads back. Pure.

Profiles are ``simway_protocol.messages.Profile``, as the card listed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simway_protocol.errors import LocalError, PeerError
from simway_protocol.messages import KEEP_ENABLED, Profile
from simway_protocol.sim import tlv
from simway_protocol.sim.es10c import EnableProfile, EnableResult, ProfileId

ATTEMPTS_BEFORE_FALLBACK = 3
"""So often the previous profile is tried before any other way back."""


class Preflight(NamedTuple):
    """What is known before a switch. ``active``: ICCID of the enabled profile, empty for none. ``forced``: ``Body.forced``."""

    target: str
    active: str
    profiles: tuple[Profile, ...]
    key_survives: bool
    request_is_enable_of_target: bool
    switch_open: bool = False
    forced: bool = False


def refuse(known: Preflight) -> str:
    """Why a switch must not begin, as the constant that RESULT carries; empty when it may.

    Force lets a profile of the test class, or of an unknown one, through, and a card without any other way back; never a switch
    that could not be undone.
    """
    by_iccid = {profile.iccid: profile for profile in known.profiles}
    target, active = by_iccid.get(known.target), by_iccid.get(known.active)
    checks = (
        (known.switch_open, "switch_open"),
        (not known.request_is_enable_of_target, "not_an_enable_of_the_target"),
        (not known.profiles, "not_an_euicc"),
        (target is None, "profile_not_found"),
        (known.target == known.active or (target is not None and target.state == "enabled"), "already_enabled"),
        (target is not None and target.profile_class == "test" and not known.forced, "test_profile"),
        (target is not None and target.profile_class == "unknown" and not known.forced, "unknown_class"),
        (active is not None and KEEP_ENABLED in active.rules, "policy"),
        (_is_one_way(known, target, active), "no_way_back"),
        (not known.key_survives, "key_would_be_out_of_reach"),
    )
    return next((reason for failed, reason in checks if failed), "")


def _is_one_way(known: Preflight, target: Profile | None, active: Profile | None) -> bool:
    if (known.active and active is None) or (target is not None and KEEP_ENABLED in target.rules):
        return True
    return not ways_back(known.active, known.target, known.profiles) and not known.forced


def ways_back(previous: str, target: str, profiles: Sequence[Profile]) -> list[str]:
    """ICCIDs to go back to, the best first: the previous profile, that with the fallback attribute, other operational ones."""
    others = [p for p in profiles if p.iccid not in (previous, target) and (p.fallback or p.profile_class == "operational")]
    return [*([previous] if previous else []), *(p.iccid for p in sorted(others, key=lambda p: not p.fallback))]


def next_way_back(choices: Sequence[str], turn: int, shown: str) -> tuple[int, str]:
    """Which of ``choices`` has its turn after the ``turn``-th (from 0, the first), and the number of that turn.

    What is shown already is passed over, unless it is the only one.
    """
    if not choices:
        return turn + 1, ""
    turn += 1 + (choices[(turn + 1) % len(choices)] == shown)
    return turn, choices[turn % len(choices)]


def way_back(previous: str, target: str, profiles: Sequence[Profile], attempts: int, first: str = "") -> str:
    """Which profile to enable on the ``attempts``-th try (from 0); empty when the card has none but the target.

    ``first``: the way back that has its turn, by default the previous profile. It is tried three times, then each other in turn
    with it between. While no profile is enabled all are
    tried in turn, and the target last: any carrier is better than none.
    """
    choices = sorted(ways_back(previous, target, profiles), key=lambda iccid: iccid != first)
    if profiles and not any(profile.state == "enabled" for profile in profiles):
        return [*choices, target][attempts % (len(choices) + 1)]
    late = attempts - ATTEMPTS_BEFORE_FALLBACK
    if late < 0 or len(choices) < 2:
        return choices[0] if choices else ""
    return choices[1 + late // 2 % (len(choices) - 1)] if late % 2 == 0 else choices[0]


def is_way_back(iccid: str, wanted: str, target: str, attempts: int) -> bool:
    """True when a card that shows ``iccid`` has gone back: to ``wanted``, which has its turn; after three tries to any but the
    target.
    """
    if not iccid or iccid == target:
        return False
    return iccid == wanted or not wanted or attempts >= ATTEMPTS_BEFORE_FALLBACK


def enable_of(apdus: tuple[bytes, ...], target: str, profiles: Sequence[Profile]) -> EnableProfile | None:
    """The request, when the body's requests are exactly one EnableProfile of the target, named by ICCID or by AID; else None."""
    if len(apdus) != 1:
        return None
    try:
        request = EnableProfile.decode(tlv.decode_only(apdus[0], EnableProfile.TAG))
        named = str(request.profile)
    except PeerError:
        return None
    names = {target, *(profile.aid for profile in profiles if profile.iccid == target)}
    return request if request.encode() == apdus[0] and named in names else None


def ways_to_ask(asked: EnableProfile, iccid: str, aid: str) -> list[EnableProfile]:
    """``asked`` first, then the same profile by its other name, then both without, or with, the REFRESH: cards differ.

    A name that is no ICCID and no AID of 5 to 16 bytes, whatever the card listed, is left out.
    """
    others = (_profile_id(name) for name in (iccid, aid) if name and name != str(asked.profile))
    names = [asked.profile, *(name for name in others if name is not None)]
    return [EnableProfile(name, refresh) for refresh in (asked.refresh, not asked.refresh) for name in names]


def _profile_id(name: str) -> ProfileId | None:
    try:
        return ProfileId.of(name)
    except LocalError:
        return None


def is_worth_asking(refused: EnableProfile, result: EnableResult | None, other: EnableProfile) -> bool:
    """Whether a card that gave ``result`` to one request may answer another to the same end.

    ``result`` None: it refused by a status word. Not found: it may know the other name. catBusy: only a request without REFRESH
    needs no proactive session. Policy and state are the same by any name.
    """
    match result:
        case EnableResult.NOT_FOUND:
            return other.profile != refused.profile and other.refresh == refused.refresh
        case EnableResult.CAT_BUSY:
            return refused.refresh and not other.refresh
        case EnableResult.UNDEFINED | None:
            return True
        case _:
            return False
