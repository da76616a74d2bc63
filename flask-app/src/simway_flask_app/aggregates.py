"""Windows of time and what is said of each. Pure: rows in order of time go in, points come out.

Sums are exact before they are rounded once (``math.fsum``), so the order in which a database gives rows shows nowhere; a sum
stops at the largest double. Percentiles lie between the two nearest values by straight line (type 7 of Hyndman and Fan, 1996).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from simway_protocol.limits import INT64_MIN
from simway_protocol.readings import Value

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
_UNITS_US = {"ms": 1_000, "s": 1_000_000, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
_WINDOW = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h|d)", re.ASCII)
_RANK = re.compile(r"p([0-9]{1,3}(?:\.[0-9]{1,3})?)", re.ASCII)
WINDOW_MAX_US = 36_600 * DAY_US
RANKS_MAX = 10
_SUM_MAX = 1.7976931348623157e308
_NICE = ("1s", "2s", "5s", "10s", "15s", "30s", "1m", "2m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "6h", "12h",
         "1d", "2d", "7d", "14d", "30d", "90d", "365d")  # fmt: skip


class BadWindow(ValueError):
    """A window or an aggregate that is none: the caller's fault; the text says what one looks like."""


class Summary(NamedTuple):
    """A window that holds ``number`` readings: of numbers, or, with ``total``, ``low`` and ``high`` None, of strings and objects.

    ``ranks``: the percentiles asked for, None where they cannot be known.
    """

    start_us: int
    number: int
    total: float | None
    low: float | None
    high: float | None
    first: Value
    last: Value
    ranks: tuple[float | None, ...] = ()


class Asked(NamedTuple):
    """What is asked of each window: ``names`` as they were given, in order, and the ranks (0 to 100) of the percentiles."""

    names: tuple[str, ...]
    ranks: tuple[float, ...]


def parse_window(text: str) -> int:
    """Microseconds of ``5s``, ``1m``, ``6h``, ``1d``, ``250ms``. Raises ``BadWindow``."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise BadWindow("a window is a whole number and ms, s, m, h or d, as 5s or 1h")
    window_us = int(found[1]) * _UNITS_US[found[2]]
    if window_us > WINDOW_MAX_US:
        raise BadWindow(f"a window is at most {WINDOW_MAX_US // DAY_US}d")
    return window_us


def window_text(window_us: int) -> str:
    """The shortest text that ``parse_window`` reads as this."""
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if window_us % _UNITS_US[unit] == 0)
    return f"{window_us // _UNITS_US[unit]}{unit}"


def nice_window_us(least_us: int) -> int:
    """The smallest window that people use of at least ``least_us``; beyond a year, whole days."""
    windows = map(parse_window, _NICE)
    return next((window_us for window_us in windows if window_us >= least_us), -(-least_us // DAY_US) * DAY_US)


def parse_aggregates(text: str) -> Asked:
    """``avg,min,p95`` and the like, each once. Raises ``BadWindow``."""
    names = tuple(text.split(","))
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise BadWindow(f"agg names {twice!r} twice")
    ranks = tuple(_rank(name) for name in names if name not in _SIMPLE)
    if len(ranks) > RANKS_MAX:
        raise BadWindow(f"at most {RANKS_MAX} percentiles in one question")
    return Asked(names, ranks)


def _rank(name: str) -> float:
    found = _RANK.fullmatch(name)
    if found is None or float(found[1]) > 100:
        raise BadWindow(f"{name!r} is none of {', '.join(_SIMPLE)} and no percentile from p0 to p100")
    return float(found[1])


# --- windows -----------------------------------------------------------------------------------------------------------


def of_numbers(start_us: int, values: Sequence[float], ranks: Sequence[float] = ()) -> Summary:
    """The window of these values, in order of time; at least one."""
    ordered = sorted(values) if ranks else []
    low, high = (ordered[0], ordered[-1]) if ranks else (min(values), max(values))
    found = tuple(percentile(ordered, rank) for rank in ranks)
    return Summary(start_us, len(values), exact_sum(values), low, high, values[0], values[-1], found)


def percentile(ordered: Sequence[float], rank: float) -> float:
    """The value below which ``rank`` per cent of the sorted values lie."""
    place = rank / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    low, high, share = ordered[below], ordered[above], place - below
    return low if low == high else low * (1 - share) + high * share


def exact_sum(values: Iterable[float]) -> float:
    """The sum, rounded once; beyond the largest double it is that."""
    values = list(values)
    try:
        return math.fsum(values)
    except OverflowError:
        scaled = math.fsum(value / 2**64 for value in values)
        return scaled * 2**64 if abs(scaled) < _SUM_MAX / 2**64 else math.copysign(_SUM_MAX, scaled)


def joined(start_us: int, parts: Sequence[Summary]) -> Summary:
    """One window of narrower ones, which are in order of time; percentiles cannot be joined."""
    low, high = min(part.low for part in parts if part.low is not None), max(part.high for part in parts if part.high is not None)
    total = exact_sum(part.total for part in parts if part.total is not None)
    return Summary(start_us, sum(part.number for part in parts), total, low, high, parts[0].first, parts[-1].last)


# --- points ------------------------------------------------------------------------------------------------------------


def _average(window: Summary) -> float | None:
    """Between lowest and highest; None where the sum stopped at the largest double, unless all values are the same."""
    if window.total is None or window.low is None or window.high is None:
        return None
    if abs(window.total) >= _SUM_MAX and window.low != window.high:
        return None
    return min(max(window.total / window.number, window.low), window.high)


_SIMPLE: dict[str, Callable[[Summary], Value | None]] = {
    "avg": _average,
    "min": lambda window: window.low,
    "max": lambda window: window.high,
    "sum": lambda window: window.total,
    "count": lambda window: window.number,
    "first": lambda window: window.first,
    "last": lambda window: window.last,
}


def points(windows: Iterable[Summary], asked: Asked) -> list[dict[str, Any]]:
    """Each window as ``{"t": its start, name: value, ...}``; null for what a window does not have."""
    ranked = iter(range(len(asked.ranks)))
    columns = [_SIMPLE[name] if name in _SIMPLE else _ranked(next(ranked)) for name in asked.names]
    names, windows = ("t", *asked.names), list(windows)
    rows = zip([window.start_us for window in windows], *(map(of, windows) for of in columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _ranked(place: int) -> Callable[[Summary], float | None]:
    return lambda window: window.ranks[place] if window.ranks else None


def filled(
    given: Sequence[dict[str, Any]],
    asked: Asked,
    from_us: int,
    to_us: int,
    window_us: int,
    how: str,
    known_from_us: int = INT64_MIN,
) -> list[dict[str, Any]]:
    """``given`` with a point for every window of the range. ``how``: null, previous, linear or zero; a count is always 0.

    ``linear`` between two numbers, else null; ``previous`` from within the range. Windows that begin before ``known_from_us``
    are not empty but unknown: all of theirs is null, their count, too.
    """
    out: list[dict[str, Any]] = []
    at_us, before = from_us, None
    for point in [*given, None]:
        end_us = to_us if point is None else point["t"]
        out += [
            _made(t_us, asked, before, point, how) if t_us >= known_from_us else {"t": t_us, **dict.fromkeys(asked.names)}
            for t_us in range(at_us, end_us, window_us)
        ]
        if point is not None:
            out.append(point)
            at_us, before = point["t"] + window_us, point
    return out


def _made(t_us: int, asked: Asked, before: dict[str, Any] | None, after: dict[str, Any] | None, how: str) -> dict[str, Any]:
    point: dict[str, Any] = {"t": t_us}
    for name in asked.names:
        if name == "count" or how == "zero":
            point[name] = 0
        elif how == "previous" and before is not None:
            point[name] = before[name]
        elif how == "linear" and before is not None and after is not None:
            point[name] = _between(before["t"], before[name], after["t"], after[name], t_us)
        else:
            point[name] = None
    return point


def _between(t0_us: int, v0: Any, t1_us: int, v1: Any, t_us: int) -> float | None:
    if not isinstance(v0, float | int) or not isinstance(v1, float | int):
        return None
    share = (t_us - t0_us) / (t1_us - t0_us)
    return v0 * (1 - share) + v1 * share


def grouped(rows: Iterable[tuple[int, Any]], window_us: int) -> Iterator[tuple[int, list[Any]]]:
    """(time, value) in order of time as (start of window, its values)."""
    start_us, end_us = 0, None
    values: list[Any] = []
    for t_us, value in rows:
        if end_us is None or t_us >= end_us:
            if values:
                yield start_us, values
            start_us = t_us - t_us % window_us
            end_us, values = start_us + window_us, []
        values.append(value)
    if values:
        yield start_us, values
