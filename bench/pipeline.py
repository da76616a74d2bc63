"""End to end: from datagrams of twenty readings to rows that anybody sees, against the bare bulk insert into the same table.

A real udp-server and a real recorder, each a process of its own, on one log and one store. Time runs from the first datagram
until the recorder has stored all that the log holds. Bare rounds and whole ones take turns.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

from simway_flask_app.store.sql import SqlStore, open_store

from bench import bare
from bench.bare import Shape
from bench.figures import Figure, median_ratio, progress, publish
from bench.generator import Load
from bench.sending import send
from bench.services import Service, UdpServer, recorder, udp_server
from bench.stored import await_drained, open_for_looking, stored

AIM_RATIO = 0.3
SHAPE = Shape(32, 20)
DEVICES = tuple(SHAPE.device(index) for index in range(SHAPE.devices))
WARM_UP_UPLINKS = 2_000
HOUR_US = 3_600_000_000


def measure(directory: Path, log_url: str, store_url: str, name: str, *, readings: int, rounds: int) -> list[Figure]:
    """The figures on one pair of log and store; ``readings`` in each round."""
    store = open_store(store_url)
    store.migrate()
    log = open_for_looking(log_url)
    with udp_server(directory, log_url, DEVICES) as target, recorder(directory, log_url, store_url) as taker:
        load = Load(target.port, target.master_hex, DEVICES, WARM_UP_UPLINKS, SHAPE.readings_per_uplink)
        whole, top, cpu = [], [], []
        for number in range(rounds + 1):
            progress(f"end to end on {name}: round {number} of {rounds}, {readings} readings")
            start_us = time.time_ns() // 1_000 + (number - rounds - 2) * HOUR_US
            top.append(readings / bare.insert(store, SHAPE, bare.batches(SHAPE, readings, start_us)))
            if number:
                load = replace(load, uplinks=readings // SHAPE.readings_per_uplink)
            before = _cpu_s(target, taker)
            load = replace(load, epoch=f"{number + 1:016x}", start_us=start_us)
            sent = send(load)
            whole.append(sent.uplinks * SHAPE.readings_per_uplink / (await_drained(store, log) - sent.began_s))
            cpu.append([(after - was) / readings * 1e6 for after, was in zip(_cpu_s(target, taker), before, strict=True)])
            _require_all(store, load, sent.uplinks)
    log.close()
    store.close()
    return _figures(name, bare.way(store), whole[1:], top[1:], cpu[1:])


def _cpu_s(target: UdpServer, taker: Service) -> list[float]:
    return [target.service.cpu_s(), taker.cpu_s()]


def _require_all(store: SqlStore, load: Load, uplinks: int) -> None:
    there, due = stored(store, load.epoch), uplinks * load.readings_per_uplink
    if there != due or uplinks != load.uplinks_each * len(load.devices):
        raise SystemExit(f"{load.uplinks} uplinks were sent, {uplinks} acknowledged, {there} of their {due} readings stored")


def _figures(name: str, way: str, whole: list[float], top: list[float], cpu: list[list[float]]) -> list[Figure]:
    rate, ratio = statistics.median(whole), median_ratio(whole, top)
    basis, against = f"{way} into readings, primary key in place", "processor time of its processes"
    sides = zip(("udp_server", "recorder"), zip(*cpu, strict=True), strict=True)
    return [
        publish(Figure(f"end_to_end_{name}_bare", statistics.median(top), "rows/s", basis)),
        publish(Figure(f"end_to_end_{name}", rate, "rows/s", f"{way} in the same run, aim {AIM_RATIO}", ratio)),
        *(
            publish(Figure(f"end_to_end_{name}_{side}_cpu", statistics.median(times), "us/reading", against))
            for side, times in sides
        ),
    ]  # fmt: skip
