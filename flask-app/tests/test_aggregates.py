"""Windows by a plain computation, and what their texts mean."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app import aggregates
from simway_flask_app.aggregates import Asked, BadWindow, Summary

FLOATS = st.floats(-1e300, 1e300)


@pytest.mark.parametrize(
    ("text", "window_us"),
    [("1ms", 1000), ("5s", 5_000_000), ("1m", 60_000_000), ("36h", 129_600_000_000), ("7d", 604_800_000_000)],
)
def test_windows_have_a_text(text: str, window_us: int) -> None:
    assert aggregates.parse_window(text) == window_us
    assert aggregates.parse_window(aggregates.window_text(window_us)) == window_us


@pytest.mark.parametrize("text", ["", "5", "s", "0s", "05s", "1.5h", "-1m", "1w", "1 m", "1m ", "99999999d", "٥s", "1us"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(BadWindow):
        aggregates.parse_window(text)


def test_the_next_window_that_people_use() -> None:
    assert [aggregates.window_text(aggregates.nice_window_us(least)) for least in (1, 61_000_000, 86_400_000_001)] == [
        "1s",
        "2m",
        "2d",
    ]
    assert aggregates.nice_window_us(400 * 86_400_000_000 + 1) == 401 * 86_400_000_000


def test_aggregates_by_name() -> None:
    assert aggregates.parse_aggregates("avg,p50,p99.9") == Asked(("avg", "p50", "p99.9"), (50.0, 99.9))
    for bad in (
        "",
        "avg,",
        "avg,avg",
        "p50,avg,p50",
        "median",
        "p",
        "p101",
        "p1.2.3",
        "p-1",
        "AVG",
        ",".join(f"p{n}" for n in range(11)),
    ):
        with pytest.raises(BadWindow):
            aggregates.parse_aggregates(bad)


@given(st.lists(FLOATS, min_size=2, max_size=50), st.integers(1, 99))
def test_percentiles_are_those_of_the_standard_library(values: list[float], rank: int) -> None:
    by_hundred = statistics.quantiles(values, n=100, method="inclusive")
    assert aggregates.percentile(sorted(values), rank) == pytest.approx(by_hundred[rank - 1], rel=1e-9, abs=1e-300)


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_percentiles_stay_within(values: list[float]) -> None:
    ordered = sorted(values)
    found = [aggregates.percentile(ordered, rank) for rank in (0, 12.5, 50, 99.9, 100)]
    assert (found[0], found[-1]) == (ordered[0], ordered[-1])
    assert all(ordered[0] <= value <= ordered[-1] or value == pytest.approx(ordered[0], rel=1e-12) for value in found)


@given(st.lists(st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=9), min_size=1, max_size=9))
def test_windows_joined_are_the_window_of_all(parts: list[list[float]]) -> None:
    whole = aggregates.of_numbers(0, [value for part in parts for value in part])
    assert aggregates.joined(0, [aggregates.of_numbers(n, part) for n, part in enumerate(parts)]) == whole


def test_a_sum_stops_at_the_largest_double() -> None:
    assert aggregates.exact_sum([1e308] * 5) == 1.7976931348623157e308
    assert aggregates.exact_sum([-1e308] * 5) == -1.7976931348623157e308
    assert aggregates.exact_sum([1e308, 1e308, -1e308, -1e308, 1.0]) in (0.0, 1.0)
    assert aggregates.exact_sum([0.1] * 10) == 1.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_an_average_lies_between_lowest_and_highest(values: list[float]) -> None:
    (point,) = aggregates.points([aggregates.of_numbers(0, values)], aggregates.parse_aggregates("avg,min,max"))
    if point["avg"] is None:
        assert abs(aggregates.exact_sum(values)) == 1.7976931348623157e308
    else:
        assert point["min"] <= point["avg"] <= point["max"]


@pytest.mark.parametrize(
    ("values", "average"),
    [([1e308] * 5, 1e308), ([1.7976931348623157e308], 1.7976931348623157e308), ([1e308, 1.1e308], None), ([0.1] * 3, 0.1)],
)
def test_an_average_beyond_the_largest_sum_is_not_told(values: list[float], average: float | None) -> None:
    windows = [aggregates.of_numbers(0, values), aggregates.joined(0, [aggregates.of_numbers(0, [value]) for value in values])]
    assert [point["avg"] for point in aggregates.points(windows, aggregates.parse_aggregates("avg"))] == [average] * 2


@pytest.mark.parametrize(
    ("how", "made"),
    [
        ("null", [(0, None, 0), (1, 2.0, 1), (2, None, 0), (3, None, 0), (4, 8.0, 1), (5, None, 0)]),
        ("zero", [(0, 0, 0), (1, 2.0, 1), (2, 0, 0), (3, 0, 0), (4, 8.0, 1), (5, 0, 0)]),
        ("previous", [(0, None, 0), (1, 2.0, 1), (2, 2.0, 0), (3, 2.0, 0), (4, 8.0, 1), (5, 8.0, 0)]),
        ("linear", [(0, None, 0), (1, 2.0, 1), (2, 4.0, 0), (3, 6.0, 0), (4, 8.0, 1), (5, None, 0)]),
    ],
)
def test_empty_windows_are_filled_as_asked(how: str, made: list[tuple[int, float | None, int]]) -> None:
    asked = aggregates.parse_aggregates("avg,count")
    given_ = [{"t": 10, "avg": 2.0, "count": 1}, {"t": 40, "avg": 8.0, "count": 1}]
    filled = aggregates.filled(given_, asked, 0, 60, 10, how)
    assert [(point["t"] // 10, point["avg"], point["count"]) for point in filled] == [
        (t, pytest.approx(value) if value else value, count) for t, value, count in made
    ]
    empty = aggregates.filled([], asked, 0, 20, 10, how)
    assert [point["t"] for point in empty] == [0, 10]


def test_texts_have_no_line_between_them() -> None:
    texts = [Summary(0, 2, None, None, None, "a", "b"), Summary(20, 1, None, None, None, "c", "c")]
    points = aggregates.points(texts, aggregates.parse_aggregates("first,avg,p50"))
    assert points == [{"t": 0, "first": "a", "avg": None, "p50": None}, {"t": 20, "first": "c", "avg": None, "p50": None}]
    filled = aggregates.filled(points, aggregates.parse_aggregates("first"), 0, 30, 10, "linear")
    assert filled[1]["first"] is None
