"""Rows a second of the recorder, log, rollups and ledger included, against the bare bulk insert into the same table and keys.

Both ways are taken alternately in one run, on tables that hold the same; what the bare way is: ``bare``. A first round of both
goes ahead and does not count: it makes the series and opens connections, which a recorder does once. Behind it every series is
given a past: a table of few rows lies in the cache and takes others at three times the speed. The times of the rounds grow, as
they do in life: so each round raises the newest values.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from simway_backbone import open_log
from simway_backbone.log import Log
from simway_flask_app.recorder import TOPIC, Recorder, spare_the_collector
from simway_flask_app.rights import WriterKey
from simway_flask_app.store import uplinks
from simway_flask_app.store.rollups import AddedUp
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import StoredReadings
from simway_flask_app.store.values import Row
from simway_protocol.identity import partition_of
from simway_protocol.messages import UplinkBatch, encode

from bench import bare
from bench.bare import Shape
from bench.figures import Figure, median_ratio, progress, publish

AIM_RATIO = 0.5
STORED_WITHIN_S = 300.0
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """A shape of traffic, and how its figures are told apart."""

    suffix: str
    shape: Shape
    aim: str


LOADS = (Load("", Shape(100, 20), f", aim {AIM_RATIO}"), Load("_many_devices", Shape(5_000, 1), ""))


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
    """Each round: the recorder, the recorder without rollups, the bare way."""
    taker = Taker(store, log)
    first_us = time.time_ns() // 1_000 - DAY_US
    recorded, lean, top = [], [], []
    for number in range(rounds + 1):
        progress(f"recorder{load.suffix} on {name}: round {number} of {rounds}, {readings} readings three times")
        for turn, (rates, add_up) in enumerate(((recorded, uplinks.add_up), (lean, _newest_alone)), 2 * number):
            made = bare.batches(load.shape, readings, first_us + turn * HOUR_US, turn * readings)
            with patch.object(uplinks, "add_up", add_up):
                rates.append(taker.record(made))
        top.append(readings / bare.insert(store, load.shape, made))
        if not number:
            bare.fill(store, load.shape, first_us)
    taker.close()
    return _figures(f"recorder_{name}{load.suffix}", bare.way(store), load.aim, recorded[1:], lean[1:], top[1:])


def _newest_alone(rows: Sequence[Row]) -> AddedUp:
    """What a recorder without rollups asks of a batch: the newest row of each series."""
    newest: dict[int, Row] = {}
    for row in rows:
        best = newest.get(row[0])
        if best is None or best[1] < row[1]:
            newest[row[0]] = row
    return AddedUp(list(newest.values()), {}, {}, {})


def _figures(name: str, way: str, aim: str, recorded: list[float], lean: list[float], top: list[float]) -> list[Figure]:
    rate, lean_rate, top_rate = (statistics.median(rates) for rates in (recorded, lean, top))
    without = "the recorder with rollups in the same run"
    return [
        publish(Figure(f"{name}_bare", top_rate, "rows/s", f"{way} into readings, primary key in place")),
        publish(Figure(name, rate, "rows/s", f"{way} in the same run{aim}", median_ratio(recorded, top))),
        publish(Figure(f"{name}_without_rollups", lean_rate, "rows/s", without, median_ratio(lean, recorded))),
    ]


class Taker:
    """A recorder in a thread, timed from what lies in the log until all of it is stored. It joins its group once, as in life."""

    def __init__(self, store: SqlStore, log: Log) -> None:
        self._log = log
        self._stopping, self._parked, self._go, self._done = (threading.Event() for _ in range(4))
        self._left, self._ended_s, self._parks = 0, 0.0, False
        recorder = Recorder(
            log, store.uplink_writer(), store.write_rights(WriterKey.make()), stopping=self._stopping, on_stored=self._stored
        )
        self._thread = threading.Thread(target=recorder.run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, made: Sequence[UplinkBatch]) -> float:
        """Readings a second. The first batch goes ahead, and the recorder waits behind it until all the others are in the log."""
        self._parks = True
        self._expect(made[:1])
        _await(self._parked)
        self._parked.clear()
        self._parks = False
        readings = self._expect(made[1:])
        began_s = time.perf_counter()
        self._go.set()
        _await(self._done)
        self._done.clear()
        return readings / (self._ended_s - began_s)

    def close(self) -> None:
        """Ends the recorder."""
        self._stopping.set()
        self._go.set()
        self._thread.join()

    def _expect(self, made: Sequence[UplinkBatch]) -> int:
        self._left = sum(len(uplink.readings) for batch in made for uplink in batch.uplinks)
        expected = self._left
        for batch in made:
            appended = self._log.append(TOPIC, partition_of(batch.uplinks[0].device), [(None, encode(batch))])
        appended.result(30)
        return expected

    def _stored(self, readings: StoredReadings) -> None:
        """In the recorder's thread."""
        self._left -= len(readings)
        if self._left > 0:
            return
        self._ended_s = time.perf_counter()
        if self._parks:
            self._parked.set()
            self._go.wait()
            self._go.clear()
        else:
            self._done.set()


def _await(event: threading.Event) -> None:
    if not event.wait(STORED_WITHIN_S):
        raise SystemExit(f"the recorder did not store all within {STORED_WITHIN_S:g} s")
