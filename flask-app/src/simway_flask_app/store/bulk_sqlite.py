"""``Bulk`` on SQLite, by apsw.

Measured (SQLite 3.54, two cores, 20,000 rows a transaction into a keyed table): a statement of one row takes 1.25 us a row, one
of 32 rows 0.6 us. Rows in the order of the key take half the time, once the table outgrows its page cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import apsw
from simway_backbone import sqlite_dbapi
from sqlalchemy import Connection

from simway_flask_app.store import bulk
from simway_flask_app.store.bulk import Held, Key, KeyTaken, RowsRefused, savepoint
from simway_flask_app.store.rollups import SUM_MAX, AddedUp
from simway_flask_app.store.values import Row

_TOGETHER = 32
"""Rows in one statement."""
_REFUSALS = (apsw.TooBigError, apsw.MismatchError, OverflowError, UnicodeError, TypeError)


class SqliteBulk:
    """Keeps ``Bulk``."""

    _insert = f"INSERT INTO readings ({', '.join(bulk.READING_COLUMNS)})"
    _select = "SELECT num, kind, detail, unit FROM readings WHERE series_id = ? AND t_us = ?"
    _series = f"INSERT INTO series (device, sensor) VALUES (?, ?) {bulk.SERIES_RETURNING}"
    _epochs = f"INSERT INTO epochs ({', '.join(bulk.EPOCH_COLUMNS)})"

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """See ``Bulk``."""
        with savepoint(connection):
            try:
                _insert_together(connection, self._insert, rows)
            except apsw.ConstraintError as error:
                if getattr(error, "extendedresult", 0) == apsw.SQLITE_CONSTRAINT_PRIMARYKEY:
                    raise KeyTaken from error
                raise RowsRefused(str(error)) from error
            except _REFUSALS as error:
                raise RowsRefused(str(error)) from error

    def insert_absent(self, connection: Connection, rows: Sequence[Row]) -> set[Key]:
        """See ``Bulk``. Nobody else writes meanwhile."""
        taken = set(self.existing(connection, [(row[0], row[1]) for row in rows]))
        self.insert(connection, [row for row in rows if (row[0], row[1]) not in taken])
        return taken

    def existing(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Held]:
        """See ``Bulk``."""
        execute = _apsw(connection).cursor().execute
        found: dict[Key, Held] = {}
        try:
            for key in keys:
                for num, kind, detail, unit in execute(self._select, key):
                    found[key] = ((num, kind, detail), unit)
        except OverflowError as error:
            raise RowsRefused(str(error)) from error
        return found

    def create_series(self, connection: Connection, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, str, str]]:
        """See ``Bulk``."""
        made: list[Any] = _apsw(connection).executemany(self._series, pairs).fetchall()
        return made

    def raise_latest(self, connection: Connection, rows: Sequence[Row], stored_us: int) -> None:
        """See ``Bulk``."""
        _insert_together(connection, "INSERT INTO latest", [(*row, stored_us) for row in rows], bulk.LATEST_UPSERT)

    def merge_rollups(self, connection: Connection, added: AddedUp) -> None:
        """See ``Bulk``."""
        for table, windows in zip(bulk.TIERS, (added.minutes, added.hours, added.days), strict=True):
            rows = [(*key, *window) for key, window in windows.items()]
            _insert_together(connection, f"INSERT INTO {table}", rows, _merging(table))

    def save_epochs(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """See ``Bulk``."""
        _insert_together(connection, self._epochs, rows, bulk.EPOCH_UPSERT)

    def add_rejections(self, connection: Connection, rows: Sequence[tuple[str, str, str, int]]) -> None:
        """See ``Bulk``."""
        _insert_together(connection, "INSERT INTO rejections", rows, bulk.REJECTION_UPSERT)

    def forget(self) -> None:
        """See ``Bulk``: nothing is kept."""


def _merging(table: str) -> str:
    total = f"max(-{SUM_MAX}, min({SUM_MAX}, {table}.sum + excluded.sum))"
    return f"ON CONFLICT (series_id, bucket_us) DO UPDATE SET {bulk.merging(table, 'excluded', total)}"


def _insert_together(connection: Connection, head: str, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
    """Inserts many rows a statement: what costs most is to begin one, and to give up and take the interpreter's lock for it."""
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    whole = len(rows) - len(rows) % _TOGETHER
    chunks: Iterable[list[Any]] = (list(chain.from_iterable(rows[at : at + _TOGETHER])) for at in range(0, whole, _TOGETHER))
    database = _apsw(connection)
    database.executemany(f"{head} VALUES {', '.join([row] * _TOGETHER)} {tail}", chunks)
    database.executemany(f"{head} VALUES {row} {tail}", rows[whole:])


def _apsw(connection: Connection) -> apsw.Connection:
    face: Any = connection.connection.driver_connection
    assert isinstance(face, sqlite_dbapi.Connection)
    return face.apsw
