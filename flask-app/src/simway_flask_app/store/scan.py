"""Rows of a series' table in the order of its key, page by page, by the driver itself: short reads, bounded memory.

No read stays open between pages: on SQLite it would keep the write-ahead log from being emptied, on PostgreSQL a slow reader
would hold a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from simway_protocol.limits import INT64_MAX, INT64_MIN
from sqlalchemy import Connection

from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import StoreError

PAGE_ROWS = 10_000
_SERIES_A_PAGE = 500
"""So many series are looked at for one page at most."""


class Source(NamedTuple):
    """A table of series in order of time. ``columns``: what is read, the series first, then ``time``."""

    table: str
    columns: tuple[str, ...]
    time: str


RAW = Source("readings", ("series_id", "t_us", "num", "kind", "detail", "unit"), "t_us")


class _Place(NamedTuple):
    """Where a scan stands: the series by its place in the list, and the first time that is still to come."""

    at: int
    begin_us: int


def pages(database: Database, source: Source, ids: Sequence[int], from_us: int | None, to_us: int | None) -> Iterator[list[Any]]:
    """Pages of tuples with ``from_us <= time < to_us``, series by series as ``ids`` has them; no page is empty.

    Blocks on the database at each page, never holds it between. Raises ``StoreError``.
    """
    first_us = INT64_MIN if from_us is None else from_us
    last_us = INT64_MAX if to_us is None else max(INT64_MIN, to_us - 1)
    if to_us is not None and first_us >= to_us:
        return
    step = _sqlite_step if database.is_sqlite else _postgres_step
    place = _Place(0, first_us)
    while place.at < len(ids):
        with database.read() as connection:
            rows, place = step(connection, source, ids, place, first_us, last_us, PAGE_ROWS)
        if rows:
            yield rows


def _sqlite_step(
    connection: Connection, source: Source, ids: Sequence[int], place: _Place, first_us: int, last_us: int, rows_max: int
) -> tuple[list[Any], _Place]:
    statement = (
        f"SELECT {', '.join(source.columns)} FROM {source.table} WHERE series_id = ? AND {source.time} BETWEEN ? AND ? "
        f"ORDER BY {source.time} LIMIT ?"
    )
    driver: Any = connection.connection.driver_connection
    rows: list[Any] = []
    index, begin_us = place
    stop = min(len(ids), index + _SERIES_A_PAGE)
    while index < stop and len(rows) < rows_max:
        wanted = rows_max - len(rows)
        found = driver.execute(statement, (ids[index], begin_us, last_us, wanted)).fetchall()
        rows += found
        if len(found) < wanted:
            index, begin_us = index + 1, first_us
        else:
            begin_us = found[-1][1] + 1
    return rows, _Place(index, begin_us)


def _postgres_step(
    connection: Connection, source: Source, ids: Sequence[int], place: _Place, first_us: int, last_us: int, rows_max: int
) -> tuple[list[Any], _Place]:
    """One index scan a series, one after the other, until the page is full: so does a lateral join with a limit work."""
    columns = ", ".join(f"r.{column}" for column in source.columns)
    statement = f"""SELECT {columns} FROM unnest(%s::int4[], %s::int8[]) AS s (id, begin_us) CROSS JOIN LATERAL (
            SELECT {", ".join(source.columns)} FROM {source.table}
            WHERE series_id = s.id AND {source.time} >= s.begin_us AND {source.time} BETWEEN %s AND %s
            ORDER BY {source.time} LIMIT %s
        ) r LIMIT %s"""
    index, begin_us = place
    chosen = ids[index : index + _SERIES_A_PAGE]
    begins = [begin_us, *[first_us] * (len(chosen) - 1)]
    driver: Any = connection.connection.driver_connection
    rows = driver.execute(statement, (list(chosen), begins, first_us, last_us, rows_max, rows_max), binary=True).fetchall()
    places = {series_id: number for number, series_id in enumerate(chosen)}
    _check_order(rows, places)
    if len(rows) < rows_max:
        return rows, _Place(index + len(chosen), first_us)
    return rows, _Place(index + places[rows[-1][0]], rows[-1][1] + 1)


def _check_order(rows: Sequence[Any], places: dict[int, int]) -> None:
    """A page that is out of order could lose rows at its end."""
    last = (-1, INT64_MIN)
    for row in rows:
        here = (places[row[0]], row[1])
        if here < last:
            raise StoreError("the database gave a page out of order")
        last = here
