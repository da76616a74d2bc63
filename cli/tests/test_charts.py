"""Plots: round moments on the axis, gaps where nothing was, never wider than asked."""

from __future__ import annotations

import math
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_cli.charts import Line, draw, ticks
from simway_cli.table import width_of
from simway_cli.times import Times

T0_US = 1_795_338_000_000_000  # 2026-11-22T09:00:00Z
HOUR_US = 3_600_000_000
TIMES = Times(UTC, T0_US)


def test_ticks_are_round_and_name_the_date_once_a_day() -> None:
    assert [mark.label for mark in ticks(T0_US - 1, T0_US + HOUR_US, TIMES, 5)] == [
        "11-22 09:00",
        "09:15",
        "09:30",
        "09:45",
        "10:00",
    ]
    days = ticks(T0_US, T0_US + 48 * HOUR_US, TIMES, 5)
    assert [mark.label for mark in days] == ["11-22 12:00", "11-23 00:00", "12:00", "11-24 00:00"]
    berlin = ticks(T0_US, T0_US + 96 * HOUR_US, Times(ZoneInfo("Europe/Berlin"), T0_US), 5)
    assert [(mark.t_us - T0_US) // HOUR_US for mark in berlin] == [14, 38, 62, 86], "midnights of the zone"
    assert [mark.label for mark in ticks(T0_US, T0_US + 3_000_000, TIMES, 4)][1:] == ["09:00:01", "09:00:02", "09:00:03"]


@given(st.integers(0, 2**51), st.integers(1, 2**50), st.integers(1, 20))
def test_never_more_ticks_than_there_is_room_for(from_us: int, span_us: int, count: int) -> None:
    marks = ticks(from_us, from_us + span_us, TIMES, count)
    assert all(from_us <= mark.t_us <= from_us + span_us for mark in marks)
    if span_us < 3 * 10**13:
        assert len(marks) <= count + 1


@pytest.mark.parametrize("width", [40, 80, 133])
def test_a_plot_is_as_wide_as_asked_and_shows_the_line(width: int) -> None:
    points = [(T0_US + i * 10_000_000, 20 + 5 * math.sin(i / 30)) for i in range(360)]
    text = draw([Line("value", points)], TIMES, title="demo cpu (%)", width=width, coloured=False)
    lines = text.split("\n")
    assert len(lines) == 18
    assert max(map(width_of, lines)) <= width
    assert "demo cpu (%)" in lines[0]
    assert "\x1b" not in text
    assert any("⠒" in line or "⠤" in line for line in lines)


def test_without_braille_it_is_plain() -> None:
    text = draw(
        [Line("value", [(T0_US, 1.0), (T0_US + HOUR_US, 2.0)])], TIMES, title="x", width=60, coloured=False, braille=False
    )
    assert "*" in text
    assert not any(0x2800 <= ord(char) < 0x2900 for char in text)


def test_a_gap_is_left_open_and_other_aggregates_are_marks() -> None:
    def middle(points: list[tuple[int, float | None]]) -> str:
        text = draw([Line("avg", points)], TIMES, title="x", width=80, height=11, coloured=False)
        return "".join(line[30:50] for line in text.split("\n")[2:-3])

    ends: list[tuple[int, float | None]] = [
        (T0_US, 1.0),
        (T0_US + HOUR_US, 3.0),
        (T0_US + 9 * HOUR_US, 3.0),
        (T0_US + 10 * HOUR_US, 1.0),
    ]
    assert middle(ends).strip()
    assert not middle([*ends[:2], (T0_US + 5 * HOUR_US, None), *ends[2:]]).strip()
    marks = draw([Line("avg", ends), Line("max", [(t, 4.0) for t, _ in ends])], TIMES, title="x", width=80, coloured=False)
    assert marks.count("+") == 4


def test_one_point_and_a_flat_line_can_be_drawn() -> None:
    assert "5.0" in draw([Line("value", [(T0_US, 5.0)])], TIMES, title="x", width=60, coloured=False)
    assert draw([Line("value", [(T0_US, 0.0), (T0_US + 1, 0.0)])], TIMES, title="x", width=60, coloured=True)
