"""Fewer points: how many stay, which, and that no extreme is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.downsampling import bucket_us, extremes, lttb, minmax, thinned

POINTS = st.lists(
    st.tuples(st.integers(0, 10**6), st.floats(-1e300, 1e300)), min_size=1, max_size=200, unique_by=lambda point: point[0]
).map(sorted)


@given(POINTS, st.integers(4, 60))
def test_lttb_keeps_the_ends_and_never_more_than_asked(points: list[tuple[int, float]], points_max: int) -> None:
    places = lttb([t for t, _ in points], [v for _, v in points], points_max)
    assert places == sorted(set(places))
    assert len(places) == min(points_max, len(points))
    assert {places[0], places[-1]} == {0, len(points) - 1}


def test_lttb_keeps_the_spike() -> None:
    values = [0.0] * 1000
    values[377] = 9.0
    assert 377 in lttb(list(range(1000)), values, 20)


def test_lttb_of_a_known_line() -> None:
    """By hand: two buckets of three; of each the point with the largest triangle."""
    times, values = list(range(8)), [0.0, 1.0, 5.0, 1.0, 0.0, -4.0, 0.0, 0.0]
    assert lttb(times, values, 4) == [0, 2, 5, 7]


@given(POINTS, st.integers(4, 60), st.sampled_from([1, 7, 60]))
def test_extremes_of_every_bucket_stay(points: list[tuple[int, float]], points_max: int, multiple_us: int) -> None:
    times, values = [t for t, _ in points], [v for _, v in points]
    width_us = bucket_us(times[-1] - times[0] + 1, points_max, multiple_us)
    places = extremes(times, values, width_us)
    assert width_us % multiple_us == 0
    assert places == sorted(set(places))
    assert len(places) <= points_max
    assert {places[0], places[-1]} == {0, len(points) - 1}
    of_bucket = [(t - times[0]) // width_us for t in times]
    for bucket in set(of_bucket):
        inside = [value for number, value in zip(of_bucket, values, strict=True) if number == bucket]
        kept = [values[place] for place in places if of_bucket[place] == bucket]
        assert (min(kept), max(kept)) == (min(inside), max(inside))


@given(POINTS, st.integers(4, 60))
def test_minmax_uses_every_point_that_is_allowed(points: list[tuple[int, float]], points_max: int) -> None:
    times, values = [t for t, _ in points], [v for _, v in points]
    places = minmax(times, values, points_max)
    assert places == sorted(set(places))
    assert len(places) == min(points_max, len(points))
    assert {0, len(points) - 1} <= set(places)
    assert {min(values), max(values)} <= {values[place] for place in places}


def test_four_points_are_the_ends_and_the_extremes() -> None:
    values = [float(n % 7) for n in range(1000)]
    values[400], values[600] = -9.0, 9.0
    assert minmax(list(range(1000)), values, 4) == [0, 400, 600, 999]


@pytest.mark.parametrize("how", ["lttb", "minmax"])
def test_one_null_stays_in_each_gap(how: str) -> None:
    points = [{"t": n, "avg": None if 30 <= n < 50 or n in (0, 70, 99) else float(n % 3)} for n in range(100)]
    kept = thinned(points, "avg", 20, how)
    assert len(kept) == 20
    assert [point["t"] for point in kept if point["avg"] is None] == [30, 70]
    assert (kept[0]["t"], kept[-1]["t"]) == (1, 98)
    assert thinned(points, "avg", 100, how) is points


@pytest.mark.parametrize("how", ["lttb", "minmax"])
def test_windows_without_any_number_stay_as_many_as_fit(how: str) -> None:
    points = [{"t": n, "last": None if n % 2 else f"text {n}", "avg": None} for n in range(100)]
    kept = thinned(points, "last", 10, how)
    assert [point["t"] for point in kept] == list(range(8, 100, 10))
    assert [point["t"] for point in thinned(points, "avg", 10, how)] == list(range(9, 100, 10))


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e300, 1e300)), max_size=120),
    st.integers(4, 30),
    st.sampled_from(["lttb", "minmax"]),
)
def test_never_more_points_than_allowed_and_nulls_between_them_alone(
    values: list[float | None], points_max: int, how: str
) -> None:
    points = [{"t": n, "avg": value} for n, value in enumerate(values)]
    kept = thinned(points, "avg", points_max, how)
    assert len(kept) <= points_max
    if kept is points:
        return
    for before, after in pairwise([point["t"] for point in kept if point["avg"] is not None]):
        between = [point for point in kept if before < point["t"] < after]
        assert len(between) == (None in values[before:after])
    numbers = [place for place, value in enumerate(values) if value is not None]
    assert len(kept) == points_max or numbers
    assert not numbers or [point["t"] for point in (kept[0], kept[-1])] == [numbers[0], numbers[-1]]
