"""Many rows at once, by the driver itself: COPY on PostgreSQL, executemany on SQLite. All within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection

from simway_flask_app.store.rollups import AddedUp
from simway_flask_app.store.values import Columns, Row

Key: TypeAlias = tuple[int, int]
"""Series and t_us."""
Held: TypeAlias = tuple[Columns, str | None]
"""What a row holds: value and unit."""

TIERS = ("rollup_minute", "rollup_hour", "rollup_day")
READING_COLUMNS = ("series_id", "t_us", "num", "kind", "detail", "unit")
WINDOW_COLUMNS = (
    "series_id", "bucket_us", "count", "sum", "min", "min_us", "max", "max_us", "first", "first_us", "last", "last_us",
)  # fmt: skip
EPOCH_COLUMNS = (
    "device", "epoch", "first_us", "highest", "floor", "missing_below", "missing", "dropped", "stored", "duplicate", "conflict",
    "redelivered", "rejected", "missing_count", "dropped_count", "dropped_below",
)  # fmt: skip


class KeyTaken(Exception):
    """Some row's series and time are there already, or come twice; nothing was inserted."""


class RowsRefused(Exception):
    """The database will never take some of these rows; nothing was inserted."""


class Bulk(Protocol):
    """What the two databases do each in its own way."""

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Inserts all rows or none, fastest in the order of the key.

        Raises ``KeyTaken`` or ``RowsRefused``, and the transaction goes on.
        """

    def insert_absent(self, connection: Connection, rows: Sequence[Row]) -> set[Key]:
        """Inserts those rows, of keys that differ, whose key is not there yet; gives the keys of the others.

        Raises ``RowsRefused``, and the transaction goes on.
        """

    def existing(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Held]:
        """Those keys that are in ``readings``, with what they hold. Raises ``RowsRefused``, and the transaction goes on."""

    def create_series(self, connection: Connection, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, str, str]]:
        """Makes series of (device, sensor); gives (series, device, sensor) of those that were not there."""

    def raise_latest(self, connection: Connection, rows: Sequence[Row], stored_us: int) -> None:
        """Puts each row (one a series, in the order of the series) into ``latest`` where it is newer."""

    def merge_rollups(self, connection: Connection, added: AddedUp) -> None:
        """Merges windows into the three rollups: counts and sums add, extremes and ends go by value and time."""

    def save_epochs(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Upserts rows of ``epochs``, in the table's order of columns."""

    def add_rejections(self, connection: Connection, rows: Sequence[tuple[str, str, str, int]]) -> None:
        """Adds to the counts of (device, epoch, reason)."""

    def forget(self) -> None:
        """Forgets what it knows of the tables: another writer may have been there, or a transaction was undone."""


SERIES_RETURNING = "ON CONFLICT (device, sensor) DO NOTHING RETURNING series_id, device, sensor"
LATEST_UPSERT = """ON CONFLICT (series_id) DO UPDATE SET t_us = excluded.t_us, num = excluded.num, kind = excluded.kind,
    detail = excluded.detail, unit = excluded.unit, stored_us = excluded.stored_us WHERE latest.t_us < excluded.t_us"""
EPOCH_UPSERT = "ON CONFLICT (device, epoch) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in EPOCH_COLUMNS[3:]
)
REJECTION_UPSERT = "ON CONFLICT (device, epoch, reason) DO UPDATE SET count = rejections.count + excluded.count"


def merging(have: str, more: str, total: str) -> str:
    """The SET part that merges a window ``more`` into the row ``have``, as ``rollups.merged`` does; ``total``: the new sum."""
    parts = [f"count = {have}.count + {more}.count", f"sum = {total}"]
    for name, sign in (("min", "<"), ("max", ">")):
        beyond = f"{more}.{name} {sign} {have}.{name}"
        earlier = f"{more}.{name} = {have}.{name} AND {more}.{name}_us < {have}.{name}_us"
        parts += [_chosen(name, beyond, have, more), _chosen(f"{name}_us", f"{beyond} OR ({earlier})", have, more)]
    for name, sign in (("first", "<"), ("last", ">")):
        beyond = f"{more}.{name}_us {sign} {have}.{name}_us"
        parts += [_chosen(name, beyond, have, more), _chosen(f"{name}_us", beyond, have, more)]
    return ", ".join(parts)


def _chosen(column: str, condition: str, have: str, more: str) -> str:
    return f"{column} = CASE WHEN {condition} THEN {more}.{column} ELSE {have}.{column} END"


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """What is done inside is undone by ``KeyTaken`` or ``RowsRefused``, and the transaction goes on."""
    connection.exec_driver_sql("SAVEPOINT bulk")
    try:
        yield
    except (KeyTaken, RowsRefused):
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT bulk")
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT bulk")
