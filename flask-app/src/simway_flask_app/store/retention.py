"""What is too old leaves the store: on PostgreSQL whole partitions of raw readings, all else a few thousand rows at a time.

Several recorders may run this at once: on PostgreSQL one of them does it, by an advisory lock; on SQLite what one deletes is gone
for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event

import structlog
from sqlalchemy import Connection, delete, text

from simway_flask_app.store import partitions, tiers
from simway_flask_app.store.engine import Database
from simway_flask_app.store.oversight import Tier
from simway_flask_app.store.schema import dead_letters

log = structlog.get_logger()

PERIOD_S = 60.0
"""How soon a tier that was set anew is looked at, and a partition that was in use is tried again."""
WHOLE_US = 3_600_000_000
"""Between two looks at everything."""
ROWS_MAX = 5_000
SERIES_MAX = 1_000
"""Rows and series in one deletion."""
PAUSE_S = 0.05
"""Between two deletions: the recorder writes in between."""
DEAD_LETTERS_KEPT_US = 30 * 24 * 3600 * 1_000_000
"""As long as their topic keeps them."""
_ROLLUPS = {"minute": "rollup_minute", "hour": "rollup_hour", "day": "rollup_day"}


class Retention:
    """Raw readings, windows and dead letters that are too old. ``latest`` and the loss ledger keep what they know.

    ``raw_keep_s``: what the settings say of raw readings; what a person has set goes before it.
    """

    def __init__(self, database: Database, raw_keep_s: int, *, stopping: Event, now_us: Callable[[], int]) -> None:
        self._database, self._raw_keep_s, self._stopping, self._now_us = database, raw_keep_s, stopping, now_us
        self._done: Mapping[str, Tier] = {}
        self._done_us = 0

    def apply(self) -> int:
        """Deletes what is too old, when that is due; gives how many rows and partitions went. Raises ``StoreError``.

        It is due every hour, when a tier was set anew, and when a partition was in use the last time.
        """
        now_us = self._now_us()
        tiers.follow_settings(self._database, self._raw_keep_s, now_us)
        with self._database.read() as connection:
            kept = tiers.load(connection)
        if kept == self._done and now_us - self._done_us < WHOLE_US:
            return 0
        with partitions.maintaining(self._database) as alone:
            if not alone:
                return 0
            gone, in_use = self._apply(kept, now_us)
        if not in_use and not self._stopping.is_set():
            self._done, self._done_us = kept, now_us
        return gone

    def _apply(self, kept: Mapping[str, Tier], now_us: int) -> tuple[int, list[str]]:
        gone, in_use = self._raw(kept["raw"].keep_s * 1_000_000, now_us)
        for tier, table in _ROLLUPS.items():
            if kept[tier].keep_s:
                gone += self._thin(tier, table, "bucket_us", now_us - kept[tier].keep_s * 1_000_000)
        with self._database.write() as connection:
            connection.execute(delete(dead_letters).where(dead_letters.c.t_us < now_us - DEAD_LETTERS_KEPT_US))
        return gone, in_use

    def _raw(self, keep_us: int, now_us: int) -> tuple[int, list[str]]:
        if self._database.is_sqlite:
            return (self._thin("raw", "readings", "t_us", now_us - keep_us) if keep_us else 0), []
        partitions.prepare(self._database, now_us, keep_us)
        if not keep_us:
            return 0, []
        gone, in_use = partitions.drop_expired(self._database, now_us - keep_us)
        for table in (partitions.BEFORE, partitions.DEFAULT):
            gone += self._thin("raw", table, "t_us", now_us - keep_us)
        return gone, in_use

    def _thin(self, tier: str, table: str, column: str, before_us: int) -> int:
        """Deletes the rows of a table that are older, some of some series at a time."""
        deleted, after = 0, 0
        while not self._stopping.is_set():
            with self._database.read() as connection:
                chosen = _series_with_old(connection, table, column, before_us, after)
            if not chosen:
                break
            after = chosen[-1]
            deleted += self._thin_series(tier, table, column, before_us, chosen)
        if deleted:
            log.info("what is beyond retention is gone", table=table, rows=deleted)
        return deleted

    def _thin_series(self, tier: str, table: str, column: str, before_us: int, chosen: list[int]) -> int:
        deleted = 0
        while chosen and not self._stopping.is_set():
            room = ROWS_MAX
            with self._database.write() as connection:
                while chosen and room > 0:
                    went = _delete(connection, table, column, chosen[0], before_us, room)
                    room -= went
                    if room > 0:
                        chosen.pop(0)
                if room < ROWS_MAX:
                    tiers.note_gone(connection, tier, before_us)
            deleted += ROWS_MAX - room
            self._stopping.wait(PAUSE_S)
        return deleted


def _series_with_old(connection: Connection, table: str, column: str, before_us: int, after: int) -> list[int]:
    found = connection.execute(
        text(
            f"SELECT s.series_id FROM series s WHERE s.series_id > :after AND EXISTS (SELECT 1 FROM {table} t "
            f"WHERE t.series_id = s.series_id AND t.{column} < :before) ORDER BY s.series_id LIMIT {SERIES_MAX}"
        ),
        {"after": after, "before": before_us},
    )
    return [row.series_id for row in found]


def _delete(connection: Connection, table: str, column: str, series_id: int, before_us: int, rows_max: int) -> int:
    """Deletes the oldest rows of a series, at most so many."""
    return connection.execute(
        text(
            f"DELETE FROM {table} WHERE series_id = :series AND {column} < :before AND {column} <= coalesce((SELECT {column} "
            f"FROM {table} WHERE series_id = :series AND {column} < :before ORDER BY {column} LIMIT 1 OFFSET {rows_max - 1}), "
            ":before)"
        ),
        {"series": series_id, "before": before_us},
    ).rowcount
