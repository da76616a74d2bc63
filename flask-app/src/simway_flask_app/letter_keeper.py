"""Topic ``dead-letter`` into the store, each letter once: what gateways put aside can then be listed and replayed.

Positions are kept in the store, in the transaction of the letters. The store's own letters, which are on the topic for
others, are passed over. It is a reader beside the dispatcher's work and never holds that up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

import structlog
from simway_backbone.log import Log, LogError, Record
from simway_protocol.messages import BadMessage, DeadLetter, decode

from simway_flask_app.clock import utc_now_us
from simway_flask_app.store import letters
from simway_flask_app.store.port import StoreError
from simway_flask_app.store.positions import PositionMoved
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.stored_reader import StoredReader

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
        self, source: Log, store: SqlStore, *, stopping: Event, on_missing: Callable[[int], object] = lambda _: None,
        now_us: Callable[[], int] = utc_now_us,
    ) -> None:  # fmt: skip
        self._store, self._stopping, self._now_us = store, stopping, now_us
        self.source = StoredReader(
            source, store, CONSUMER, TOPIC, on_missing=on_missing, now_us=now_us, patience_s=PATIENCE_S
        )  # fmt: skip

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
        if not self.source.is_open:
            self.source.load()
            self.source.open()
        records = self.source.poll(poll_s, RECORDS_MAX)
        if not records:
            return 0
        try:
            self._take(records)
        except PositionMoved:
            self.close()
        return len(records)

    def close(self) -> None:
        """Frees the reader; the next ``turn`` begins at the stored positions."""
        self.source.close()

    def _take(self, records: Sequence[Record]) -> None:
        now_us = self._now_us()
        with self.source.taking(records, self._store.transaction()) as connection:
            letters.keep(connection, [_letter_in(record, now_us) for record in records], now_us)


def _letter_in(record: Record, now_us: int) -> DeadLetter:
    """The letter of a record; one about the record itself where that does not decode."""
    try:
        letter: DeadLetter = decode(TOPIC, record.value)
        return letter
    except BadMessage as error:
        where = f"{TOPIC}/{record.partition} offset {record.offset}: {error}"
        log.error("a dead letter does not decode; it is kept as it is", detail=where)
        return DeadLetter(CONSUMER, "corrupt_record", now_us, detail=where, payload=record.value[:PAYLOAD_MAX_BYTES])
