"""The rules before a switch: what is refused, what force may set aside, and what is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.policy import DAY_US, Facts, has_fallback, judge
from simway_protocol.messages import KEEP_ENABLED, KEEP_INSTALLED, Profile

NOW_US = 1_795_312_800_000_000
ICCIDS = ["8949000000000000011", "8949000000000000029", "8949000000000000037", "8949000000000000045"]
ACTIVE, TARGET, THIRD, OTHER = ICCIDS


def profile(iccid: str, profile_class: str = "operational", *, fallback: bool = False, rules: list[str] | None = None) -> Profile:
    state = "enabled" if iccid == ACTIVE else "disabled"
    return Profile(iccid, "a0", state, profile_class=profile_class, fallback=fallback, rules=rules or [])


THREE = (profile(ACTIVE), profile(TARGET), profile(THIRD))
GOOD = Facts(TARGET, THREE, ACTIVE)

profiles = st.builds(
    profile, st.sampled_from(ICCIDS), st.sampled_from(["operational", "test", "provisioning", "unknown"]), fallback=st.booleans(),
    rules=st.lists(st.sampled_from([KEEP_ENABLED, KEEP_INSTALLED]), unique=True),
)  # fmt: skip
facts = st.builds(
    Facts, st.sampled_from(ICCIDS), st.none() | st.lists(profiles, max_size=4, unique_by=lambda item: item.iccid),
    st.sampled_from(["", *ICCIDS]), st.sampled_from(["", "00" * 16]), st.sampled_from(["", "11" * 16]),
    st.lists(st.integers(NOW_US - DAY_US + 1, NOW_US), max_size=4).map(sorted),
)  # fmt: skip


def reason(known: Facts, *, forced: bool = False, cap: int = 3) -> str:
    refusal = judge(known, forced=forced, switches_per_day=cap, now_us=NOW_US).refusal
    return "" if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("changes", "refused", "forcible"),
    [
        ({}, "", True),
        ({"profiles": None}, "no_inventory", True),
        ({"profiles": THREE[:2]}, "no_fallback", True),
        ({"profiles": (profile(ACTIVE, fallback=True), profile(TARGET))}, "no_fallback", True),
        ({"profiles": (profile(ACTIVE), profile(TARGET, fallback=True))}, "no_fallback", True),
        ({"profiles": (*THREE[:2], profile(THIRD, "test"))}, "no_fallback", True),
        ({"profiles": (*THREE[:2], profile(THIRD, "provisioning"))}, "no_fallback", True),
        ({"profiles": (profile(ACTIVE), profile(TARGET, "test"), profile(THIRD))}, "test_profile", True),
        ({"profiles": (profile(ACTIVE), profile(TARGET, "unknown"), profile(THIRD))}, "unknown_class", True),
        ({"profiles": (*THREE[:2], profile(THIRD, "unknown"))}, "no_fallback", True),
        ({"profiles": (profile(ACTIVE, rules=[KEEP_ENABLED]), *THREE[1:])}, "policy", False),
        ({"profiles": (profile(ACTIVE), profile(TARGET, rules=[KEEP_ENABLED]), profile(THIRD))}, "policy", False),
        ({"profiles": (profile(ACTIVE, rules=[KEEP_INSTALLED]), *THREE[1:])}, "", True),
        ({"profiles": (profile(ACTIVE), profile(TARGET, "provisioning"), profile(THIRD))}, "provisioning_profile", True),
        ({"open_switch": "00" * 16}, "device_busy", False),
        ({"unknown_switch": "00" * 16}, "device_busy", True),
        ({"switch_times_us": (NOW_US - 3, NOW_US - 2, NOW_US - 1)}, "daily_cap", False),
        ({"switch_times_us": (NOW_US - 2, NOW_US - 1)}, "", True),
    ],
)  # fmt: skip
def test_what_is_refused_and_what_force_sets_aside(changes: dict[str, Any], refused: str, forcible: bool) -> None:
    known = GOOD._replace(**changes)
    assert reason(known) == refused
    assert reason(known, forced=True) == ("" if forcible else refused)
    if refused and forcible:
        assert judge(known, forced=True, switches_per_day=3, now_us=NOW_US).overridden == (refused,)


@given(facts, st.booleans(), st.integers(0, 4))
def test_force_only_ever_lets_more_through_and_says_what_it_set_aside(known: Facts, forced: bool, cap: int) -> None:
    plain, with_force = (judge(known, forced=f, switches_per_day=cap, now_us=NOW_US) for f in (False, True))
    assert plain.overridden == ()
    if plain.refusal is None:
        assert with_force == plain
    elif plain.refusal.forcible:
        assert with_force.refusal is None
        assert plain.refusal.reason in with_force.overridden
    else:
        assert with_force.refusal == plain.refusal
    if plain.refusal is not None:
        assert plain.refusal.text.endswith((".", '"'))


@given(facts)
def test_a_switch_that_goes_on_unforced_leaves_a_way_back(known: Facts) -> None:
    if reason(known, cap=0):
        return
    assert known.profiles is not None
    tried = (known.target, known.active_iccid)
    left = [item for item in known.profiles if item.iccid not in tried and item.profile_class == "operational"]
    assert has_fallback(known)
    assert left
    target = [item for item in known.profiles if item.iccid == known.target]
    assert all(item.profile_class != "test" for item in target)


@given(st.lists(st.integers(0, DAY_US - 1), min_size=1, max_size=6), st.integers(1, 4))
def test_the_cap_says_when_the_next_may_come_and_then_it_may(ages_us: list[int], cap: int) -> None:
    known = GOOD._replace(switch_times_us=sorted(NOW_US - age for age in ages_us))
    refusal = judge(known, forced=True, switches_per_day=cap, now_us=NOW_US).refusal
    assert (refusal is not None) == (len(ages_us) >= cap)
    if refusal is None:
        return
    assert refusal.retry_after_s >= 1
    later_us = NOW_US + refusal.retry_after_s * 1_000_000
    still = [t_us for t_us in known.switch_times_us if t_us > later_us - DAY_US]
    assert len(still) < cap
