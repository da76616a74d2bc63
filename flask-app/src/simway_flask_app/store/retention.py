"""Raw readings leave the store when they are older than raw retention: a few thousand at a time, so that nobody waits long."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import structlog
from sqlalchemy import delete, select

from simway_flask_app.store.port import StoreError
from simway_flask_app.store.schema import readings, series
from simway_flask_app.store.sql import SqlStore

log = structlog.get_logger()

PERIOD_S = 3600.0
ROWS_MAX = 5_000
PAUSE_S = 0.05
"""Between two deletions: the recorder writes in between."""


class Retention:
    """A thread that looks once an hour, until ``stopping``. ``latest`` and the loss ledger keep what they know."""

    def __init__(self, store: SqlStore, age_us: int, *, stopping: Event, now_us: Callable[[], int]) -> None:
        self._store, self._age_us, self._stopping, self._now_us = store, age_us, stopping, now_us
        self._thread = Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self) -> None:
        """Waits for the end, which ``stopping`` brings."""
        self._thread.join(timeout=2)

    def apply(self) -> int:
        """Deletes all that is too old, series by series; gives how many rows. Raises ``StoreError``."""
        before_us = self._now_us() - self._age_us
        with self._store.reading() as connection:
            ids = [row.series_id for row in connection.execute(select(series.c.series_id).order_by(series.c.series_id))]
        return sum(self._thin(series_id, before_us) for series_id in ids)

    def _thin(self, series_id: int, before_us: int) -> int:
        oldest = select(readings.c.t_us).where(readings.c.series_id == series_id, readings.c.t_us < before_us)
        deleted = 0
        while not self._stopping.is_set():
            with self._store.reading() as connection:
                found = [row.t_us for row in connection.execute(oldest.order_by(readings.c.t_us).limit(ROWS_MAX))]
            if not found:
                break
            with self._store.transaction() as connection:
                part = delete(readings).where(readings.c.series_id == series_id, readings.c.t_us <= found[-1])
                deleted += connection.execute(part).rowcount
            if len(found) < ROWS_MAX:
                break
            self._stopping.wait(PAUSE_S)
        return deleted

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if deleted := self.apply():
                    log.info("readings beyond raw retention are gone", rows=deleted)
            except StoreError as error:
                log.warning("retention waits for the store", detail=str(error))
            self._stopping.wait(PERIOD_S)
