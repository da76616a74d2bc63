"""Topic ``dead-letter`` into the store, each letter once: what gateways put aside can then be listed and replayed.

Positions are kept in the store, in the transaction of the letters. The store's own letters, which are on the topic for
others, are passed over. It is a reader beside the dispatcher's work and never holds that up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event

import structlog
from simway_backbone.log import Log, LogError, OffsetGone, Reader, Record
from simway_protocol.messages import BadMessage, DeadLetter, decode

from simway_flask_app.clock import utc_now_us
from simway_flask_app.store import letters, positions
from simway_flask_app.store.port import StoreError
from simway_flask_app.store.positions import Follower, Gap, PositionMoved
from simway_flask_app.store.sql import SqlStore

log = structlog.get_logger()

TOPIC = "dead-letter"
CONSUMER = "letters"
POLL_S = 1.0
PATIENCE_S = 0.25
"""So late may a letter be seen: nobody waits for it, and looks cost."""
RECORDS_MAX = 500
RETRY_S = 2.0
PAYLOAD_MAX_BYTES = 64 * 1024
"""So much of a record that does not decode is kept."""


class LetterKeeper:
    """``run`` blocks until ``stopping`` is set. ``turn`` is one round of it, for tests. One runs at a time; two do no harm."""

    def __init__(
        self, source: Log, store: SqlStore, *, stopping: Event, on_missing: Callable[[int], None] | None = None,
        now_us: Callable[[], int] = utc_now_us,
    ) -> None:  # fmt: skip
        self._log, self._store, self._stopping, self._on_missing, self._now_us = source, store, stopping, on_missing, now_us
        self._follower = Follower(CONSUMER, "", TOPIC)
        self._next: dict[int, int] = {}
        self._reader: Reader | None = None
        self.newest_us: int | None = None
        """When the newest record that was taken was appended; None before the first."""

    def run(self) -> None:
        """Keeps letters until told to stop; waits for a log or store that is away."""
        while not self._stopping.is_set():
            try:
                self.turn()
            except (LogError, StoreError) as error:
                log.warning("dead letters wait in their topic", detail=str(error))
                self.close()
                self._stopping.wait(RETRY_S)
        self.close()

    def turn(self, poll_s: float = POLL_S) -> int:
        """One round; gives how many records it took. Raises ``LogError`` and ``StoreError``."""
        reader = self._reader = self._reader or self._begin()
        try:
            records = reader.poll(poll_s, RECORDS_MAX)
        except OffsetGone as gone:
            self._skip(reader, gone)
            return 0
        if records:
            try:
                self._take(records)
            except PositionMoved:
                self.close()
        return len(records)

    @property
    def positions(self) -> Mapping[int, int]:
        """The next offset by partition; empty before the first round."""
        return dict(self._next)

    def close(self) -> None:
        """Frees the reader; the next ``turn`` begins at the stored positions."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _begin(self) -> Reader:
        self._follower = Follower(CONSUMER, self._log.identity(TOPIC), TOPIC)
        with self._store.reading() as connection:
            known = positions.load(connection, self._follower)
        self._next = {partition: known.get(partition, 0) for partition in range(self._log.partitions(TOPIC))}
        return self._log.reader(TOPIC, self._next, patience_s=PATIENCE_S)

    def _take(self, records: Sequence[Record]) -> None:
        now_us = self._now_us()
        moves = {record.partition: (self._next[record.partition], record.offset + 1) for record in records}
        with self._store.transaction() as connection:
            positions.advance(connection, self._follower, moves)
            letters.keep(connection, [_letter_in(record, now_us) for record in records], now_us)
        self._next |= {partition: after for partition, (_, after) in moves.items()}
        self.newest_us = max(record.appended_us for record in records)

    def _skip(self, reader: Reader, gone: OffsetGone) -> None:
        """Retention of the topic took letters before they were read: written down and counted."""
        expected = self._next[gone.partition]
        target = gone.earliest if gone.wanted < gone.earliest else gone.end
        missing = max(0, target - expected)
        log.error("dead letters are gone from their topic before they were read", detail=str(gone), going_on_at=target)
        with self._store.transaction() as connection:
            positions.advance(connection, self._follower, {gone.partition: (expected, target)})
            if missing:
                positions.note_gap(connection, self._follower, Gap(gone.partition, expected, target - 1), self._now_us())
        self._next[gone.partition] = target
        if self._on_missing is not None:
            self._on_missing(missing)
        reader.seek(gone.partition, target)


def _letter_in(record: Record, now_us: int) -> DeadLetter:
    """The letter of a record; one about the record itself where that does not decode."""
    try:
        letter: DeadLetter = decode(TOPIC, record.value)
        return letter
    except BadMessage as error:
        where = f"{TOPIC}/{record.partition} offset {record.offset}: {error}"
        log.error("a dead letter does not decode; it is kept as it is", detail=where)
        return DeadLetter(CONSUMER, "corrupt_record", now_us, detail=where, payload=record.value[:PAYLOAD_MAX_BYTES])
