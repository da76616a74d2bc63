"""Fewer points for a chart that is so many pixels wide. Pure; gives the places of the points that stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def lttb(times: Sequence[int], values: Sequence[float], points_max: int) -> list[int]:
    """Largest triangle, three buckets (Steinarsson 2013, 4.2): of each bucket the point that shapes the line most.

    Ends stay; all stay when they are no more than ``points_max`` (3 or more).
    """
    total = len(times)
    if total <= points_max:
        return list(range(total))
    bounds = [1 + (total - 2) * number // (points_max - 2) for number in range(points_max - 1)]
    chosen = [0]
    for begin, end, after in zip(bounds[:-1], bounds[1:], [*bounds[2:], total], strict=True):
        near = chosen[-1]
        x0, y0 = times[near], values[near]
        rest = range(end, after) if end < after else range(total - 1, total)
        x2 = sum(times[place] - x0 for place in rest) / len(rest)
        y2 = sum(values[place] / len(rest) for place in rest) - y0
        best, best_area = begin, -1.0
        for place in range(begin, end):
            area = abs((times[place] - x0) * y2 - x2 * (values[place] - y0))
            if area > best_area:
                best, best_area = place, area
        chosen.append(best)
    return [*chosen, total - 1]


def extremes(times: Sequence[int], values: Sequence[float], bucket_us: int) -> list[int]:
    """The places of the lowest and the highest value of each bucket of time, in order; of equal ones the first."""
    chosen: list[int] = []
    low = high = -1
    end_us = None
    for place, t_us in enumerate(times):
        if end_us is None or t_us >= end_us:
            if low >= 0:
                chosen += sorted({low, high})
            low = high = place
            end_us = t_us - t_us % bucket_us + bucket_us
            continue
        if values[place] < values[low]:
            low = place
        if values[place] > values[high]:
            high = place
    return chosen + sorted({low, high}) if low >= 0 else chosen


def bucket_us(span_us: int, points_max: int, multiple_us: int = 1) -> int:
    """The width of buckets of ``extremes`` such that a range of ``span_us`` gives at most ``points_max`` points (4 or more).

    A whole multiple of ``multiple_us``. Buckets begin at whole multiples of their width, so the range may cut one more.
    """
    width_us = max(1, -(-span_us // (points_max // 2 - 1)))
    return -(-width_us // multiple_us) * multiple_us


def thinned(points: Sequence[dict[str, Any]], name: str, points_max: int, reduction: str) -> Sequence[dict[str, Any]]:
    """At most ``points_max`` (4 or more) of points that have a time ``t``, chosen by their value ``name``.

    When there are too many, those where that is no number go first.
    """
    if len(points) <= points_max:
        return points
    points = [point for point in points if isinstance(point[name], float | int)]
    times, values = [point["t"] for point in points], [point[name] for point in points]
    if len(points) <= points_max:
        places: Sequence[int] = range(len(points))
    elif reduction == "lttb":
        places = lttb(times, values, points_max)
    else:
        places = extremes(times, values, bucket_us(times[-1] - times[0] + 1, points_max))
    return [points[place] for place in places]
