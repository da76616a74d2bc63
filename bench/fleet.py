"""Throughput from datagram to row with 1,000, 10,000 and 100,000 devices, and what an idle device costs in memory.

One udp-server worker and one recorder on one log and one store. Each fleet sends the same number of uplinks of twenty readings of
one sensor; each of its devices has sent before. The fleet's generator encrypts ahead and keeps the sessions of all its devices.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simway_flask_app.store.sql import open_store

from bench.figures import Figure, progress, publish
from bench.fleet_generator import EPOCH, device_name
from bench.services import recorder, udp_server
from bench.stored import await_drained, made, open_for_looking, stored

AIM_RATIO = 0.8
READINGS = 20
SETTLED_S = 2.0
"""After attaching: the events of devices reach the log, workers report."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one fleet gave. Memory in bytes, of all processes of a service; ``before``: the registry known, nobody attached."""

    devices: int
    acknowledged_per_s: float
    stored_per_s: float
    attaches_per_s: float
    udp_before: int
    udp_attached: int
    recorder_before: int
    recorder_known: int


def measure(
    directory: Path, log_url: str, store_url: str, name: str, *, sizes: Sequence[int], uplinks: int, rounds: int
) -> list[Figure]:
    """The figures on one pair of log and store, which keeps the readings of all sizes; the smallest size first."""
    store = open_store(store_url)
    store.migrate()
    store.close()
    results = []
    for size in sizes:
        place = made(directory / f"fleet-{size}")
        progress(f"fleet on {name}: {size} devices attach, then send {rounds} times {uplinks} uplinks of {READINGS}")
        results.append(_measure(place, log_url.format(place=place), store_url, size, max(1, uplinks // size), rounds))
    return [figure for result in results for figure in _figures(name, result, results[0])] + _memory(
        name, results[0], results[-1]
    )


def _measure(place: Path, log_url: str, store_url: str, size: int, turns: int, rounds: int) -> Result:
    store, log = open_store(store_url), open_for_looking(log_url)
    devices = [device_name(place.name, index) for index in range(size)]
    with udp_server(place, log_url, devices) as target, recorder(place, log_url, store_url) as taker:
        before = target.service.memory_bytes(), taker.memory_bytes()
        with _generator(place.name, target.port, target.master_hex) as tell:
            attached = tell({"attach": size})
            time.sleep(SETTLED_S)
            udp_attached = target.service.memory_bytes()
            there = stored(store, EPOCH)
            tell({"send": 1, "readings": 1})
            await_drained(store, log)
            recorder_known = taker.memory_bytes()
            acknowledged, whole = [], []
            for _ in range(rounds):
                sent = tell({"send": turns, "readings": READINGS})
                done = sent["uplinks"] * READINGS
                acknowledged.append(done / sent["elapsed_s"])
                whole.append(done / (await_drained(store, log) - sent["began_s"]))
            due = size + rounds * size * turns * READINGS
            if stored(store, EPOCH) - there != due:
                raise SystemExit(f"{stored(store, EPOCH) - there} of {due} readings of {size} devices were stored")
    store.close()
    return Result(
        size, statistics.median(acknowledged), statistics.median(whole), size / attached["elapsed_s"], before[0], udp_attached,
        before[1], recorder_known,
    )  # fmt: skip


@contextmanager
def _generator(name: str, port: int, master_hex: str) -> Iterator[Any]:
    """Tells the fleet's generator what to do; the function blocks until it is done, and gives what that says."""
    command = [sys.executable, "-m", "bench.fleet_generator", name, str(port), master_hex]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def tell(order: dict[str, int]) -> dict[str, Any]:
            stdin.write(json.dumps(order) + "\n")
            stdin.flush()
            line = stdout.readline()
            if not line:
                raise SystemExit("the fleet's generator gave up; what it said is above")
            found: dict[str, Any] = json.loads(line)
            return found

        try:
            yield tell
            stdin.write("\n")
            stdin.flush()
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.kill()


def _figures(name: str, result: Result, least: Result) -> list[Figure]:
    figure = f"fleet_{name}_{result.devices}"
    aim = f", aim {AIM_RATIO}" if result is not least else ""
    against = f"{least.devices} devices in the same run{aim}"
    pairs = (
        ("stored", result.stored_per_s, least.stored_per_s),
        ("acknowledged", result.acknowledged_per_s, least.acknowledged_per_s),
    )
    return [
        *(publish(Figure(f"{figure}_{what}", rate, "readings/s", against, rate / first)) for what, rate, first in pairs),
        publish(Figure(f"{figure}_attaches", result.attaches_per_s, "attaches/s", "generator on the same cores")),
    ]


def _memory(name: str, least: Result, most: Result) -> list[Figure]:
    """Differences between the largest fleet and the smallest, so that what a process holds without devices is left out."""
    if most.devices == least.devices:
        return []

    def each(what: str) -> float:
        return (getattr(most, what) - getattr(least, what)) / (most.devices - least.devices) / 1024

    against = f"{most.devices} devices less {least.devices}"
    parts = (
        ("registry", each("udp_before"), "udp-server"),
        ("session", each("udp_attached") - each("udp_before"), "udp-server"),
        ("recorder", each("recorder_known") - each("recorder_before"), "recorder"),
    )
    return [publish(Figure(f"fleet_{name}_memory_{what}", kib, "KiB/device", f"{who}, {against}")) for what, kib, who in parts]
