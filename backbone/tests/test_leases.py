"""Leases as a table of states: whatever members do, a partition has one holder, and all is shared out evenly in the end."""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simway_backbone.leases import Group, Turn, leave, quotas, take_turn

PARTITIONS = 24
SESSION_S = 6.0
NAMES = [f"m{number}" for number in range(20)]


def turn(group: Group, member: str, now_s: float, let_go: frozenset[int] = frozenset()) -> Turn:
    return take_turn(group, member, now_s, SESSION_S, PARTITIONS, let_go)


def settle(group: Group, members: list[str], now_s: float) -> dict[str, frozenset[int]]:
    """All take turns and let go of what they are asked for, until nothing moves."""
    asked: dict[str, frozenset[int]] = dict.fromkeys(members, frozenset())
    for _ in range(6):
        for member in members:
            asked[member] = turn(group, member, now_s, asked[member]).excess
    return {member: frozenset(group.held(member)) for member in members}


def test_the_first_takes_all_and_the_second_gets_half_of_it() -> None:
    group = Group()
    assert turn(group, "a", 0.0).held == frozenset(range(24))
    waits = turn(group, "b", 0.1)
    assert (waits.held, waits.quota, waits.anew) == (frozenset(), 12, True)
    asked = turn(group, "a", 0.2)
    assert asked.excess == frozenset(range(12, 24))
    assert turn(group, "b", 0.3).held == frozenset()
    assert turn(group, "a", 0.4, asked.excess).held == frozenset(range(12))
    assert turn(group, "b", 0.5).held == frozenset(range(12, 24))


def test_a_silent_member_is_out_after_its_session_and_nobody_else_moves() -> None:
    group = Group()
    before = settle(group, NAMES, 0.0)
    lively = NAMES[1:]
    assert all(turn(group, member, SESSION_S).excess == frozenset() for member in lively)
    assert group.held("m0") == sorted(before["m0"])
    after = settle(group, lively, SESSION_S + 0.1)
    assert group.held("m0") == []
    assert all(before[member] <= after[member] for member in lively)
    assert turn(group, "m0", SESSION_S + 0.2).anew


def test_beats_from_before_a_restart_of_the_machine_are_over() -> None:
    group = Group()
    turn(group, "a", 1_000_000.0)
    assert turn(group, "b", 12.0).held == frozenset(range(24))


def test_more_members_than_partitions() -> None:
    group = Group()
    members = [f"n{number}" for number in range(30)]
    held = settle(group, members, 0.0)
    assert sorted(map(len, held.values())) == [0] * 6 + [1] * 24


class Members(RuleBasedStateMachine):
    """Members join, take turns, let go late or not at all, fall silent and leave, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.group, self.now_s = Group(), 0.0
        self.asked: dict[str, frozenset[int]] = {}

    @rule(member=st.sampled_from(NAMES), obey=st.booleans())
    def take_turn(self, member: str, obey: bool) -> None:
        took = turn(self.group, member, self.now_s, self.asked.get(member, frozenset()) if obey else frozenset())
        assert took.held == set(self.group.held(member))
        assert took.excess <= took.held
        assert len(took.held - took.excess) <= took.quota
        self.asked[member] = took.excess

    @rule(member=st.sampled_from(NAMES))
    def leave(self, member: str) -> None:
        leave(self.group, member)
        self.asked.pop(member, None)

    @rule(seconds=st.floats(0.0, 4.0))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def keep_and_load(self) -> None:
        self.group = msgspec.json.decode(msgspec.json.encode(self.group), type=Group)

    @invariant()
    def every_holder_is_a_member(self) -> None:
        assert set(self.group.leases.values()) <= set(self.group.members)
        assert set(self.group.leases) <= set(range(PARTITIONS))

    @invariant()
    def quotas_are_even_and_cover_all(self) -> None:
        if self.group.members:
            due = quotas(self.group, PARTITIONS).values()
            assert sum(due) == PARTITIONS
            assert max(due) - min(due) <= 1

    def teardown(self) -> None:
        """The lively ones end up with everything, evenly."""
        lively = sorted(self.group.members) or ["m0"]
        sizes = [len(held) for held in settle(self.group, lively, self.now_s).values()]
        assert sum(sizes) == PARTITIONS
        assert max(sizes) - min(sizes) <= 1


TestMembers = Members.TestCase
TestMembers.settings = settings(max_examples=60, stateful_step_count=30)
