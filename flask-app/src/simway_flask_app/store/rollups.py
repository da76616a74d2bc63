"""Rollups: count, sum, least, greatest, first and last of each minute, hour and day of a series, with their times. Pure.

Rows are added up once, in the order of their series: minutes from rows, hours from minutes, days from hours. What stands in the
store already is merged there, by the same rules (``bulk``): counts and sums add, extremes and ends go by value and time. So the
order in which rows arrive does not matter, but for the last digits of a sum. Of equal extremes the earliest time counts. A sum
beyond the range of a double stays at its end, ``SUM_MAX``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from simway_flask_app.store.values import Row

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
SUM_MAX = 1.7976931348623157e308
_OLDEST_US = -(2**63)

WindowKey: TypeAlias = tuple[int, int]
"""Series and bucket_us, the start of the window (UTC)."""


class Window(NamedTuple):
    """What the numbers of one window come to, as the columns of a rollup after its key; ``n`` is their ``count``."""

    n: int
    sum: float
    min: float
    min_us: int
    max: float
    max_us: int
    first: float
    first_us: int
    last: float
    last_us: int


Windows: TypeAlias = dict[WindowKey, Window]


@dataclass(slots=True)
class AddedUp:
    """What a batch of rows comes to. ``newest``: the newest row of each series, numbers or not, in the order of the series."""

    newest: list[Row]
    minutes: Windows
    hours: Windows
    days: Windows


def add_up(rows: Sequence[Row]) -> AddedUp:
    """Adds up rows that lie in the order of their series; fastest where each series is in the order of time."""
    newest, minutes = _scan(rows)
    hours = coarser(minutes, HOUR_US)
    days = coarser(hours, DAY_US)
    return AddedUp(newest, *map(_within_range, (minutes, hours, days)))


def coarser(windows: Mapping[WindowKey, Window], width_us: int) -> Windows:
    """Windows of ``width_us``, from narrower ones that divide it."""
    found: Windows = {}
    there = found.get
    for (series_id, bucket_us), window in windows.items():
        key = (series_id, bucket_us - bucket_us % width_us)
        other = there(key)
        found[key] = window if other is None else merged(other, window)
    return found


def merged(one: Window, other: Window) -> Window:
    """What two windows of one series, which share no row, come to together."""
    low = one if (one.min, one.min_us) <= (other.min, other.min_us) else other
    high = one if (-one.max, one.max_us) <= (-other.max, other.max_us) else other
    begin = one if one.first_us <= other.first_us else other
    end = one if one.last_us >= other.last_us else other
    return Window(
        one.n + other.n, _bounded(one.sum + other.sum), low.min, low.min_us, high.max, high.max_us,
        begin.first, begin.first_us, end.last, end.last_us,
    )  # fmt: skip


def _scan(rows: Iterable[Row]) -> tuple[list[Row], Windows]:  # noqa: PLR0912
    """One look at each row: what is of one minute and comes together is added up in local names: long, but fast."""
    newest: list[Row] = []
    minutes: Windows = {}
    series, best, best_us = None, None, 0
    bucket_us = until_us = count = low_us = high_us = first_us = last_us = 0
    total = low = high = first = last = 0.0
    for row in rows:
        series_id, t_us, num = row[0], row[1], row[2]
        if series_id == series:
            if t_us > best_us:
                best, best_us = row, t_us
            if num is None:
                continue
            if bucket_us <= t_us < until_us:
                count += 1
                total += num
                if num < low or (num == low and t_us < low_us):
                    low, low_us = num, t_us
                if num > high or (num == high and t_us < high_us):
                    high, high_us = num, t_us
                if t_us > last_us:
                    last, last_us = num, t_us
                elif t_us < first_us:
                    first, first_us = num, t_us
                continue
        if count:
            values = (count, total, low, low_us, high, high_us, first, first_us, last, last_us)
            _put(minutes, (series, bucket_us), values)  # type: ignore[arg-type]  # a count has a series
            count = 0
        if series_id != series:
            if best is not None:
                newest.append(best)
            series, best, best_us = series_id, row, t_us
            until_us = bucket_us
        if num is not None:
            bucket_us = t_us - t_us % MINUTE_US
            until_us = bucket_us + MINUTE_US
            count, total, low, high, first, last = 1, num, num, num, num, num
            low_us = high_us = first_us = last_us = t_us
    if count:
        values = (count, total, low, low_us, high, high_us, first, first_us, last, last_us)
        _put(minutes, (series, bucket_us), values)  # type: ignore[arg-type]  # a count has a series
    if best is not None:
        newest.append(best)
    return newest, minutes


def _put(windows: Windows, key: WindowKey, values: tuple[Any, ...]) -> None:
    if not -SUM_MAX <= values[1] <= SUM_MAX:
        values = (values[0], _bounded(values[1]), *values[2:])
    window: Window = tuple.__new__(Window, values)  # a third of the time of calling the class
    there = windows.get(key)
    windows[key] = window if there is None else merged(there, window)


def _within_range(windows: Windows) -> Windows:
    """The first window begins where the column's range does."""
    for key in [key for key in windows if key[1] < _OLDEST_US]:
        windows[(key[0], _OLDEST_US)] = windows.pop(key)
    return windows


def _bounded(total: float) -> float:
    return max(-SUM_MAX, min(SUM_MAX, total))
