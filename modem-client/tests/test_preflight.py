"""What is judged about a switch and its card beforehand, and the order of the ways back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client import preflight
from simway_modem_client.preflight import Preflight
from simway_protocol.messages import KEEP_ENABLED, KEEP_INSTALLED, Profile
from simway_protocol.sim.es10c import DisableProfile, EnableProfile, EnableResult, ProfileId

AID = "A0000005591010FFFFFFFF890000{:02d}00"


def profile(iccid: str, number: int = 0, **more: Any) -> Profile:
    return Profile(iccid, AID.format(number), **({"state": "disabled"} | more))


ACTIVE = profile("A", 10, state="enabled")
TARGET = profile("B", 11)
OTHER = profile("C", 12)
TEST = profile("T", 13, profile_class="test")
UNKNOWN = profile("U", 15, profile_class="unknown")
PROFILES = (ACTIVE, TARGET, TEST, UNKNOWN, OTHER)
FIT = Preflight("B", "A", PROFILES, True, True)
KEPT = profile("A", 10, state="enabled", rules=[KEEP_ENABLED])
ALONE = (TARGET, TEST)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"switch_open": True}, "switch_open"),
        ({"request_is_enable_of_target": False}, "not_an_enable_of_the_target"),
        ({"profiles": ()}, "not_an_euicc"),
        ({"target": "X"}, "profile_not_found"),
        ({"target": "A"}, "already_enabled"),
        ({"target": "T"}, "test_profile"),
        ({"target": "T", "forced": True}, ""),
        ({"target": "U"}, "unknown_class"),
        ({"target": "U", "forced": True}, ""),
        ({"profiles": (KEPT, TARGET)}, "policy"),
        ({"profiles": (KEPT, TARGET), "forced": True}, "policy"),
        ({"profiles": (profile("A", state="enabled", rules=[KEEP_INSTALLED]), TARGET)}, ""),
        ({"profiles": (ACTIVE, profile("B", rules=[KEEP_ENABLED])), "forced": True}, "no_way_back"),
        ({"active": "Z"}, "no_way_back"),
        ({"active": "", "profiles": ALONE}, "no_way_back"),
        ({"active": "", "profiles": ALONE, "forced": True}, ""),
        ({"active": "", "profiles": (TARGET, OTHER)}, ""),
        ({"key_survives": False}, "key_would_be_out_of_reach"),
    ],
)
def test_preflight(changes: dict[str, Any], reason: str) -> None:
    assert preflight.refuse(FIT._replace(**changes)) == reason


def test_the_way_back_is_the_previous_profile_then_the_fallback_then_others_never_test_ones() -> None:
    fallback = profile("F", 14, fallback=True)
    assert preflight.ways_back("A", "B", (*PROFILES, fallback)) == ["A", "F", "C"]
    tries = [preflight.way_back("A", "B", (*PROFILES, fallback), attempts) for attempts in range(8)]
    assert tries == ["A", "A", "A", "F", "A", "C", "A", "F"]
    assert preflight.way_back("A", "B", (), 9) == "A"
    assert preflight.way_back("", "B", ALONE, 0) == "B", "nothing is enabled: any carrier is better than none"


def test_with_nothing_enabled_all_are_tried_in_turn_the_target_last() -> None:
    empty = (profile("A"), TARGET, OTHER)
    assert [preflight.way_back("A", "B", empty, attempts) for attempts in range(4)] == ["A", "C", "B", "A"]


@given(st.integers(0, 200), st.integers(0, 5), st.booleans())
def test_every_way_back_has_its_turn_and_never_the_target(at: int, others: int, fallback: bool) -> None:
    further = [profile(f"C{n}", n, fallback=fallback and n == 0) for n in range(others)]
    profiles = (profile("A"), profile("B", state="enabled"), *further)
    wanted = {preflight.way_back("A", "B", profiles, attempts) for attempts in range(at, at + 2 * max(others, 1) + 3)}
    assert wanted == set(preflight.ways_back("A", "B", profiles))
    assert "B" not in wanted


def test_the_ways_back_have_their_turns_and_the_one_that_is_shown_is_passed_over() -> None:
    assert [preflight.next_way_back("AFC", turn, "AFC"[turn % 3]) for turn in range(3)] == [(1, "F"), (2, "C"), (3, "A")]
    assert preflight.next_way_back("AF", 0, "F") == (2, "A")
    assert preflight.next_way_back("A", 0, "A") == (2, "A")
    assert preflight.next_way_back("", 0, "") == (1, "")


def test_what_counts_as_gone_back() -> None:
    assert preflight.is_way_back("A", "A", "B", 0)
    assert not preflight.is_way_back("C", "A", "B", 2)
    assert preflight.is_way_back("C", "A", "B", 3)
    assert not preflight.is_way_back("B", "A", "B", 9)
    assert not preflight.is_way_back("", "", "B", 9)


# --- how a card is asked ---------------------------------------------------------------------------------------------------

ICCID, AID_11 = "8999902000000000005", AID.format(11)
BY_ICCID, BY_AID = ProfileId.of(ICCID), ProfileId.of(AID_11)
HOLDERS = (Profile(ICCID, AID_11, "disabled"), Profile("8999903000000000004", AID.format(12), "disabled"))


@pytest.mark.parametrize(
    ("apdus", "fits"),
    [
        ((EnableProfile(BY_ICCID).encode(),), True),
        ((EnableProfile(BY_AID, refresh=False).encode(),), True),
        ((EnableProfile(ProfileId.of(AID.format(12))).encode(),), False),
        ((DisableProfile(BY_ICCID).encode(),), False),
        ((), False),
        ((EnableProfile(BY_ICCID).encode(),) * 2, False),
        ((EnableProfile(BY_ICCID).encode() + b"\x00",), False),
        ((b"",), False),
    ],
)
def test_a_switch_is_one_enable_of_its_target(apdus: tuple[bytes, ...], fits: bool) -> None:
    assert (preflight.enable_of(apdus, ICCID, HOLDERS) is not None) == fits


def test_a_card_is_asked_by_both_names_and_with_and_without_refresh() -> None:
    ways = preflight.ways_to_ask(EnableProfile(BY_ICCID), ICCID, AID_11)
    assert [(way.profile, way.refresh) for way in ways] == [
        (BY_ICCID, True), (BY_AID, True), (BY_ICCID, False), (BY_AID, False),
    ]  # fmt: skip
    assert len(preflight.ways_to_ask(EnableProfile(BY_ICCID), ICCID, "")) == 2
    assert preflight.ways_to_ask(EnableProfile(BY_AID), ICCID, AID_11)[1].profile == BY_ICCID
    for odd in ("A0000005", "A0" * 17, "no AID"):
        assert len(preflight.ways_to_ask(EnableProfile(BY_ICCID), ICCID, odd)) == 2


@pytest.mark.parametrize(
    ("result", "worth"),
    [
        (EnableResult.NOT_FOUND, [(BY_AID, True)]),
        (EnableResult.CAT_BUSY, [(BY_ICCID, False), (BY_AID, False)]),
        (EnableResult.UNDEFINED, [(BY_AID, True), (BY_ICCID, False), (BY_AID, False)]),
        (None, [(BY_AID, True), (BY_ICCID, False), (BY_AID, False)]),
        (EnableResult.OK, []),
        (EnableResult.NOT_DISABLED, []),
        (EnableResult.POLICY, []),
        (EnableResult.WRONG_REENABLING, []),
    ],
)
def test_what_is_worth_asking_after_a_refusal(result: EnableResult | None, worth: list[tuple[ProfileId, bool]]) -> None:
    first, *others = preflight.ways_to_ask(EnableProfile(BY_ICCID), ICCID, AID_11)
    left = [other for other in others if preflight.is_worth_asking(first, result, other)]
    assert [(way.profile, way.refresh) for way in left] == worth
