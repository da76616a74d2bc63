"""What ES10c may do to a card's profiles (GSMA SGP.22, 5.7.16 to 5.7.21): pure, an old state in, a result and a new state out.

A refusal gives the old state back unchanged. Whoever calls writes the new state in one go, so a switch has no middle.
"""

from __future__ import annotations

from msgspec.structs import replace
from simway_protocol.sim.es10b import RemoveResult
from simway_protocol.sim.es10c import (
    DeleteResult,
    DisableResult,
    EnableResult,
    NicknameResult,
    ProfileId,
)
from simway_protocol.sim.memory_reset import MemoryResetOptions, MemoryResetResult

from simway_virtual_sim.state import NOTIFICATIONS_MAX, OPERATIONAL, TEST, CardState, Notification, Profile

_RESET_CLASSES = {OPERATIONAL: MemoryResetOptions.OPERATIONAL_PROFILES, TEST: MemoryResetOptions.TEST_PROFILES}


def find(state: CardState, wanted: ProfileId) -> Profile | None:
    """The profile that a request names, by ICCID or AID."""
    name = str(wanted)
    return next((profile for profile in state.profiles if name in (profile.iccid, profile.aid.upper())), None)


def enable(state: CardState, wanted: ProfileId) -> tuple[EnableResult, CardState]:
    """Enables a profile in place of the enabled one.

    From a test profile the way leads back only to the profile that was enabled before it; a test profile may take the place of
    one whose policy forbids its disabling, since that comes back.
    """
    profile, active = find(state, wanted), state.active
    if profile is None:
        return EnableResult.NOT_FOUND, state
    if profile == active:
        return EnableResult.NOT_DISABLED, state
    is_test = profile.profile_class == TEST
    if state.tested and not is_test and state.before_test not in ("", profile.iccid):
        return EnableResult.WRONG_REENABLING, state
    if active is not None and active.keep_enabled and not is_test:
        return EnableResult.POLICY, state
    if active is not None:
        state = _notify(replace(state, before_test=_before_test(state, is_test)), "disable", active)
    return EnableResult.OK, replace(_notify(state, "enable", profile), enabled=profile.iccid)


def _before_test(state: CardState, into_test: bool) -> str:
    if not into_test:
        return ""
    return state.before_test if state.tested else state.enabled


def disable(state: CardState, wanted: ProfileId) -> tuple[DisableResult, CardState]:
    """Disables the enabled profile; none is enabled then, as on a real card."""
    profile = find(state, wanted)
    if profile is None:
        return DisableResult.NOT_FOUND, state
    if profile != state.active:
        return DisableResult.NOT_ENABLED, state
    if profile.keep_enabled:
        return DisableResult.POLICY, state
    return DisableResult.OK, replace(_notify(state, "disable", profile), enabled="", before_test="")


def delete(state: CardState, wanted: ProfileId) -> tuple[DeleteResult, CardState]:
    """Deletes a disabled profile."""
    profile = find(state, wanted)
    if profile is None:
        return DeleteResult.NOT_FOUND, state
    if profile == state.active:
        return DeleteResult.NOT_DISABLED, state
    if profile.keep_installed:
        return DeleteResult.POLICY, state
    left = tuple(other for other in state.profiles if other != profile)
    return DeleteResult.OK, replace(_notify(state, "delete", profile), profiles=left)


def memory_reset(state: CardState, options: MemoryResetOptions, smdp: str = "") -> tuple[MemoryResetResult, CardState]:
    """Deletes profiles whatever their state and policy (SGP.22, 5.7.19). ``smdp``: the default SM-DP+ of a new card."""
    wanted = {name for name, option in _RESET_CLASSES.items() if options & option}
    gone = [profile for profile in state.profiles if profile.profile_class in wanted]
    after = state
    for profile in gone:
        after = _notify(after, "delete", profile)
    after = replace(after, profiles=tuple(profile for profile in state.profiles if profile not in gone))
    if options & MemoryResetOptions.DEFAULT_SMDP_ADDRESS:
        after = replace(after, smdp=smdp)
    if after.active is None:
        after = replace(after, enabled="", before_test="")
    return (MemoryResetResult.NOTHING_TO_DELETE if after == state else MemoryResetResult.OK), after


def set_nickname(state: CardState, wanted: ProfileId, nickname: str) -> tuple[NicknameResult, CardState]:
    """Gives a profile a nickname; an empty one takes it away."""
    profile = find(state, wanted)
    if profile is None:
        return NicknameResult.NOT_FOUND, state
    named = replace(profile, nickname=nickname)
    return NicknameResult.OK, replace(state, profiles=tuple(named if p == profile else p for p in state.profiles))


def remove_notification(state: CardState, seq: int) -> tuple[RemoveResult, CardState]:
    """Forgets a delivered notification."""
    left = tuple(item for item in state.notifications if item.seq != seq)
    if len(left) == len(state.notifications):
        return RemoveResult.NOT_FOUND, state
    return RemoveResult.OK, replace(state, notifications=left)


def _notify(state: CardState, operation: str, profile: Profile) -> CardState:
    item = Notification(state.next_seq, operation, profile.address, profile.iccid)
    kept = (*state.notifications, item)[-NOTIFICATIONS_MAX:]
    return replace(state, notifications=kept, next_seq=state.next_seq + 1)
