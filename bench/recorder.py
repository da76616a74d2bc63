"""Rows a second of the recorder, log, rollups and ledger included, against the bare bulk insert into the same table and keys.

Both ways are taken alternately in one run, on tables that hold the same; what the bare way is: ``bare``. A short round of both
goes ahead and does not count: it makes the series and opens connections, which a recorder does once. Behind it every series is
given a past: a table of few rows lies in the cache and takes others at three times the speed. The times of the rounds grow, as
they do in life: so each round raises the newest values.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

from simway_backbone import open_log
from simway_backbone.log import Log
from simway_flask_app.intake import FRESH_S
from simway_flask_app.recorder import TOPIC, Recorder, spare_the_collector
from simway_flask_app.rights import WriterKey
from simway_flask_app.store import uplinks
from simway_flask_app.store.rollups import AddedUp, add_up
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import StoredReadings
from simway_flask_app.store.values import Row
from simway_protocol.identity import partition_of
from simway_protocol.messages import UplinkBatch, encode

from bench import bare
from bench.bare import Shape
from bench.figures import Figure, median_ratio, progress, publish

AddUp: TypeAlias = Callable[[Sequence[Row]], AddedUp]

AIM_RATIO = 0.5
AHEAD_SHARE = 0.25
"""Of a round: so long is the one that goes ahead."""
STORED_WITHIN_S = 300.0
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """A shape of traffic, and how its figures are told apart."""

    suffix: str
    shape: Shape
    aim: str


LOADS = (Load("", Shape(100, 20), f", aim {AIM_RATIO}"), Load("_many_devices", Shape(5_000, 1), ""))


def measure(directory: Path, store_url: str, name: str, *, readings: int, rounds: int, quick: bool = False) -> list[Figure]:
    """The figures for one database. ``readings`` in each turn; their times lie one after the other.

    ``quick``: the first load alone, and nothing of what rollups cost.
    """
    spare_the_collector()
    store = open_store(store_url)
    store.migrate()
    log = open_log(f"sqlite:///{directory / 'recorder-log'}", client_id="bench")
    log.ensure_topics()
    ways = WAYS[:1] if quick else WAYS
    loads = LOADS[:1] if quick else LOADS
    figures = [figure for load in loads for figure in _measure_load(store, log, name, load, ways, readings, rounds)]
    log.close()
    store.close()
    return figures


def _measure_load(
    store: SqlStore, log: Log, name: str, load: Load, ways: Sequence[AddUp], readings: int, rounds: int
) -> list[Figure]:
    """Each round: the recorder in each of the ways, then the bare one."""
    taker = Taker(store, log)
    first_us = time.time_ns() // 1_000 - DAY_US
    rates: list[list[float]] = [[] for _ in ways]
    top = []
    for number in range(rounds + 1):
        size = readings if number else int(readings * AHEAD_SHARE)
        progress(f"recorder{load.suffix} on {name}: round {number} of {rounds}, {size} readings {len(ways) + 1} times")
        for turn, (of_way, way) in enumerate(zip(rates, ways, strict=True), len(ways) * number):
            made = bare.batches(load.shape, size, first_us + turn * HOUR_US, turn * readings)
            with patch.object(uplinks, "add_up", way):
                of_way.append(taker.record(made))
        top.append(size / bare.insert(store, load.shape, made))
        if not number:
            bare.fill(store, load.shape, first_us)
    taker.close()
    return _figures(f"recorder_{name}{load.suffix}", bare.way(store), load.aim, [of_way[1:] for of_way in rates], top[1:])


def _newest_alone(rows: Sequence[Row]) -> AddedUp:
    """What a recorder without rollups asks of a batch: the newest row of each series."""
    newest: dict[int, Row] = {}
    for row in rows:
        best = newest.get(row[0])
        if best is None or best[1] < row[1]:
            newest[row[0]] = row
    return AddedUp(list(newest.values()), {}, {}, {})


WAYS: tuple[AddUp, ...] = (add_up, _newest_alone)
"""What the recorder adds up: as it is, and without rollups."""


def _figures(name: str, bare_way: str, aim: str, rates: Sequence[list[float]], top: list[float]) -> list[Figure]:
    recorded, *lean = rates
    figures = [
        Figure(f"{name}_bare", statistics.median(top), "rows/s", f"{bare_way} into readings, primary key in place"),
        Figure(name, statistics.median(recorded), "rows/s", f"{bare_way} in the same run{aim}", median_ratio(recorded, top)),
    ]
    for of_way in lean:
        against = "the recorder with rollups in the same run"
        ratio = median_ratio(of_way, recorded)
        figures.append(Figure(f"{name}_without_rollups", statistics.median(of_way), "rows/s", against, ratio))
    return [publish(figure) for figure in figures]


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
        """Readings a second. The first batch goes ahead, and the recorder waits behind it until all the others are in the log,
        and old enough that none of them is news: a backlog, in transactions of full size.
        """
        self._parks = True
        self._expect(made[:1])
        _await(self._parked)
        self._parked.clear()
        self._parks = False
        readings = self._expect(made[1:])
        time.sleep(FRESH_S)
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
