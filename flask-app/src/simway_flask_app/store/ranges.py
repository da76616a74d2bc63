"""Sequence numbers of one epoch, as ranges: what came, what did not, what the device gave up (design, sections 6 and 7). Pure.

Kept are the highest number and the gaps below it, not what came: a device that loses nothing costs one number. Ranges are
bounded: beyond ``GAPS_MAX`` the oldest are only counted, and ``floor`` rises above them. Numbers up to the floor are no longer
told apart: whoever stores readings asks the table which of them are new (``doubtful``), and then says so (``fill``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from simway_protocol.messages import Range

GAPS_MAX = 4096


def count(ranges: Iterable[Range]) -> int:
    """How many numbers the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def overlap(ranges: list[Range], first: int, last: int) -> list[Range]:
    """The parts of sorted, disjoint ``ranges`` within ``first..last``."""
    found = []
    for index in range(bisect_left(ranges, first, key=_last), len(ranges)):
        low, high = ranges[index]
        if low > last:
            break
        found.append((max(low, first), min(high, last)))
    return found


def subtract(ranges: list[Range], first: int, last: int) -> list[Range]:
    """Sorted, disjoint ``ranges`` without ``first..last``."""
    begin = bisect_left(ranges, first, key=_last)
    kept, end = [], begin
    while end < len(ranges) and ranges[end][0] <= last:
        low, high = ranges[end]
        kept += [(low, first - 1)] if low < first else []
        kept += [(last + 1, high)] if high > last else []
        end += 1
    return ranges[:begin] + kept + ranges[end:]


def add(ranges: list[Range], first: int, last: int) -> list[Range]:
    """Sorted, disjoint ``ranges`` with ``first..last``, which is not among them; neighbours are joined."""
    index = bisect_left(ranges, first, key=_last)
    before, after = ranges[:index], ranges[index:]
    if before and before[-1][1] == first - 1:
        first = before.pop()[0]
    if after and after[0][0] == last + 1:
        last = after.pop(0)[1]
    return [*before, (first, last), *after]


def _last(item: Range) -> int:
    return item[1]


@dataclass(slots=True)
class Sequence:
    """What is known of an epoch's numbers, from 1 to ``highest``.

    ``missing``: above the floor, neither come nor given up; ``dropped``: above the floor, given up by the device and not come.
    ``missing_below``, ``dropped_below``: how many such numbers there are up to the floor.
    """

    highest: int = 0
    floor: int = 0
    missing_below: int = 0
    missing: list[Range] = field(default_factory=list)
    dropped: list[Range] = field(default_factory=list)
    dropped_below: int = 0

    def take(self, first: int, last: int) -> list[Range]:
        """Notes that ``first..last`` came; gives those parts above the floor that came for the first time, sorted.

        What the device had given up and yet arrives counts as come, and no longer as dropped.
        """
        if first == self.highest + 1:
            self.highest = last
            return [(first, last)]
        fresh = self._fresh(first, last)
        if self.dropped:
            fresh = sorted(fresh + self._undropped(first, last))
        self._forget()
        return fresh

    def doubtful(self, first: int, last: int) -> int:
        """How many of ``first..last``, its first ones, lie up to the floor. Ask before ``take``, which leaves them out."""
        return max(0, min(last, self.floor) - first + 1)

    def fill(self, total: int) -> int:
        """Notes that ``total`` numbers up to the floor came after all; gives how many of them can be new: those still to come."""
        missing = min(self.missing_below, total)
        dropped = min(self.dropped_below, total - missing)
        self.missing_below -= missing
        self.dropped_below -= dropped
        return missing + dropped

    def drop(self, first: int, last: int) -> int:
        """Notes that the device gave ``first..last`` up; gives how many of them were not accounted for before."""
        below = min(self.missing_below, max(0, min(last, self.floor) - first + 1))
        self.missing_below -= below
        self.dropped_below += below
        fresh = self._fresh(first, last)
        for part in fresh:
            self.dropped = add(self.dropped, *part)
        self._forget()
        return below + count(fresh)

    @property
    def missing_count(self) -> int:
        """How many numbers up to ``highest`` never came, and were not given up."""
        return self.missing_below + count(self.missing)

    @property
    def dropped_count(self) -> int:
        """How many numbers the device gave up, and did not send after all."""
        return self.dropped_below + count(self.dropped)

    def _fresh(self, first: int, last: int) -> list[Range]:
        """The parts that were missing above the floor or are beyond the highest; missing no longer."""
        fresh: list[Range] = []
        if first <= self.highest:
            fresh = overlap(self.missing, first, last)
            for part in fresh:
                self.missing = subtract(self.missing, *part)
        if last > self.highest:
            begin = max(first, self.highest + 1)
            if begin > self.highest + 1:
                self.missing.append((self.highest + 1, begin - 1))
            fresh.append((begin, last))
            self.highest = last
        return fresh

    def _undropped(self, first: int, last: int) -> list[Range]:
        found = overlap(self.dropped, first, last)
        for part in found:
            self.dropped = subtract(self.dropped, *part)
        return found

    def _forget(self) -> None:
        """Raises the floor over the oldest ranges until as many are left as are kept."""
        while len(self.missing) + len(self.dropped) > GAPS_MAX:
            oldest_dropped = not self.missing or bool(self.dropped and self.dropped[0] < self.missing[0])
            oldest = (self.dropped if oldest_dropped else self.missing).pop(0)
            if oldest_dropped:
                self.dropped_below += oldest[1] - oldest[0] + 1
            else:
                self.missing_below += oldest[1] - oldest[0] + 1
            self.floor = oldest[1]
