"""Sequence numbers as ranges, held to plain sets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.store import ranges
from simway_flask_app.store.ranges import Sequence

spans = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
steps = st.lists(st.tuples(st.sampled_from(["take", "drop"]), spans), max_size=40)


def numbers(items: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in items for number in range(first, last + 1)}


def is_tidy(items: list[tuple[int, int]]) -> bool:
    return all(first <= last for first, last in items) and all(a[1] < b[0] for a, b in pairwise(items))


@given(st.sets(st.integers(1, 60)), spans)
def test_set_operations(members: set[int], span: tuple[int, int]) -> None:
    first, last = span
    items: list[tuple[int, int]] = []
    for number in sorted(members):
        items = ranges.add(items, number, number)
    wanted = set(range(first, last + 1))
    assert numbers(items) == members
    assert ranges.count(items) == len(members)
    assert numbers(ranges.overlap(items, *span)) == members & wanted
    assert numbers(ranges.subtract(items, *span)) == members - wanted
    assert is_tidy(items)
    assert is_tidy(ranges.subtract(items, *span))


@given(steps)
def test_a_sequence_is_what_sets_would_be(steps: list[tuple[str, tuple[int, int]]]) -> None:
    sequence, came, dropped = Sequence(), set[int](), set[int]()
    for what, (first, last) in steps:
        wanted = set(range(first, last + 1))
        if what == "take":
            fresh = sequence.take(first, last)
            assert is_tidy(fresh)
            assert numbers(fresh) == wanted - came
            came |= wanted
            dropped -= wanted
        else:
            assert sequence.drop(first, last) == len(wanted - came - dropped)
            dropped |= wanted - came
        everything = set(range(1, sequence.highest + 1))
        assert numbers(sequence.missing) == everything - came - dropped
        assert numbers(sequence.dropped) == dropped
        assert sequence.highest == max(came | dropped)
        assert is_tidy(sequence.missing)
        assert is_tidy(sequence.dropped)


@given(st.lists(spans, min_size=1, max_size=60))
def test_the_balance_holds_when_gaps_are_forgotten(taken: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "GAPS_MAX", 3)
        sequence, came = Sequence(), 0
        for first, last in taken:
            came += ranges.count(sequence.take(first, last))
            assert sequence.highest == came + sequence.missing_count
            assert len(sequence.missing) <= 3


def test_a_device_that_skips_every_second_number_costs_a_bounded_list() -> None:
    sequence = Sequence()
    for number in range(1, 4 * ranges.GAPS_MAX, 2):
        sequence.take(number, number)
    assert len(sequence.missing) <= ranges.GAPS_MAX
    assert sequence.missing_count == 2 * ranges.GAPS_MAX - 1
