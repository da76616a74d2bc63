"""A whole topic, read from where the store says: positions move in the transaction of what was taken, so each record counts once.

For consumers that are one process each; recorders share theirs by a group (``recorder``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import structlog
from simway_backbone.log import PATIENCE_S, Log, OffsetGone, Reader, Record
from simway_backbone.read_ahead import ReadAhead
from sqlalchemy import Connection

from simway_flask_app.store import positions
from simway_flask_app.store.positions import Follower, Gap
from simway_flask_app.store.sql import SqlStore

log = structlog.get_logger()


class StoredReader:
    """``load``, ``open``, then ``poll`` and ``taking`` by turns; after ``close`` again from ``load``. Of one thread.

    ``on_missing`` is told how many records retention took before they were read.
    """

    def __init__(
        self, source: Log, store: SqlStore, consumer: str, topic: str, *, on_missing: Callable[[int], object],
        now_us: Callable[[], int], patience_s: float = PATIENCE_S,
    ) -> None:  # fmt: skip
        self._log, self._store, self._topic = source, store, topic
        self._on_missing, self._now_us, self._patience_s = on_missing, now_us, patience_s
        self._follower = Follower(consumer, "", topic)
        self._next: dict[int, int] = {}
        self._reader: Reader | None = None
        self._ahead: ReadAhead | None = None
        self.newest_us: int | None = None
        """When the newest record that was taken was appended; None before the first."""

    @property
    def positions(self) -> dict[int, int]:
        """The next offset of each partition; empty before the first ``load``. Any thread may ask."""
        return self._next.copy()

    @property
    def is_open(self) -> bool:
        """Whether it can be polled."""
        return self._reader is not None

    def load(self) -> None:
        """Reads the positions. Blocks; raises ``LogError`` and ``StoreError``."""
        self._follower = Follower(self._follower.consumer, self._log.identity(self._topic), self._topic)
        with self._store.reading() as connection:
            known = positions.load(connection, self._follower)
        self._next = {partition: known.get(partition, 0) for partition in range(self._log.partitions(self._topic))}

    def open(self, *, ahead_max: int = 0) -> None:
        """Begins to read at the loaded positions; ``ahead_max``: ahead, so many records, and to be woken. Raises ``LogError``."""
        reader = self._log.reader(self._topic, self._next, patience_s=self._patience_s)
        self._ahead = ReadAhead(reader, ahead_max) if ahead_max else None
        self._reader = self._ahead or reader

    @property
    def is_quiet(self) -> bool:
        """Whether an empty ``poll`` means that nothing is left: one that was woken may have come too soon to tell."""
        return self._ahead is None or self._ahead.is_quiet

    def wake(self) -> None:
        """Ends a ``poll`` at once, if it reads ahead; from any thread."""
        ahead = self._ahead
        if ahead is not None:
            ahead.wake()

    def close(self) -> None:
        """Frees the reader."""
        if self._reader is not None:
            self._reader.close()
            self._reader = self._ahead = None

    def poll(self, wait_s: float, records_max: int) -> Sequence[Record] | None:
        """What comes next, perhaps nothing. None: retention had taken it, which is noted, and the next poll goes on behind that.

        It must be open. Blocks for ``wait_s`` at most, on the store besides. Raises ``LogError`` and ``StoreError``.
        """
        assert self._reader is not None
        try:
            return self._reader.poll(wait_s, records_max)
        except OffsetGone as gone:
            self._skip(self._reader, gone)
            return None

    @contextmanager
    def taking(self, records: Sequence[Record], transaction: AbstractContextManager[Connection]) -> Iterator[Connection]:
        """``transaction``, in which the positions move behind ``records``. Raises ``PositionMoved`` where others moved them."""
        moves = {record.partition: (self._next[record.partition], record.offset + 1) for record in records}
        with transaction as connection:
            positions.advance(connection, self._follower, moves)
            yield connection
        self._next |= {partition: after for partition, (_, after) in moves.items()}
        self.newest_us = max(record.appended_us for record in records)

    def _skip(self, reader: Reader, gone: OffsetGone) -> None:
        expected = self._next[gone.partition]
        target = gone.going_on_at
        missing = max(0, target - expected)
        log.error("records are gone from the log before they were read", topic=self._topic, detail=str(gone), going_on_at=target)
        with self._store.transaction() as connection:
            positions.advance(connection, self._follower, {gone.partition: (expected, target)})
            if missing:
                positions.note_gap(connection, self._follower, Gap(gone.partition, expected, target - 1), self._now_us())
        self._next[gone.partition] = target
        self._on_missing(missing)
        reader.seek(gone.partition, target)
