"""Plots for a terminal (plotext): numbers over time, one frame a sensor, so that they can be told apart without colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from simway_cli.table import clean
from simway_cli.times import SECOND_US, Times

FRAMES_MAX = 8
"""Sensors in one plot: more fill screens."""
HEIGHT_LINES, HEIGHT_OF_MANY_LINES = 18, 11
WIDTH_DEFAULT, WIDTH_LEAST, WIDTH_MOST = 100, 40, 300
LINE, LINE_ASCII = "braille", "*"
POINTS = ("+", "x", "o", "#", "@")
"""The first line of a frame is drawn through, the others are these marks."""
LABEL_CHARS = 14
"""Room for a label of the time axis."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_STEPS_S = (
    0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, _DAY_S, 2 * _DAY_S,
    7 * _DAY_S, 14 * _DAY_S, 30 * _DAY_S, 90 * _DAY_S, 365 * _DAY_S,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a frame. ``points``: (time in us, value), in order; None breaks the line."""

    name: str
    points: Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the time axis."""

    t_us: int
    label: str


def ticks(from_us: int, to_us: int, times: Times, count_max: int) -> list[Tick]:
    """Round moments of the zone within the range, ``count_max`` of them at most; the first of a day names its date."""
    span_s = max(to_us - from_us, 1) / SECOND_US
    step_s = next((step for step in _STEPS_S if span_s / step < max(1, count_max)), _STEPS_S[-1])
    step_us = round(step_s * SECOND_US)
    offset_us = _offset_us(times, from_us)
    first = -(-(from_us + offset_us) // step_us) * step_us - offset_us
    moments = [(t_us, times.datetime(t_us)) for t_us in range(first, to_us + 1, step_us)]
    marks, before = [], None
    for t_us, moment in moments:
        if moment is not None:
            marks.append(Tick(t_us, _label(moment, step_s, new_day=moment.date() != before)))
            before = moment.date()
    return marks


def _offset_us(times: Times, t_us: int) -> int:
    moment = times.datetime(t_us)
    offset = moment.utcoffset() if moment is not None else None
    return 0 if offset is None else offset // timedelta(microseconds=1)


def _label(moment: datetime, step_s: float, *, new_day: bool) -> str:
    if step_s >= _DAY_S:
        return f"{moment:%Y-%m-%d}" if step_s > 30 * _DAY_S else f"{moment:%m-%d}"
    clock = f"{moment:%H:%M:%S}" if step_s < _MINUTE_S else f"{moment:%H:%M}"
    if step_s < 1:
        clock += f".{moment.microsecond // 1000:03d}"
    return f"{moment:%m-%d} {clock}" if new_day and step_s < _DAY_S else clock


def title_of(names: Sequence[str]) -> str:
    """Which mark is which line; nothing for one line."""
    return ", ".join(
        [f"{names[0]} drawn through", *(f"{name} {mark}" for name, mark in zip(names[1:], POINTS, strict=False))][
            : len(names) if len(names) > 1 else 0
        ]
    )


def draw(
    lines: Sequence[Line], times: Times, *, title: str, width: int | None, height: int = HEIGHT_LINES,
    range_us: tuple[int, int] | None = None, coloured: bool, braille: bool = True,
) -> str:  # fmt: skip
    """One frame. ``range_us``: of the time axis; else what the points span. ``braille``: the terminal has such characters."""
    import plotext

    known = [Line(line.name, [point for point in line.points if point[1] is not None]) for line in lines]
    moments = [t_us for line in known for t_us, _ in line.points]
    from_us, to_us = range_us or (min(moments, default=times.now_us), max(moments, default=times.now_us))
    if from_us >= to_us:
        from_us, to_us = from_us - SECOND_US, from_us + SECOND_US
    width = max(WIDTH_LEAST, min(width or WIDTH_DEFAULT, WIDTH_MOST))
    figure = plotext.figure
    figure.clear()
    plotext.terminal.limit(False, False)
    figure.theme("simple")
    figure.plot_size(width, height)
    figure.title(clean(title))
    for line, marker in zip(lines, [LINE if braille else LINE_ASCII, *POINTS], strict=False):
        _draw_line(figure, line, from_us, marker, connected=marker not in POINTS)
    marks = ticks(from_us, to_us, times, (width - 8) // LABEL_CHARS)
    figure.ruler("x").lim(0, (to_us - from_us) / SECOND_US)
    figure.ruler("x").ticks([(mark.t_us - from_us) / SECOND_US for mark in marks], [mark.label for mark in marks])
    text: str = figure.build().string(colorless=not coloured)
    figure.clear()
    return "\n".join(row.rstrip() for row in text.rstrip("\n").split("\n"))


def _draw_line(figure: Any, line: Line, from_us: int, marker: str, *, connected: bool) -> None:
    points, breaks, open_ = list[tuple[float, float]](), list[int](), True
    for t_us, value in line.points:
        if value is None:
            open_ = False
            continue
        if not open_:
            breaks.append(len(points))
        points.append(((t_us - from_us) / SECOND_US, value))
        open_ = True
    if not points:
        return
    signal = figure.signal([x for x, _ in points], [y for _, y in points], marker=marker).lines(connected)
    for at in breaks:
        signal.line(at, False)
    figure.draw(signal)
