"""What the store is measured against: the same rows by the driver's own bulk insert, in the order of arrival.

This is what a program without exactly-once, series, newest values, rollups and accounts would do: executemany on SQLite, COPY on
PostgreSQL, into the table ``readings`` itself, with its primary key and its partitions. It is written here, so that it stays what
it is when the recorder's own inserts change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simway_flask_app.recorder import READINGS_MAX
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.store.values import Row, columns_of
from simway_protocol.messages import Uplink, UplinkBatch
from simway_protocol.readings import Reading
from sqlalchemy import text

UPLINKS_PER_BATCH = 25
EPOCH = "00c0ffee00c0ffee"
SECOND_US = 1_000_000
HISTORY_ROWS_PER_SERIES = 300
"""Enough that each series has a page of the primary key to itself, as in a store that is in use. Where several share one, a cache
holds them all, and the bare way goes at twice the speed."""
_HISTORY = text("""
    WITH RECURSIVE
        made_up (series_id) AS (
            SELECT CAST(:first AS integer) UNION ALL SELECT series_id - 1 FROM made_up WHERE series_id > :last
        ),
        ago (seconds) AS (SELECT CAST(:each AS integer) UNION ALL SELECT seconds - 1 FROM ago WHERE seconds > 1)
    INSERT INTO readings (series_id, t_us, num, kind, detail, unit)
    SELECT series_id, :until_us - CAST(seconds AS bigint) * :second_us, :num, :kind, :detail, 'Cel'
    FROM (SELECT series_id FROM series WHERE device LIKE :devices UNION ALL SELECT series_id FROM made_up) AS every, ago
    ORDER BY series_id, seconds DESC
""")


@dataclass(frozen=True, slots=True)
class Shape:
    """Who sends: so many devices, with so many readings an uplink, one of each sensor, once a second."""

    devices: int
    readings_per_uplink: int

    def device(self, index: int | str) -> str:
        """The name of a device, which no other shape has; with ``%`` the pattern of all."""
        return f"bench{self.devices}-{index}"


def batches(shape: Shape, readings: int, start_us: int, readings_before: int = 0) -> list[UplinkBatch]:
    """Uplinks of the devices in turn, from ``start_us`` on; their numbers follow those of ``readings_before``."""
    size = shape.readings_per_uplink
    first_seq = readings_before // shape.devices + 1
    uplinks = []
    for index in range(readings // size):
        turn, device = divmod(index, shape.devices)
        t_us = start_us + turn * SECOND_US
        rows = [Reading(f"sensor/{at}", t_us + at, 20.0 + at / 7, "Cel") for at in range(size)]
        uplinks.append(Uplink(shape.device(device), "bench", start_us, EPOCH, first_seq + turn * size, rows))
    return [UplinkBatch(uplinks[at : at + UPLINKS_PER_BATCH]) for at in range(0, len(uplinks), UPLINKS_PER_BATCH)]


def insert(store: SqlStore, shape: Shape, uplink_batches: Sequence[UplinkBatch]) -> float:
    """Seconds for the same rows under negative series, so that no key collides, in transactions of the recorder's size."""
    rows = _rows(shape, uplink_batches)
    started = time.perf_counter()
    _put(store, rows)
    return time.perf_counter() - started


def fill(store: SqlStore, shape: Shape, until_us: int) -> None:
    """A past up to a time: for each series of the shape that the store has, and for each that ``insert`` makes up."""
    made_up = _made_up(shape)
    num, kind, detail = columns_of(20.5)
    values = {"first": made_up[0], "last": made_up[-1], "each": HISTORY_ROWS_PER_SERIES, "devices": shape.device("%")}
    values |= {"until_us": until_us, "second_us": SECOND_US, "num": num, "kind": kind, "detail": detail}
    with store.transaction() as connection:
        connection.execute(_HISTORY, values)


def way(store: SqlStore) -> str:
    """What ``insert`` does, for people."""
    return "executemany" if store.is_sqlite else "COPY"


def _put(store: SqlStore, rows: Sequence[Row]) -> None:
    put = _executemany if store.is_sqlite else _copy
    for at in range(0, len(rows), READINGS_MAX):
        with store.transaction() as connection:
            connection.exec_driver_sql("SAVEPOINT bare")  # begins for SQLAlchemy, which commits nothing else
            put(connection.connection.driver_connection, rows[at : at + READINGS_MAX])


def _made_up(shape: Shape) -> range:
    """Series of nobody, from the first one down."""
    first = -shape.devices * 100
    return range(first, first - shape.devices * shape.readings_per_uplink, -1)


def _rows(shape: Shape, uplink_batches: Sequence[UplinkBatch]) -> list[Row]:
    size = shape.readings_per_uplink
    series = {shape.device(index): first for index, first in enumerate(_made_up(shape)[::size])}
    rows: list[Row] = []
    for batch in uplink_batches:
        for uplink in batch.uplinks:
            first = series[uplink.device]
            rows += [(first - at, t_us, *columns_of(value), unit) for at, (_, t_us, value, unit) in enumerate(uplink.readings)]
    return rows


def _executemany(driver: Any, rows: Sequence[Row]) -> None:
    driver.apsw.executemany("INSERT INTO readings (series_id, t_us, num, kind, detail, unit) VALUES (?, ?, ?, ?, ?, ?)", rows)


def _copy(driver: Any, rows: Sequence[Row]) -> None:
    columns = "COPY readings (series_id, t_us, num, kind, detail, unit) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(columns) as copy:
        copy.set_types(("int4", "int8", "float8", "int2", "text", "text"))
        for row in rows:
            copy.write_row(row)
