"""Rows a second of the recorder, log and ledger included, against the bare bulk insert into the same table with its keys.

Both ways are taken alternately in one run, on tables that hold the same: the bare way is what the database can do at most
(COPY on PostgreSQL, executemany on SQLite), so the ratio is what exactly-once, series, newest values and accounts cost.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from simway_backbone import open_log
from simway_backbone.log import Log
from simway_flask_app.recorder import READINGS_MAX, TOPIC, Recorder, spare_the_collector
from simway_flask_app.store.bulk import Bulk, PostgresBulk, SqliteBulk
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.values import Row, columns_of
from simway_protocol.identity import partition_of
from simway_protocol.messages import Uplink, UplinkBatch, encode
from simway_protocol.readings import Reading

from bench.figures import Figure, progress, publish

AIM_RATIO = 0.5
DEVICES = 100
READINGS_PER_UPLINK = 20
UPLINKS_PER_BATCH = 25


def measure(directory: Path, store_url: str, name: str, *, readings: int, rounds: int) -> list[Figure]:
    """The figure for one database. ``readings`` in each round; the rounds' times lie one after the other."""
    spare_the_collector()
    store = open_store(store_url)
    store.migrate()
    log = open_log(f"sqlite:///{directory / 'recorder-log'}", client_id="bench")
    log.ensure_topics()
    recorded, bare = [], []
    for number in range(rounds):
        progress(f"recorder on {name}: round {number + 1} of {rounds}, {readings} readings")
        batches = _batches(readings, number)
        recorded.append(readings / _record(store, log, batches, readings))
        bare.append(readings / _insert(store, batches))
    log.close()
    store.close()
    rate, top = statistics.median(recorded), statistics.median(bare)
    way = "COPY" if name == "postgresql" else "executemany"
    return [
        publish(Figure(f"recorder_{name}_bare", top, "rows/s", f"{way} into readings, primary key in place")),
        publish(Figure(f"recorder_{name}", rate, "rows/s", f"{way} in the same run, aim {AIM_RATIO}", rate / top)),
    ]


def _batches(readings: int, number: int) -> list[UplinkBatch]:
    """Uplinks of many devices; each round has an hour of its own."""
    start_us = time.time_ns() // 1_000 - (number + 2) * 3_600_000_000
    uplinks = []
    for index in range(readings // READINGS_PER_UPLINK):
        device, turn = f"bench-{index % DEVICES}", index // DEVICES
        first = turn * READINGS_PER_UPLINK + 1
        rows = [
            Reading(f"sensor/{at}", start_us + turn * 1_000_000 + at, 20.0 + at / 7, "Cel") for at in range(READINGS_PER_UPLINK)
        ]
        uplinks.append(Uplink(device, "bench", start_us, f"{number + 1:016x}", first, rows))
    return [UplinkBatch(uplinks[at : at + UPLINKS_PER_BATCH]) for at in range(0, len(uplinks), UPLINKS_PER_BATCH)]


def _record(store: SqlStore, log: Log, batches: Sequence[UplinkBatch], readings: int) -> float:
    for batch in batches:
        log.append(TOPIC, partition_of(batch.uplinks[0].device), [(None, encode(batch))]).result(30)
    stopping, left = threading.Event(), readings

    def count(stored: object) -> None:
        nonlocal left
        left -= len(stored)  # type: ignore[arg-type]
        if left <= 0:
            stopping.set()

    recorder = Recorder(log, store.uplink_writer(), stopping=stopping, on_stored=count)
    started = time.perf_counter()
    recorder.run()
    return time.perf_counter() - started


def _insert(store: SqlStore, batches: Sequence[UplinkBatch]) -> float:
    """The same rows, an hour each of negative series so that no key collides, in transactions of the recorder's size."""
    rows: list[Row] = []
    for batch in batches:
        for uplink in batch.uplinks:
            device = int(uplink.device.rpartition("-")[2])
            for at, (_, t_us, value, unit) in enumerate(uplink.readings):
                rows.append((-1 - device * READINGS_PER_UPLINK - at, t_us, *columns_of(value), unit))
    bulk: Bulk = SqliteBulk() if store.is_sqlite else PostgresBulk()
    started = time.perf_counter()
    for at in range(0, len(rows), READINGS_MAX):
        with store.transaction() as connection:
            bulk.insert(connection, rows[at : at + READINGS_MAX])
    return time.perf_counter() - started
