"""What the platform has, read from its database and its API once it rests."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from simway_flask_app.store import schema
from simway_flask_app.store.engine import Database
from simway_flask_app.store.values import value_of
from simway_protocol.messages import DeadLetter, decode
from sqlalchemy import Connection, select

from simway_testing.fault_checks import Found, Stored
from simway_testing.fault_house import House
from simway_testing.rollups import Window

ROLLUPS = {"rollup_minute": 60_000_000, "rollup_hour": 3_600_000_000, "rollup_day": 86_400_000_000}


def found_of(house: House) -> tuple[dict[str, Found], list[DeadLetter], int]:
    """By device; all dead letters; and how many rows there are of devices that are none of the house's."""
    database = Database(house.store_url)
    try:
        with database.read() as connection:
            rows, buckets = _rows(connection), _buckets(connection)
            letters = [
                decode("dead-letter", bytes(row.letter)) for row in connection.execute(select(schema.dead_letters.c.letter))
            ]
    finally:
        database.close()
    found = {name: Found(rows.pop(name, []), house.api.loss(name), buckets[name]) for name in house.devices}
    return found, letters, sum(map(len, rows.values()))


def _rows(connection: Connection) -> dict[str, list[Stored]]:
    readings, series = schema.readings.c, schema.series.c
    query = select(
        series.device, series.sensor, readings.t_us, readings.num, readings.kind, readings.detail, readings.unit
    ).join_from(schema.readings, schema.series, readings.series_id == series.series_id)
    rows: defaultdict[str, list[Stored]] = defaultdict(list)
    for device, sensor, t_us, num, kind, detail, unit in connection.execute(query):
        rows[device].append(Stored(sensor, t_us, value_of(num, kind, detail), unit, num))
    return rows


def _buckets(connection: Connection) -> defaultdict[str, dict[int, dict[tuple[str, int], Window]]]:
    series = schema.series.c
    buckets: defaultdict[str, dict[int, Any]] = defaultdict(lambda: {length_us: {} for length_us in ROLLUPS.values()})
    for name, length_us in ROLLUPS.items():
        table = schema.metadata.tables[name]
        columns = [table.c[column] for column in Window._fields]
        query = select(series.device, series.sensor, table.c.bucket_us, *columns).join_from(
            table, schema.series, table.c.series_id == series.series_id
        )
        for device, sensor, bucket_us, *values in connection.execute(query):
            buckets[device][length_us][(sensor, bucket_us)] = Window(*values)
    return buckets
