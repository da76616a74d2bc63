"""A member of a group without a log: what it makes of turns that fail, of sleep, and of what it is given and loses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

import pytest
from simway_backbone.group_reader import GroupedReader, Shares
from simway_backbone.lease_member import LeaseMember
from simway_backbone.leases import Group, Turn, leave, take_turn
from simway_backbone.log import LogUnavailable, Record

WAIT_S = 20.0
SESSION_S = 6.0


class Table:
    """Leases in memory that can be out of reach; knows how often it was asked."""

    def __init__(self) -> None:
        self.group, self.turns, self.down = Group(), 0, False
        self.left: list[str] = []

    def turn(self, member: str, session_s: float, let_go: frozenset[int]) -> Turn:
        self.turns += 1
        if self.down:
            raise LogUnavailable("the table is out of reach")
        return take_turn(self.group, member, time.monotonic(), session_s, 4, let_go)

    def leave(self, member: str) -> None:
        leave(self.group, member)
        self.left.append(member)


class Source:
    """A reader of nothing that says what it is to read."""

    def __init__(self) -> None:
        self.positions: Mapping[int, int] = {}

    def assign(self, positions: Mapping[int, int]) -> None:
        self.positions = dict(positions)

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        return []

    def seek(self, partition: int, offset: int) -> None:
        self.positions = {**self.positions, partition: offset}

    def close(self) -> None:
        self.positions = {}


def until(condition: object) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def member(table: Table) -> Iterator[LeaseMember]:
    member = LeaseMember(table, "a", SESSION_S)
    until(lambda: len(member.current()) == 4)
    yield member
    member.close()


def test_turns_that_fail_take_nothing_away(table: Table, member: LeaseMember) -> None:
    before = member.current()
    table.down, turns = True, table.turns
    until(lambda: table.turns > turns + 1)
    assert member.current() == before, "what keeps this one from the table keeps the others, too"
    member.wait(0.0)


def test_without_a_share_a_failing_turn_is_told(table: Table) -> None:
    table.down = True
    member = LeaseMember(table, "a", SESSION_S)
    until(lambda: table.turns)
    with pytest.raises(LogUnavailable, match="out of reach"):
        until(lambda: member.wait(0.01))
    member.close()


def test_no_error_ends_a_membership(table: Table, member: LeaseMember) -> None:
    def fail(*_: object) -> Turn:
        raise ZeroDivisionError

    held, member._table.turn = member.current(), fail  # type: ignore[method-assign]
    until(lambda: member._error is not None)
    del member._table.turn  # type: ignore[attr-defined]
    until(lambda: member._error is None)
    assert member.current() == held


def test_whoever_wakes_after_its_session_has_nothing(table: Table) -> None:
    ahead_s = 0.0
    member = LeaseMember(table, "a", SESSION_S, clock_s=lambda: time.monotonic() + ahead_s)
    until(lambda: len(member.current()) == 4)
    held = member.current()
    member._table = asleep = _Asleep(table)  # type: ignore[assignment]
    assert asleep.reached.wait(WAIT_S)
    ahead_s = SESSION_S + 1
    assert member.current() == {}
    asleep.awake.set()
    ahead_s = 0.0
    until(lambda: len(member.current()) == 4)
    assert not set(member.current().values()) & set(held.values()), "another share, to be begun anew"
    member.close()


class _Asleep:
    """A table that a turn does not get to before it is woken."""

    def __init__(self, table: Table) -> None:
        self.table, self.reached, self.awake = table, threading.Event(), threading.Event()
        self.leave = table.leave

    def turn(self, member: str, session_s: float, let_go: frozenset[int]) -> Turn:
        self.reached.set()
        self.awake.wait(WAIT_S)
        return self.table.turn(member, session_s, let_go)


def test_what_a_hanging_reader_does_not_let_go_of_is_given_away_after_a_session(table: Table) -> None:
    hanging = LeaseMember(table, "a", 1.0)
    until(lambda: len(hanging.current()) == 4)
    other = LeaseMember(table, "b", 1.0)
    until(lambda: len(other.current()) == 2)
    assert table.group.held("a") == [0, 1]
    for member in (other, hanging):
        member.close()


def test_closing_leaves(table: Table) -> None:
    member = LeaseMember(table, "a", SESSION_S)
    until(lambda: len(member.current()) == 4)
    member.close()
    assert table.left == ["a"]
    assert table.group.leases == {}


class Given:
    """A membership whose shares a test sets."""

    def __init__(self) -> None:
        self.shares = Shares()
        self.seen: list[set[int]] = []

    def current(self) -> dict[int, int]:
        return self.shares.now()

    def wait(self, timeout_s: float) -> None:
        self.shares.wait(timeout_s)

    def caught_up(self, shares: Mapping[int, int]) -> None:
        self.seen.append(set(shares))

    def close(self) -> None:
        self.shares.clear()


def test_lost_and_given_again_between_two_polls_is_begun_anew() -> None:
    membership, source = Given(), Source()
    told: list[tuple[str, list[int]]] = []

    def begin(partitions: frozenset[int]) -> dict[int, int]:
        told.append(("begin", sorted(partitions)))
        return dict.fromkeys(partitions, 10 * len(told))

    reader = GroupedReader(source, membership, begin, lambda gone: told.append(("lost", sorted(gone))))
    membership.shares.give([1, 2, 3])
    reader.poll(0.0)
    source.positions = {1: 11, 2: 12, 3: 13}
    membership.shares.take([2])
    membership.shares.take([3])
    membership.shares.give([2])
    reader.poll(0.0)
    assert told == [("begin", [1, 2, 3]), ("lost", [2, 3]), ("begin", [2])]
    assert source.positions == {1: 11, 2: 30}
    assert reader.assigned == {1, 2}
    assert membership.seen[-1] == {1, 2}
    reader.close()
    assert source.positions == {}
