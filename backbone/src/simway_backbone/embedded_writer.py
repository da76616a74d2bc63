"""The writer thread of the embedded log: group commit.

All appends that wait when the thread comes round go into one transaction per topic, so 24 partitions' batches cost one fsync. A
commit is usually *one* SQL statement in autocommit, whose offsets come from memory: a busy event loop thread may keep the
interpreter for 5 ms at each of our steps, so steps are what a commit must not have many of. Where another process has written
in between, the unique index on (partition, offset) refuses the statement; then the offsets are read anew under BEGIN IMMEDIATE.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import apsw

from simway_backbone import sqlite
from simway_backbone.embedded_segments import Offsets, Segment, TopicFiles, now_us, readable_errors
from simway_backbone.log import Append, LogUnavailable

GROUP_MAX_BYTES = 4_000_000
"""One transaction takes about this much."""
STATEMENT_MAX_ROWS = 200
"""Rows in one statement; each number of rows is a statement of its own, which apsw keeps prepared."""
STATEMENT_MAX_VALUES = 4 * STATEMENT_MAX_ROWS
FULL_AFTER_CONFLICT = 100
"""So many commits read the offsets anew after another process was seen to write."""


class Conflict(Exception):
    """The segment has other heads than we thought, or is closed."""


class TopicWriter:
    """Writes one topic; the writer thread's alone."""

    def __init__(self, files: TopicFiles, compacted: bool) -> None:
        self.files, self._compacted = files, compacted
        self.segment: Segment | None = None
        self._heads: Offsets | None = None
        self._others_write = 0

    def write(self, appends: list[Append]) -> list[int]:
        """Commits all of them, durable when this returns; the first offset of each."""
        while True:
            segment = self.segment = self.segment or self.files.open_newest()
            with readable_errors(segment.path):
                try:
                    return self._write_to(segment, appends)
                except Conflict:
                    pass
            self.reset()

    def reset(self) -> None:
        """Forgets the open segment: it is closed, or its disk failed."""
        if self.segment:
            self.segment.close()
        self.segment, self._heads = None, None

    def _write_to(self, segment: Segment, appends: list[Append]) -> list[int]:
        firsts = self._write_at_once(segment, appends)
        if firsts is not None:
            return firsts
        with sqlite.immediate(segment.db):
            if segment.closed():
                raise Conflict
            heads = segment.heads()
            firsts, values = _number(appends, heads)
            for start in range(0, len(values), STATEMENT_MAX_VALUES):
                _insert(segment.db, values[start : start + STATEMENT_MAX_VALUES])
            if self._compacted:
                _compact(segment.db, appends)
        self._heads = heads
        return firsts

    def _write_at_once(self, segment: Segment, appends: list[Append]) -> list[int] | None:
        """One statement, with the offsets that we remember; None when it must be done in full."""
        if self._others_write > 0:
            self._others_write -= 1
            return None
        if self._heads is None or self._compacted:
            return None
        heads = dict(self._heads)
        firsts, values = _number(appends, heads)
        if len(values) > STATEMENT_MAX_VALUES:
            return None
        try:
            _insert(segment.db, values)
        except Conflict:
            return None
        except apsw.ConstraintError:
            self._others_write = FULL_AFTER_CONFLICT
            return None
        self._heads = heads
        return firsts


def _number(appends: list[Append], heads: Offsets) -> tuple[list[int], list[Any]]:
    """First offsets, and the flat values of the rows; moves ``heads`` on."""
    firsts: list[int] = []
    values: list[Any] = []
    for append in appends:
        offset = heads[append.partition]
        firsts.append(offset)
        for key, value in append.records:
            values += (append.partition, offset, key, value)
            offset += 1
        heads[append.partition] = offset
    return firsts, values


def _insert(db: apsw.Connection, values: list[Any]) -> None:
    rows = len(values) // 4
    db.execute(_insert_sql(rows), [now_us(), *values])
    if db.changes() != rows:
        raise Conflict


@lru_cache(maxsize=STATEMENT_MAX_ROWS)
def _insert_sql(rows: int) -> str:
    return (
        'INSERT INTO records (partition, "offset", appended_us, key, value) '
        "SELECT column1, column2, ?1, column3, column4 "
        f"FROM (VALUES {','.join(['(?,?,?,?)'] * rows)}) WHERE NOT (SELECT closed FROM state)"
    )


def _compact(db: apsw.Connection, appends: list[Append]) -> None:
    keys = {key for append in appends for key, _ in append.records if key is not None}
    db.executemany(
        "DELETE FROM records WHERE key = ?1 AND seq < (SELECT max(seq) FROM records WHERE key = ?1)", [(key,) for key in keys]
    )


Maintain = Callable[[dict[str, TopicWriter]], None]


class WriterThread:
    """Takes appends from any thread and commits them. ``maintain`` is called now and then, between commits."""

    def __init__(self, open_topic: Callable[[str], TopicWriter], maintain: Maintain, maintain_every_s: float) -> None:
        self._open_topic, self._maintain, self._maintain_every_s = open_topic, maintain, maintain_every_s
        self._waiting: queue.SimpleQueue[Append | None] = queue.SimpleQueue()
        self._topics: dict[str, TopicWriter] = {}
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, append: Append, waiting_max_bytes: int) -> bool:
        """Queues an append; False when too much waits already, or the thread ends. Does not block."""
        with self._lock:
            if self._closed or self._waiting_bytes + append.size_bytes > waiting_max_bytes:
                return False
            self._waiting_bytes += append.size_bytes
            self._waiting.put(append)
        return True

    def close(self, timeout_s: float) -> None:
        """Commits what waits, then ends the thread; gives up after ``timeout_s``."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        going_on = True
        maintain_at_s = time.monotonic() + self._maintain_every_s
        while going_on:
            group, going_on = self._take_group(max(0.0, maintain_at_s - time.monotonic()))
            by_topic: dict[str, list[Append]] = {}
            for append in group:
                by_topic.setdefault(append.topic, []).append(append)
            for topic, appends in by_topic.items():
                self._commit(topic, appends)
            if time.monotonic() >= maintain_at_s:
                self._maintain(self._topics)
                maintain_at_s = time.monotonic() + self._maintain_every_s
        for topic_writer in self._topics.values():
            topic_writer.reset()

    def _take_group(self, wait_s: float) -> tuple[list[Append], bool]:
        """Waits for an append, then takes what else is there; False when the thread is to end."""
        group: list[Append] = []
        size = 0
        try:
            append = self._waiting.get(timeout=wait_s)
            while append is not None:
                group.append(append)
                size += append.size_bytes
                if size >= GROUP_MAX_BYTES:
                    break
                append = self._waiting.get_nowait()
        except queue.Empty:
            return group, True
        return group, append is not None

    def _commit(self, topic: str, appends: list[Append]) -> None:
        try:
            if topic not in self._topics:
                self._topics[topic] = self._open_topic(topic)
            firsts = self._topics[topic].write(appends)
        except Exception as error:
            self._fail(topic, appends, error)
        else:
            for append, first in zip(appends, firsts, strict=True):
                append.future.set_result(first)
        finally:
            with self._lock:
                self._waiting_bytes -= sum(append.size_bytes for append in appends)

    def _fail(self, topic: str, appends: list[Append], error: Exception) -> None:
        for append in appends:
            append.future.set_exception(error if isinstance(error, LogUnavailable) else LogUnavailable(f"{topic}: {error!r}"))
        if topic in self._topics:
            self._topics[topic].reset()
