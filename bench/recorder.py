"""Rows a second of the recorder, log and ledger included, against the bare bulk insert into the same table with its keys.

Both ways are taken alternately in one run, on tables that hold the same. The bare way is what a program without exactly-once,
series, newest values and accounts would do, by the driver's own means: executemany on SQLite, COPY on PostgreSQL, in the order
of arrival. It is written here, so that it stays what it is when the recorder's own inserts change.

A first round of both goes ahead and does not count: it makes the series and opens connections, which a recorder does once. The
times of the rounds grow, as they do in life: so each round raises the newest values.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simway_backbone import open_log
from simway_backbone.log import Log
from simway_flask_app.recorder import READINGS_MAX, TOPIC, Recorder, spare_the_collector
from simway_flask_app.rights import WriterKey
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import UplinkWriter
from simway_flask_app.store.values import Row, columns_of
from simway_flask_app.store.writers import WriteRights
from simway_protocol.identity import partition_of
from simway_protocol.messages import Uplink, UplinkBatch, encode
from simway_protocol.readings import Reading

from bench.figures import Figure, progress, publish

AIM_RATIO = 0.5
UPLINKS_PER_BATCH = 25
ROUND_US = 3_600_000_000
EPOCH = "00c0ffee00c0ffee"


@dataclass(frozen=True, slots=True)
class Load:
    """Who sends: so many devices, with so many readings an uplink, each of a sensor of its own."""

    suffix: str
    devices: int
    readings_per_uplink: int
    aim: str


LOADS = (Load("", 100, 20, f", aim {AIM_RATIO}"), Load("_many_devices", 5_000, 1, ""))


def measure(
    directory: Path, store_url: str, name: str, *, readings: int, rounds: int, loads: Sequence[Load] = LOADS
) -> list[Figure]:
    """The figures for one database. ``readings`` in each round; the rounds' times lie one after the other."""
    spare_the_collector()
    store = open_store(store_url)
    store.migrate()
    log = open_log(f"sqlite:///{directory / 'recorder-log'}", client_id="bench")
    log.ensure_topics()
    figures = [figure for load in loads for figure in _measure_load(store, log, name, load, readings, rounds)]
    log.close()
    store.close()
    return figures


def _measure_load(store: SqlStore, log: Log, name: str, load: Load, readings: int, rounds: int) -> list[Figure]:
    writer = store.uplink_writer()
    recorded, bare = [], []
    for number in range(rounds + 1):
        progress(f"recorder{load.suffix} on {name}: round {number} of {rounds}, {readings} readings")
        batches = _batches(load, readings, number)
        recorded.append(readings / _record(writer, store.write_rights(WriterKey.make()), log, batches, readings))
        bare.append(readings / _insert(store, load, batches))
    ratio = statistics.median(one / other for one, other in zip(recorded[1:], bare[1:], strict=True))
    rate, top = statistics.median(recorded[1:]), statistics.median(bare[1:])
    way = "executemany" if store.is_sqlite else "COPY"
    return [
        publish(Figure(f"recorder_{name}{load.suffix}_bare", top, "rows/s", f"{way} into readings, primary key in place")),
        publish(Figure(f"recorder_{name}{load.suffix}", rate, "rows/s", f"{way} in the same run{load.aim}", ratio)),
    ]


def _batches(load: Load, readings: int, number: int) -> list[UplinkBatch]:
    """Uplinks of the devices in turn; each round has an hour of its own, and goes on with the numbers."""
    start_us = time.time_ns() // 1_000 + (number - 24) * ROUND_US
    size = load.readings_per_uplink
    before = number * readings // load.devices
    uplinks = []
    for index in range(readings // size):
        turn, device = divmod(index, load.devices)
        rows = [Reading(f"sensor/{at}", start_us + turn * 1_000_000 + at, 20.0 + at / 7, "Cel") for at in range(size)]
        uplinks.append(Uplink(_device(load, device), "bench", start_us, EPOCH, before + turn * size + 1, rows))
    return [UplinkBatch(uplinks[at : at + UPLINKS_PER_BATCH]) for at in range(0, len(uplinks), UPLINKS_PER_BATCH)]


def _device(load: Load, index: int) -> str:
    return f"bench{load.devices}-{index}"


def _record(writer: UplinkWriter, rights: WriteRights, log: Log, batches: Sequence[UplinkBatch], readings: int) -> float:
    for batch in batches:
        appended = log.append(TOPIC, partition_of(batch.uplinks[0].device), [(None, encode(batch))])
    appended.result(30)
    stopping, left = threading.Event(), readings

    def count(stored: object) -> None:
        nonlocal left
        left -= len(stored)  # type: ignore[arg-type]
        if left <= 0:
            stopping.set()

    recorder = Recorder(log, writer, rights, stopping=stopping, on_stored=count)
    started = time.perf_counter()
    recorder.run()
    return time.perf_counter() - started


def _insert(store: SqlStore, load: Load, batches: Sequence[UplinkBatch]) -> float:
    """The same rows under negative series, so that no key collides, in transactions of the recorder's size."""
    series = {_device(load, index): -load.devices * 100 - index * load.readings_per_uplink for index in range(load.devices)}
    rows: list[Row] = []
    for batch in batches:
        for uplink in batch.uplinks:
            first = series[uplink.device]
            rows += [(first - at, t_us, *columns_of(value), unit) for at, (_, t_us, value, unit) in enumerate(uplink.readings)]
    insert = _executemany if store.is_sqlite else _copy
    started = time.perf_counter()
    for at in range(0, len(rows), READINGS_MAX):
        with store.transaction() as connection:
            connection.exec_driver_sql("SAVEPOINT bare")  # begins for SQLAlchemy, which commits nothing else
            insert(connection.connection.driver_connection, rows[at : at + READINGS_MAX])
    return time.perf_counter() - started


def _executemany(driver: Any, rows: Sequence[Row]) -> None:
    driver.apsw.executemany("INSERT INTO readings (series_id, t_us, num, kind, detail, unit) VALUES (?, ?, ?, ?, ?, ?)", rows)


def _copy(driver: Any, rows: Sequence[Row]) -> None:
    columns = "COPY readings (series_id, t_us, num, kind, detail, unit) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(columns) as copy:
        copy.set_types(("int4", "int8", "float8", "int2", "text", "text"))
        for row in rows:
            copy.write_row(row)
