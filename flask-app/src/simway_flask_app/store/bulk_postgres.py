"""``Bulk`` on PostgreSQL, by psycopg: COPY into the tables themselves as long as no key collides, else over a staging table.

Measured for rows of a rollup, time of the server for each (PostgreSQL 15): ON CONFLICT DO UPDATE takes 11 us whether the row is
there or not, since it locks a row before it changes it; COPY of rows that are not there 4 us; UPDATE from a staging table 6 us.
So a writer remembers the newest window of each series: what lies beyond is new, what is in it is there. That is a guess only:
when it is wrong, everything goes the way of ON CONFLICT.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from struct import error as StructError
from typing import Any

import psycopg
from sqlalchemy import Connection

from simway_flask_app.store import bulk, packing
from simway_flask_app.store.bulk import Held, Key, KeyTaken, RowsRefused, savepoint
from simway_flask_app.store.packing import columns, unnest
from simway_flask_app.store.rollups import SUM_MAX, AddedUp, Windows
from simway_flask_app.store.values import Row

_FEW = 200
"""So many rows are not worth a staging table."""
_REMEMBERED_MAX = 2_000_000
"""Series whose newest window is remembered, each tier: about 100 bytes each."""
_READING_TYPES = ("int4", "int8", "float8", "int2", "text", "text")
_WINDOW_TYPES = ("int4", "int8", "int8", "float8", *(("float8", "int8") * 4))
_EPOCH_TYPES = ("text", "text", *["int8"] * 4, "text", "text", *["int8"] * 8)
_REFUSALS = (psycopg.DataError, psycopg.IntegrityError, StructError, UnicodeError, OverflowError)


class PostgresBulk:
    """Keeps ``Bulk``. One thread uses it."""

    _copy = f"COPY readings ({', '.join(bulk.READING_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    _absent = f"""INSERT INTO readings ({", ".join(bulk.READING_COLUMNS)}) SELECT * FROM staged_readings
        ORDER BY series_id, t_us ON CONFLICT (series_id, t_us) DO NOTHING RETURNING series_id, t_us"""
    _select = """SELECT r.series_id, r.t_us, r.num, r.kind, r.detail, r.unit
        FROM unnest(%s::int4[], %s::int8[]) AS k (series_id, t_us) JOIN readings r USING (series_id, t_us)"""
    _series = f"INSERT INTO series (device, sensor) {unnest(('text', 'text'))} {bulk.SERIES_RETURNING}"
    _latest = f"INSERT INTO latest {unnest((*_READING_TYPES, 'int8'))} {bulk.LATEST_UPSERT}"
    _newer = """UPDATE latest l SET t_us = s.t_us, num = s.num, kind = s.kind, detail = s.detail, unit = s.unit,
        stored_us = s.stored_us FROM staged_latest s WHERE l.series_id = s.series_id AND l.t_us < s.t_us"""
    _epochs = f"INSERT INTO epochs ({', '.join(bulk.EPOCH_COLUMNS)}) {unnest(_EPOCH_TYPES)} {bulk.EPOCH_UPSERT}"
    _again = "UPDATE epochs e SET {} FROM staged_epochs s WHERE e.device = s.device AND e.epoch = s.epoch".format(
        ", ".join(f"{column} = s.{column}" for column in bulk.EPOCH_COLUMNS[3:])
    )
    _rejections = f"INSERT INTO rejections {unnest(('text', 'text', 'text', 'int8'))} {bulk.REJECTION_UPSERT}"

    def __init__(self) -> None:
        self._newest: dict[str, dict[int, int]] = {table: {} for table in bulk.TIERS}

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """See ``Bulk``."""
        with savepoint(connection):
            try:
                packing.copy(_psycopg(connection), self._copy, rows, packing.readings)
            except psycopg.errors.UniqueViolation as error:
                raise KeyTaken from error
            except _REFUSALS as error:
                raise RowsRefused(_first_line(error)) from error

    def insert_absent(self, connection: Connection, rows: Sequence[Row]) -> set[Key]:
        """See ``Bulk``. What another transaction is about to insert is waited for."""
        with savepoint(connection):
            try:
                _stage(connection, "readings", rows, packing.readings)
                made = set(_psycopg(connection).execute(self._absent).fetchall())
            except _REFUSALS as error:
                raise RowsRefused(_first_line(error)) from error
        return {(row[0], row[1]) for row in rows} - made

    def existing(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Held]:
        """See ``Bulk``."""
        with savepoint(connection):
            try:
                found = _psycopg(connection).execute(self._select, columns(keys), binary=True)
            except (psycopg.DataError, OverflowError) as error:
                raise RowsRefused(_first_line(error)) from error
        return {(sid, t_us): ((num, kind, detail), unit) for sid, t_us, num, kind, detail, unit in found}

    def create_series(self, connection: Connection, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, str, str]]:
        """See ``Bulk``."""
        return _psycopg(connection).execute(self._series, columns(pairs)).fetchall()

    def raise_latest(self, connection: Connection, rows: Sequence[Row], stored_us: int) -> None:
        """See ``Bulk``. Sorted, so that two writers never wait for each other in a circle."""
        if not rows:
            return
        made = [(*row, stored_us) for row in rows]
        if len(made) > _FEW:
            _stage(connection, "latest", made, packing.latest)
            if _psycopg(connection).execute(self._newer).rowcount == len(made):
                return
        _psycopg(connection).execute(self._latest, columns(made))

    def merge_rollups(self, connection: Connection, added: AddedUp) -> None:
        """See ``Bulk``."""
        for table, windows in zip(bulk.TIERS, (added.minutes, added.hours, added.days), strict=True):
            self._merge(connection, table, windows)

    def save_epochs(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """See ``Bulk``."""
        if len(rows) > _FEW:
            _stage(connection, "epochs", rows, packing.epochs)
            if _psycopg(connection).execute(self._again).rowcount == len(rows):
                return
        _psycopg(connection).execute(self._epochs, columns(sorted(map(tuple, rows))))

    def add_rejections(self, connection: Connection, rows: Sequence[tuple[str, str, str, int]]) -> None:
        """See ``Bulk``."""
        _psycopg(connection).execute(self._rejections, columns(sorted(map(tuple, rows))))

    def forget(self) -> None:
        """See ``Bulk``."""
        for newest in self._newest.values():
            newest.clear()

    def _merge(self, connection: Connection, table: str, windows: Windows) -> None:
        newest = self._newest[table]
        known, fresh, open_, other = newest.get, [], [], []
        for key, window in windows.items():
            series_id, bucket_us = key
            known_us = known(series_id)
            if known_us is None:
                other.append(key + window)
                newest[series_id] = bucket_us
            elif bucket_us == known_us:
                open_.append(key + window)
            elif bucket_us < known_us:
                other.append(key + window)
            else:
                fresh.append(key + window)
                newest[series_id] = bucket_us
        if len(fresh) + len(open_) <= _FEW:
            other += fresh + open_
        else:
            try:
                self._merge_guessed(connection, table, fresh, open_)
            except KeyTaken:
                other += fresh + open_
        if other:
            other.sort(key=itemgetter(0, 1))
            _psycopg(connection).execute(_UPSERTS[table], columns(other))
        if len(newest) > _REMEMBERED_MAX:
            newest.clear()

    def _merge_guessed(
        self, connection: Connection, table: str, fresh: Sequence[tuple[Any, ...]], open_: Sequence[tuple[Any, ...]]
    ) -> None:
        """Raises ``KeyTaken`` where the guess was wrong, and nothing was merged."""
        driver = _psycopg(connection)
        with savepoint(connection):
            try:
                if fresh:
                    packing.copy(driver, f"COPY {table} FROM STDIN (FORMAT BINARY)", fresh, packing.windows)
            except psycopg.errors.UniqueViolation as error:
                raise KeyTaken from error
            if open_:
                _stage(connection, table, open_, packing.windows)
                if driver.execute(_UPDATES[table]).rowcount != len(open_):
                    raise KeyTaken


def _total(have: str, more: str) -> str:
    """The sum of two sums: PostgreSQL makes an error of what leaves the range of a double."""
    quarter = SUM_MAX / 4
    bounded = f"4 * greatest(-{quarter!r}::float8, least({quarter!r}::float8, {have}.sum / 4 + {more}.sum / 4))"
    return f"CASE WHEN abs({have}.sum) < 8e307 AND abs({more}.sum) < 8e307 THEN {have}.sum + {more}.sum ELSE {bounded} END"


_UPSERTS = {
    table: f"INSERT INTO {table} ({', '.join(bulk.WINDOW_COLUMNS)}) {unnest(_WINDOW_TYPES)} ON CONFLICT (series_id, bucket_us) "
    f"DO UPDATE SET {bulk.merging(table, 'excluded', _total(table, 'excluded'))}"
    for table in bulk.TIERS
}
_UPDATES = {
    table: f"UPDATE {table} r SET {bulk.merging('r', 's', _total('r', 's'))} FROM staged_{table} s "
    "WHERE r.series_id = s.series_id AND r.bucket_us = s.bucket_us"
    for table in bulk.TIERS
}
_BY_KEYS = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
"""A staging table has no statistics, and is small; the table beside it may be huge and must not be read as a whole."""


def _stage(connection: Connection, table: str, rows: Sequence[Any], packer: packing.Packer) -> None:
    """Puts rows into the temporary table ``staged_<table>``, and nothing else is in it."""
    driver = _psycopg(connection)
    driver.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS staged_{table} (LIKE {table}) ON COMMIT DELETE ROWS; "
        f"DELETE FROM staged_{table}; {_BY_KEYS}"
    )
    packing.copy(driver, f"COPY staged_{table} FROM STDIN (FORMAT BINARY)", rows, packer)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def _psycopg(connection: Connection) -> psycopg.Connection[Any]:
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
