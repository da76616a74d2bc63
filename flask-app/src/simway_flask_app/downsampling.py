"""Fewer points for a chart that is so many pixels wide. Pure; gives the places of the points that stay."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def lttb(times: Sequence[int], values: Sequence[float], points_max: int) -> list[int]:
    """Largest triangle, three buckets (Steinarsson 2013, 4.2): of each bucket the point that shapes the line most.

    Ends stay; all stay when they are no more than ``points_max`` (2 or more).
    """
    total = len(times)
    if total <= points_max:
        return list(range(total))
    if points_max == 2:
        return [0, total - 1]
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
    """The first, the last, and the lowest and the highest value of each bucket of time between them; of equal ones the first.

    Places in order. The first bucket begins with the first point.
    """
    if len(times) < 3:
        return list(range(len(times)))
    chosen = {0, len(times) - 1}
    low = high = 1
    end_us = times[0] + bucket_us
    for place in range(1, len(times) - 1):
        if times[place] >= end_us:
            chosen |= {low, high} if place > 1 else set()
            low = high = place
            end_us += (times[place] - end_us) // bucket_us * bucket_us + bucket_us
        elif values[place] < values[low]:
            low = place
        elif values[place] > values[high]:
            high = place
    return sorted(chosen | {low, high})


def bucket_us(span_us: int, points_max: int, multiple_us: int = 1) -> int:
    """The width of buckets of ``extremes`` such that a range of ``span_us`` gives at most ``points_max`` points (4 or more).

    A whole multiple of ``multiple_us``.
    """
    width_us = max(1, -(-span_us // (points_max // 2 - 1)))
    return -(-width_us // multiple_us) * multiple_us


def minmax(times: Sequence[int], values: Sequence[float], points_max: int) -> list[int]:
    """``extremes`` of as many buckets as ``points_max`` (4 or more) allows; what they leave of it are points in even steps."""
    if len(times) <= points_max:
        return list(range(len(times)))
    chosen = extremes(times, values, bucket_us(times[-1] - times[0] + 1, points_max))
    left = points_max - len(chosen)
    taken = set(chosen)
    rest = [place for place in range(len(times)) if place not in taken]
    return sorted([*chosen, *(rest[number * len(rest) // left] for number in range(left))])


def thinned(points: Sequence[dict[str, Any]], name: str, points_max: int, reduction: str) -> Sequence[dict[str, Any]]:
    """At most ``points_max`` (4 or more) of points that have a time ``t``, chosen by their value ``name``.

    When there are too many, of those where that is no number one stays between two points that such a gap separates. Where none
    is a number the last of each even part stays, of those that have a value if any has.
    """
    if len(points) <= points_max:
        return points
    places = [place for place, point in enumerate(points) if isinstance(point[name], float | int)]
    if not places:
        valued = [place for place, point in enumerate(points) if point[name] is not None] or range(len(points))
        if len(valued) <= points_max:
            return [points[place] for place in valued]
        return [points[valued[(part + 1) * len(valued) // points_max - 1]] for part in range(points_max)]
    gaps = sum(after - before > 1 for before, after in pairwise(places))
    kept_max = max(points_max - gaps, (points_max + 1) // 2)
    times, values = [points[place]["t"] for place in places], [points[place][name] for place in places]
    reduce = lttb if reduction == "lttb" or kept_max < 4 else minmax
    kept = [places[number] for number in reduce(times, values, kept_max)]
    numbers = set(places)
    breaks = (
        next((place for place in range(before + 1, after) if place not in numbers), None) for before, after in pairwise(kept)
    )
    return [points[place] for place in sorted([*kept, *(place for place in breaks if place is not None)])]
