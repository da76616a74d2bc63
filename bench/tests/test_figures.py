"""Figures: their lines, tables, statistics."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, median_ratio, number, quantile, read_lines, table


def test_a_line_is_one_json_object_with_four_digits_that_count() -> None:
    line = Figure("recorder", 123_456.7, "rows/s", "COPY in the same run, aim 0.5", 0.61234).line()
    assert json.loads(line) == {
        "figure": "recorder", "value": 123_500.0, "unit": "rows/s", "against": "COPY in the same run, aim 0.5", "ratio": 0.612,
    }  # fmt: skip


def test_lines_come_back_as_figures() -> None:
    figures = [Figure("a", 1.5, "ms", "aim 2", 0.75), Figure("b", 20.0, "rows/s")]
    assert read_lines([*(figure.line() for figure in figures), ""]) == figures
    with pytest.raises(TypeError):
        read_lines(['{"figure": "a", "speed": 1}'])


@pytest.mark.parametrize(
    ("against", "aim"),
    [
        ("aim 25 for p99", 25),
        ("COPY in the same run, aim 0.5", 0.5),
        ("alone, aim under 4", 4),
        ("aim 0", 0),
        ("", None),
    ],
)
def test_the_aim_is_read_from_what_a_figure_is_held_against(against: str, aim: float | None) -> None:
    assert Figure("x", 1, "ms", against).aim == aim


@given(st.lists(st.floats(0, 1e6), min_size=2), st.floats(0.001, 0.999))
def test_a_quantile_lies_within_and_never_falls_as_the_share_grows(values: list[float], share: float) -> None:
    found = quantile(values, share)
    slack = 1e-9 * max(values)
    assert min(values) - slack <= found <= max(values) + slack
    assert quantile(values, 0.001) <= found + slack


def test_quantiles_of_few_values() -> None:
    assert quantile([7.0], 0.99) == 7.0
    assert quantile(range(101), 0.5) == pytest.approx(50)
    assert quantile(range(101), 0.99) == pytest.approx(99)
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_ratio_is_the_median_of_pairs_not_the_ratio_of_medians() -> None:
    ones, others = [10.0, 1.0, 30.0], [20.0, 2.0, 30.0]
    assert median_ratio(ones, others) == 0.5
    assert statistics.median(ones) / statistics.median(others) == 0.5
    assert median_ratio([1.0, 9.0, 2.0], [10.0, 10.0, 2.0]) == 0.9
    with pytest.raises(ValueError):
        median_ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(123_456.7, "123,500"), (1000, "1,000"), (999.96, "1,000"), (7.3891, "7.389"), (0.0123456, "0.01235"), (0, "0")],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_has_a_row_a_figure() -> None:
    rows = table([Figure("a", 1234.5, "ms", "aim 2", 0.756), Figure("b", 2, "rows/s")]).splitlines()
    assert rows[2:] == ["| a | 1,234 | ms | aim 2 | 0.76 |", "| b | 2 | rows/s |  |  |"]
