"""Rollups as they stand in a store, and as they follow from its raw readings by a plain computation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from simway_flask_app.store.schema import readings, rollup_day, rollup_hour, rollup_minute
from simway_flask_app.store.sql import SqlStore
from sqlalchemy import select

WIDTHS_US = {"rollup_minute": 60_000_000, "rollup_hour": 3_600_000_000, "rollup_day": 86_400_000_000}
TABLES = (rollup_minute, rollup_hour, rollup_day)
_SUM_MAX = 1.7976931348623157e308
Key = tuple[str, int, int]
"""Table, series, start of the window."""


class Window(NamedTuple):
    """A row of a rollup, its sum rounded: the order in which doubles are added shows in the last digits."""

    count: int
    sum: float
    min: float
    min_us: int
    max: float
    max_us: int
    first: float
    first_us: int
    last: float
    last_us: int


def rollups_of(store: SqlStore) -> dict[Key, Window]:
    """Every row of the three tables."""
    found: dict[Key, Window] = {}
    with store.reading() as connection:
        for table in TABLES:
            for row in connection.execute(select(table)):
                found[(table.name, row.series_id, row.bucket_us)] = _rounded(Window(*row[2:]))
    return found


def recomputed(store: SqlStore) -> dict[Key, Window]:
    """What they must be, from the raw readings that the store holds."""
    columns = readings.c
    query = select(columns.series_id, columns.t_us, columns.num).where(columns.num.is_not(None))
    with store.reading() as connection:
        rows = [(row.series_id, row.t_us, row.num) for row in connection.execute(query)]
    return expected(rows)


def expected(rows: Iterable[tuple[int, int, float]]) -> dict[Key, Window]:
    """The rollups of (series, t_us, num)."""
    windows: dict[Key, list[tuple[int, float]]] = {}
    for series_id, t_us, num in rows:
        for table, width_us in WIDTHS_US.items():
            windows.setdefault((table, series_id, t_us - t_us % width_us), []).append((t_us, num))
    return {key: _rounded(_window(sorted(points))) for key, points in windows.items()}


def differences(have: Mapping[Key, Window], want: Mapping[Key, Window]) -> dict[Key, tuple[Window | None, Window | None]]:
    """Where they differ: what is there, and what should be."""
    return {key: (have.get(key), want.get(key)) for key in have.keys() | want.keys() if have.get(key) != want.get(key)}


def _window(points: list[tuple[int, float]]) -> Window:
    low, high = min(num for _, num in points), max(num for _, num in points)
    return Window(
        len(points), _sum(num for _, num in points),
        low, next(t_us for t_us, num in points if num == low), high, next(t_us for t_us, num in points if num == high),
        points[0][1], points[0][0], points[-1][1], points[-1][0],
    )  # fmt: skip


def _sum(numbers: Iterable[float]) -> float:
    total = math.fsum(number / 2**20 for number in numbers)
    return max(-_SUM_MAX, min(_SUM_MAX, total * 2**20)) if abs(total) < _SUM_MAX / 2**20 else math.copysign(_SUM_MAX, total)


def _rounded(window: Window) -> Window:
    return window._replace(sum=float(f"{window.sum:.9g}") + 0.0)
