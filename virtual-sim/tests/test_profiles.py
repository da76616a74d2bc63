"""What ES10c may do to the profiles, over every order of requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from simway_protocol.sim import numbering
from simway_protocol.sim.es10b import RemoveResult
from simway_protocol.sim.es10c import (
    DeleteResult,
    DisableResult,
    EnableResult,
    NicknameResult,
    ProfileClass,
    ProfileId,
)
from simway_protocol.sim.memory_reset import MemoryResetOptions, MemoryResetResult
from simway_virtual_sim import profiles
from simway_virtual_sim.factory import CARRIERS, Carrier, new_card
from simway_virtual_sim.state import NOTIFICATIONS_MAX, CardState, decode, encode

CARD = new_card(lambda count: bytes(range(count)))
FIRST, SECOND, THIRD = (profile.iccid for profile in CARD.profiles)
UNKNOWN = "8988211000000000025"


def _id(text):
    return ProfileId.of(text)


def _with(state: CardState, iccid: str, **changes) -> CardState:
    changed = tuple(replace(p, **changes) if p.iccid == iccid else p for p in state.profiles)
    return replace(state, profiles=changed)


@given(st.randoms(use_true_random=False))
def test_a_new_card_has_valid_numbers_of_its_own(random):
    card = new_card(random.randbytes)
    assert numbering.has_eid_check_digits(card.eid)
    assert card.eid.startswith("89")
    iccids = [profile.iccid for profile in card.profiles]
    assert all(numbering.has_luhn_digit(iccid) and iccid.startswith("89") and len(iccid) == 19 for iccid in iccids)
    assert len(set(iccids)) == len({profile.aid for profile in card.profiles}) == len(CARRIERS)
    assert all(len(profile.imsi) == 15 for profile in card.profiles)
    assert card.enabled == iccids[0]
    assert [profile.provider for profile in card.profiles] == [carrier.provider for carrier in CARRIERS]
    assert {profile.profile_class for profile in card.profiles} == {"operational"}


def test_two_new_cards_differ():
    one, other = new_card(lambda count: b"\x01" * count), new_card(lambda count: b"\x02" * count)
    assert one.eid != other.eid
    assert not {profile.iccid for profile in one.profiles} & {profile.iccid for profile in other.profiles}


def test_carriers_can_be_given():
    card = new_card(bytes, (Carrier("Fjord Net", "Fjord", "99979", "79"),))
    assert card.active.provider == "Fjord Net"


@pytest.mark.parametrize("by", ["iccid", "aid"])
def test_enable_replaces_the_enabled_profile_and_keeps_two_notifications(by):
    result, after = profiles.enable(CARD, _id(getattr(CARD.profiles[1], by)))
    assert (result, after.enabled) == (EnableResult.OK, SECOND)
    assert [(item.seq, item.operation, item.iccid) for item in after.notifications] == [
        (1, "disable", FIRST),
        (2, "enable", SECOND),
    ]
    assert after.next_seq == 3


@pytest.mark.parametrize(("state", "wanted", "result"), [
    (CARD, UNKNOWN, EnableResult.NOT_FOUND), (CARD, "A000000559", EnableResult.NOT_FOUND),
    (CARD, FIRST, EnableResult.NOT_DISABLED),
    (_with(CARD, FIRST, keep_enabled=True), SECOND, EnableResult.POLICY),
])  # fmt: skip
def test_enable_refused_changes_nothing(state, wanted, result):
    assert profiles.enable(state, _id(wanted)) == (result, state)


@pytest.mark.parametrize(("state", "wanted", "result"), [
    (CARD, UNKNOWN, DisableResult.NOT_FOUND), (CARD, SECOND, DisableResult.NOT_ENABLED),
    (_with(CARD, FIRST, keep_enabled=True), FIRST, DisableResult.POLICY),
])  # fmt: skip
def test_disable_refused_changes_nothing(state, wanted, result):
    assert profiles.disable(state, _id(wanted)) == (result, state)


@pytest.mark.parametrize(("state", "wanted", "result"), [
    (CARD, UNKNOWN, DeleteResult.NOT_FOUND), (CARD, FIRST, DeleteResult.NOT_DISABLED),
    (_with(CARD, SECOND, keep_installed=True), SECOND, DeleteResult.POLICY),
])  # fmt: skip
def test_delete_refused_changes_nothing(state, wanted, result):
    assert profiles.delete(state, _id(wanted)) == (result, state)


def test_disable_leaves_none_and_enable_finds_the_way_back():
    result, none = profiles.disable(CARD, _id(FIRST))
    assert (result, none.enabled, none.active) == (DisableResult.OK, "", None)
    result, back = profiles.enable(none, _id(FIRST))
    assert (result, back.enabled) == (EnableResult.OK, FIRST)
    assert [item.operation for item in back.notifications] == ["disable", "enable"]


def test_a_test_profile_leads_back_to_where_it_came_from():
    state = _with(_with(CARD, FIRST, keep_enabled=True), THIRD, profile_class="test")
    result, tested = profiles.enable(state, _id(THIRD))
    assert (result, tested.enabled, tested.before_test) == (EnableResult.OK, THIRD, FIRST)
    assert profiles.enable(tested, _id(SECOND)) == (EnableResult.WRONG_REENABLING, tested)
    result, back = profiles.enable(tested, _id(FIRST))
    assert (result, back.enabled, back.before_test) == (EnableResult.OK, FIRST, "")


def test_a_memory_reset_takes_what_it_is_told_to():
    state = replace(_with(_with(CARD, FIRST, keep_installed=True), THIRD, profile_class="test"), smdp="smdp.invalid")
    result, after = profiles.memory_reset(state, MemoryResetOptions.TEST_PROFILES)
    assert (result, [p.iccid for p in after.profiles], after.enabled) == (MemoryResetResult.OK, [FIRST, SECOND], FIRST)
    assert profiles.memory_reset(after, MemoryResetOptions.TEST_PROFILES) == (MemoryResetResult.NOTHING_TO_DELETE, after)
    result, after = profiles.memory_reset(after, MemoryResetOptions(0xE0))
    assert (result, after.profiles, after.enabled, after.smdp) == (MemoryResetResult.OK, (), "", "")
    assert [item.operation for item in after.notifications] == ["delete"] * 3


def test_nicknames():
    result, named = profiles.set_nickname(CARD, _id(SECOND), "Süd")
    assert result is NicknameResult.OK
    assert [profile.nickname for profile in named.profiles] == ["", "Süd", ""]
    assert profiles.set_nickname(named, _id(SECOND), "")[1] == CARD
    assert profiles.set_nickname(CARD, _id(UNKNOWN), "x") == (NicknameResult.NOT_FOUND, CARD)


def test_a_delivered_notification_is_forgotten_once():
    _, state = profiles.enable(CARD, _id(SECOND))
    result, state = profiles.remove_notification(state, 1)
    assert (result, [item.seq for item in state.notifications]) == (RemoveResult.OK, [2])
    assert profiles.remove_notification(state, 1) == (RemoveResult.NOT_FOUND, state)


def test_undelivered_notifications_have_a_bound_and_their_numbers_go_on():
    state = CARD
    for turn in range(NOTIFICATIONS_MAX):
        _, state = profiles.enable(state, _id((SECOND, FIRST)[turn % 2]))
    assert len(state.notifications) == NOTIFICATIONS_MAX
    assert state.notifications[-1].seq == 2 * NOTIFICATIONS_MAX == state.next_seq - 1


NAMES = st.sampled_from([FIRST, SECOND, THIRD, UNKNOWN, *(profile.aid for profile in CARD.profiles)])
REQUESTS = st.lists(st.tuples(st.sampled_from([profiles.enable, profiles.disable, profiles.delete]), NAMES), max_size=25)


@given(REQUESTS)
def test_whatever_is_asked_the_card_stays_whole(requests):
    state = CARD
    for request, name in requests:
        before = state
        result, state = request(state, _id(name))
        assert (result == 0) == (state != before)
        assert decode(encode(state)) == state
        assert not state.enabled or state.active is not None
        assert bool(state.enabled) or request is not profiles.enable or result != 0
        numbers = [item.seq for item in state.notifications]
        assert numbers == sorted(set(numbers))
        assert all(number < state.next_seq for number in numbers)


def test_a_profile_as_the_card_shows_it():
    guarded = _with(CARD, FIRST, keep_enabled=True, keep_installed=True, profile_class="test", nickname="N").profiles[0]
    info = guarded.info(enabled=True)
    assert (info.policy, info.profile_class, info.nickname, info.enabled) == (b"\x05\x60", ProfileClass.TEST, "N", True)
    plain = CARD.profiles[1].info(enabled=False)
    assert (plain.policy, plain.nickname, plain.enabled) == (None, None, False)
