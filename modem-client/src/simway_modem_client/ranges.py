"""Sets of sequence numbers as sorted, disjoint, non-touching ranges; both ends included. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from simway_protocol.messages import Range


def normalise(ranges: Iterable[Range]) -> list[Range]:
    """The same set in order, touching and overlapping ranges joined."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def subtract(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """What of ``ranges`` is not in ``taken``; both normalised."""
    left: list[Range] = []
    for first, last in ranges:
        start = first
        for taken_first, taken_last in taken:
            if taken_last < start or taken_first > last:
                continue
            if taken_first > start:
                left.append((start, taken_first - 1))
            start = taken_last + 1
        if start <= last:
            left.append((start, last))
    return left


def intersect(ranges: Sequence[Range], window: Range) -> list[Range]:
    """What of ``ranges`` lies in ``window``."""
    return [(max(first, window[0]), min(last, window[1])) for first, last in ranges if first <= window[1] and last >= window[0]]


def total(ranges: Iterable[Range]) -> int:
    """How many numbers the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def runs(numbers: Iterable[int]) -> Iterator[Range]:
    """Ascending numbers as ranges of neighbours."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
