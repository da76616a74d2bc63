"""What is too old leaves the store, a few thousand rows at a time, so that nobody waits long."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import structlog
from sqlalchemy import delete, select

from simway_flask_app.store.schema import dead_letters, readings, series
from simway_flask_app.store.sql import SqlStore

log = structlog.get_logger()

PERIOD_S = 3600.0
ROWS_MAX = 5_000
PAUSE_S = 0.05
"""Between two deletions: the recorder writes in between."""
DEAD_LETTERS_KEPT_US = 30 * 24 * 3600 * 1_000_000
"""As long as their topic keeps them."""


class Retention:
    """Raw readings older than ``age_us``, and old dead letters. ``latest`` and the loss ledger keep what they know."""

    def __init__(self, store: SqlStore, age_us: int, *, stopping: Event, now_us: Callable[[], int]) -> None:
        self._store, self._age_us, self._stopping, self._now_us = store, age_us, stopping, now_us

    def apply(self) -> int:
        """Deletes all that is too old, unless ``stopping`` comes between; gives how many readings. Raises ``StoreError``."""
        now_us = self._now_us()
        with self._store.reading() as connection:
            ids = [row.series_id for row in connection.execute(select(series.c.series_id).order_by(series.c.series_id))]
        deleted = sum(self._thin(series_id, now_us - self._age_us) for series_id in ids)
        if deleted:
            log.info("readings beyond raw retention are gone", rows=deleted)
        with self._store.transaction() as connection:
            connection.execute(delete(dead_letters).where(dead_letters.c.t_us < now_us - DEAD_LETTERS_KEPT_US))
        return deleted

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
