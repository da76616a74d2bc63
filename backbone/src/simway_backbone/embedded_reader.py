"""Reading the embedded log: polls with one short query, so that no open read keeps a WAL from being reused.

A reader without news looks first at the time of the WAL file's last change, which costs a twentieth of a query: every append
writes to the WAL. A change within the clock's last tick could hide a further one, so only an *old* unchanged time counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from simway_backbone import sqlite
from simway_backbone.embedded_segments import Offsets, Segment, SegmentMissing, TopicFiles, readable_errors
from simway_backbone.log import PATIENCE_S, OffsetGone, Record, refuse_append

PAUSE_MIN_S = 0.001
"""The first pause between two looks at a topic without news; doubles up to the reader's patience."""
WAL_TIME_TRUSTED_NS = 50_000_000
"""A file's time of change has at worst the resolution of the kernel's tick, 10 ms."""
LOOK_ANYWAY_S = 0.2
"""Between two queries, and looks at whether the segment was closed, without any sign of news: an append whose fsync takes longer
than the trust above becomes visible only after it, and leaves no newer time."""


def find_bounds(files: TopicFiles) -> dict[int, tuple[int, int]]:
    """Per partition: the earliest offset that is there, and the next one."""
    while True:
        newest = files.open_newest()
        try:
            with readable_errors(newest.path):
                heads = newest.heads()
            oldest = files.open(files.numbers()[0])
        except SegmentMissing:
            continue  # retention took it while we looked
        finally:
            newest.close()
        earliest = oldest.bases
        oldest.close()
        return {partition: (earliest[partition], head) for partition, head in heads.items()}


class EmbeddedReader:
    """See ``Reader``."""

    def __init__(self, files: TopicFiles, partitions: int, positions: Offsets, patience_s: float = PATIENCE_S) -> None:
        self._files, self._partitions, self._patience_s = files, partitions, patience_s
        self._positions = self._checked(positions)
        self._segment: Segment | None = None
        self._last_seq = 0
        self._look_anyway_at_s = 0.0
        self._wal_changed_ns = 0

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """See ``Reader``."""
        deadline_s = time.monotonic() + timeout_s
        pause_s = PAUSE_MIN_S
        while True:
            segment = self._segment or self._open_at_positions()
            found, went_on = self._read(segment, max_records) if self._may_have_news(segment) else ([], False)
            left_s = deadline_s - time.monotonic()
            if found or (left_s <= 0 and not went_on):
                return found
            if not went_on:
                time.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, self._patience_s)

    def seek(self, partition: int, offset: int) -> None:
        """See ``Reader``."""
        if partition not in self._positions:
            raise KeyError(f"{self._files.topic}/{partition} is not read by this reader")
        self._positions[partition] = offset
        self.close()

    @property
    def positions(self) -> Mapping[int, int]:
        """See ``MovableReader``."""
        return self._positions

    def assign(self, positions: Mapping[int, int]) -> None:
        """See ``MovableReader``."""
        self._positions = self._checked(positions)
        self.close()

    def close(self) -> None:
        """See ``Reader``."""
        if self._segment:
            self._segment.close()
        self._segment = None

    def _checked(self, positions: Mapping[int, int]) -> Offsets:
        for partition in positions:
            if refused := refuse_append(self._files.topic, partition, self._partitions, [(None, b"")]):
                raise refused
        return dict(positions)

    def _read(self, segment: Segment, max_records: int) -> tuple[list[Record], bool]:
        """The next records; True when there may be more at once (rows that were not for us, or the next segment)."""
        rows = self._next_rows(segment, max_records)
        if not rows:
            if not self._is_closed(segment):
                return [], False
            rows = self._next_rows(segment, max_records)  # what came before it was closed
        if not rows:
            self._go_to_next(segment)
            return [], True
        self._last_seq = rows[-1][0]
        positions = self._positions
        found = [Record(*row[1:]) for row in rows if row[2] >= positions[row[1]]]
        for record in found:
            positions[record.partition] = record.offset + 1
        return found, True

    def _next_rows(self, segment: Segment, max_records: int) -> list[Any]:
        only = "" if len(self._positions) == self._partitions else f"AND partition IN ({','.join(map(str, self._positions))})"
        sql = f'SELECT seq, partition, "offset", key, value, appended_us FROM records WHERE seq > ? {only} ORDER BY seq LIMIT ?'
        with self._damage_told(segment):
            return sqlite.rows(segment.db, sql, (self._last_seq, max_records))

    def _may_have_news(self, segment: Segment) -> bool:
        if time.monotonic() >= self._look_anyway_at_s:
            return True
        try:
            changed_ns = os.stat(segment.wal_path).st_mtime_ns
        except OSError:
            return True
        unchanged = changed_ns == self._wal_changed_ns and time.time_ns() - changed_ns > WAL_TIME_TRUSTED_NS
        self._wal_changed_ns = changed_ns
        return not unchanged

    def _is_closed(self, segment: Segment) -> bool:
        now_s = time.monotonic()
        if now_s < self._look_anyway_at_s:
            return False
        self._look_anyway_at_s = now_s + LOOK_ANYWAY_S
        with self._damage_told(segment):
            return segment.closed()

    @contextmanager
    def _damage_told(self, segment: Segment) -> Iterator[None]:
        """After an error the next poll opens the segment anew."""
        try:
            with readable_errors(segment.path):
                yield
        except BaseException:
            self.close()
            raise

    def _go_to_next(self, segment: Segment) -> None:
        """From the end of a closed segment to the next one; where that is gone, the positions decide."""
        self.close()
        with suppress(SegmentMissing):
            self._segment, self._last_seq = self._files.open(segment.number + 1), 0
            self._look_anyway_at_s = 0.0

    def _open_at_positions(self) -> Segment:
        """Opens the segment with the first record still to be read; ``OffsetGone`` when one of the positions is not there."""
        while True:
            wanted, start = dict(self._positions), None
            for number in self._files.numbers():
                try:
                    segment = self._files.open(number)
                except SegmentMissing:
                    continue
                try:
                    with readable_errors(segment.path), _one_state(segment):
                        before, newest = self._locate(segment, wanted)
                        if before is None and newest:
                            before = _last_seq(segment)  # all read: only what comes now
                except BaseException:
                    segment.close()
                    raise
                if start is None and before is not None:
                    start, self._last_seq = segment, before
                else:
                    segment.close()
                if newest and start:
                    self._segment = start
                    return start
            if start:
                start.close()  # the newest segment was rolled while we looked

    def _locate(self, segment: Segment, wanted: Offsets) -> tuple[int | None, bool]:
        """Takes from ``wanted`` what begins in this segment; the ``seq`` before the first of it; whether it is the newest."""
        heads, newest = segment.heads(), not segment.closed()
        befores = []
        for partition, offset in list(wanted.items()):
            base, head = segment.bases[partition], heads[partition]
            if offset < base or (newest and offset > head):
                end = head if newest else find_bounds(self._files)[partition][1]
                raise OffsetGone(self._files.topic, partition, offset, base if offset < base else self._earliest(partition), end)
            if offset < head:
                del wanted[partition]
                befores.append(_seq_before(segment, partition, offset))
        return min(befores, default=None), newest

    def _earliest(self, partition: int) -> int:
        return find_bounds(self._files)[partition][0]


@contextmanager
def _one_state(segment: Segment) -> Iterator[None]:
    """What is read within is of one moment."""
    segment.db.execute("BEGIN")
    try:
        yield
    finally:
        segment.db.execute("COMMIT")


def _seq_before(segment: Segment, partition: int, offset: int) -> int:
    sql = 'SELECT seq - 1 FROM records WHERE partition = ? AND "offset" >= ? ORDER BY "offset" LIMIT 1'
    return int(sqlite.value(segment.db, sql, (partition, offset)))


def _last_seq(segment: Segment) -> int:
    return int(sqlite.value(segment.db, "SELECT coalesce(max(seq), 0) FROM records"))
