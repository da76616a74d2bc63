"""The store's outbox into the log: a message written twice is borne by every reader of the log, one left out would not be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import structlog
from simway_backbone import metrics
from simway_backbone.appends import MeteredAppends
from simway_backbone.log import Log, LogRefused, LogUnavailable
from simway_protocol.identity import partition_of

from simway_flask_app.store import outbox
from simway_flask_app.store.outbox import OutboxRow
from simway_flask_app.store.sql import SqlStore

log = structlog.get_logger()

UPLINK = "uplink"
PUBLISH_TIMEOUT_S = 15.0
ROWS_MAX = 500


class Publisher:
    """Of one thread. ``on_published`` is told a topic and how many records it got."""

    def __init__(self, target: Log, store: SqlStore, on_published: Callable[[str, int], None] | None = None) -> None:
        self._log, self._store, self._on_published = target, store, on_published
        self._appends: dict[str, MeteredAppends] = {}

    def publish(self) -> int:
        """Moves what waits in the outbox to the log; gives how many records. Raises ``LogUnavailable``, ``StoreError``."""
        moved = 0
        while True:
            with self._store.reading() as connection:
                rows = outbox.waiting(connection, ROWS_MAX)
            for run in self._runs(rows):
                self.send(run)
                with self._store.transaction() as connection:
                    outbox.remove(connection, [row.id for row in run])
            moved += len(rows)
            if len(rows) < ROWS_MAX:
                return moved

    def send(self, run: Sequence[OutboxRow]) -> None:
        """Appends rows of one topic and partition. Blocks; raises ``LogUnavailable``."""
        topic = run[0].topic
        try:
            self._append(topic, run)
        except LogRefused as error:
            if len(run) > 1:
                for row in run:
                    self.send([row])
                return
            log.error(
                "the log will never take a message; dropped from the outbox", topic=topic, key=run[0].key, detail=str(error)
            )
            metrics.RECORDS_LOST.labels(topic, "refused").inc()
        if self._on_published is not None:
            self._on_published(topic, len(run))

    def _runs(self, rows: Sequence[OutboxRow]) -> list[list[OutboxRow]]:
        """Neighbours of one topic and partition together, in order."""
        grouped = groupby(rows, key=lambda row: (row.topic, self._partition(row)))
        return [list(run) for _, run in grouped]

    def _partition(self, row: OutboxRow) -> int:
        """Every topic that we write has one partition, but for ``uplink``: a replayed reading goes where its device's go."""
        return partition_of(row.key, self._log.partitions(row.topic)) if row.topic == UPLINK else 0

    def _append(self, topic: str, run: Sequence[OutboxRow]) -> None:
        records = [(row.key.encode() or None, row.value) for row in run]
        try:
            appends = self._appends.setdefault(topic, MeteredAppends(self._log, topic))
            appends.append(self._partition(run[0]), records).result(PUBLISH_TIMEOUT_S)
        except TimeoutError as error:
            raise LogUnavailable(f"{topic}: no acknowledgement in {PUBLISH_TIMEOUT_S:g} s") from error
