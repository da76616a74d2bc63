"""Fewer points: how many stay, which, and that no extreme is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.downsampling import bucket_us, extremes, lttb, thinned

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
    for bucket in {t // width_us for t in times}:
        inside = [value for t, value in points if t // width_us == bucket]
        kept = [values[place] for place in places if times[place] // width_us == bucket]
        assert (min(kept), max(kept)) == (min(inside), max(inside))


def test_windows_without_a_number_go_first() -> None:
    points = [{"t": n, "avg": float(n % 3) if n % 2 else None} for n in range(40)]
    for how in ("lttb", "minmax"):
        kept = thinned(points, "avg", 10, how)
        assert 0 < len(kept) <= 10
        assert all(point["avg"] is not None for point in kept)
    assert thinned(points, "avg", 40, "lttb") is points
