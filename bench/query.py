"""A chart of one day at one reading a second: how long the REST API takes for it, from a rollup and from what was recorded."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from simway_backbone import open_log
from simway_flask_app import aggregates
from simway_flask_app.recorder import spare_the_collector
from simway_flask_app.store.questions import Question
from simway_flask_app.store.sql import open_store
from simway_protocol.messages import Uplink, UplinkBatch
from simway_protocol.readings import Reading
from simway_testing.ports import free_port

from bench import bare
from bench.figures import Figure, progress, publish, quantile
from bench.recorder import Taker
from bench.services import service

AIM_MS = 50
DAY_S = 86_400
SECOND_US, MINUTE_US = 1_000_000, 60_000_000
DEVICE, SENSORS, SENSOR = "bench-day", 4, "sensor/0"
READINGS_PER_UPLINK = 400
WARM_UP = 3
CHART = {"window": "1m", "agg": "avg,min,max"}
"""1,440 windows: as many as a chart has pixels."""


def measure(directory: Path, store_url: str, name: str, *, times: int) -> list[Figure]:
    """The figures on one store, whose web process runs alone. ``times``: how often each question is asked."""
    from_us = (time.time_ns() // 1_000 // MINUTE_US) * MINUTE_US - DAY_S * SECOND_US
    _fill(directory, store_url, name, from_us)
    with _web(directory, store_url) as ask:
        span = {"sensor": SENSOR, "from": str(from_us), "to": str(from_us + DAY_S * SECOND_US)}
        progress(f"charts on {name}: {times} times each")
        rollup = _asked(ask, {**span, **CHART}, times, "minute", DAY_S // 60)
        raw = _asked(ask, {**span, "window": "59s", "agg": "avg,min,max"}, times, "raw", DAY_S // 59)
        pixels = _asked(ask, {**span, "points": "1000", "reduce": "minmax"}, times, None, 200)
    return _figures(name, rollup, _in_store(store_url, from_us, times), raw, pixels)


def _figures(name: str, rollup: list[float], stored: list[float], raw: list[float], pixels: list[float]) -> list[Figure]:
    p50, p99 = (quantile(rollup, share) * 1000 for share in (0.5, 0.99))
    stored_ms, raw_ms, pixels_ms = (statistics.median(times) * 1000 for times in (stored, raw, pixels))
    against = "the same chart from its rollup"
    return [
        publish(Figure(f"chart_{name}_from_rollup_p50", p50, "ms", f"aim {AIM_MS}", p50 / AIM_MS)),
        publish(Figure(f"chart_{name}_from_rollup_p99", p99, "ms", f"aim {AIM_MS} for p50", p99 / AIM_MS)),
        publish(Figure(f"chart_{name}_in_the_store_p50", stored_ms, "ms", f"aim {AIM_MS}", stored_ms / AIM_MS)),
        publish(Figure(f"chart_{name}_from_readings_p50", raw_ms, "ms", against, raw_ms / p50)),
        publish(Figure(f"chart_{name}_thousand_points_p50", pixels_ms, "ms", against, pixels_ms / p50)),
    ]


def _in_store(store_url: str, from_us: int, times: int) -> list[float]:
    """Seconds that the store alone takes for the chart from its rollup, in this process."""
    store, taken = open_store(store_url), []
    asked, window_us = aggregates.parse_aggregates(CHART["agg"]), aggregates.parse_window(CHART["window"])
    question = Question(DEVICE, (SENSOR,), from_us, from_us + DAY_S * SECOND_US)
    for _ in range(WARM_UP + times):
        began = time.perf_counter()
        answer = store.windows(question, window_us, asked, now_us=time.time_ns() // 1_000)
        taken.append(time.perf_counter() - began)
    store.close()
    if answer.tier != "minute" or len(answer.series[0].points) < DAY_S // 60:
        raise SystemExit(f"the store answered from tier {answer.tier} with {len(answer.series[0].points)} points")
    return taken[WARM_UP:]


def _asked(
    ask: Callable[[dict[str, str]], Any], question: dict[str, str], times: int, tier: str | None, least: int
) -> list[float]:
    """Seconds that each answer took to come whole; ``SystemExit`` when it is not what was asked for."""
    taken = []
    for number in range(WARM_UP + times):
        began = time.perf_counter()
        answer = ask(question)
        if number >= WARM_UP:
            taken.append(time.perf_counter() - began)
    points = sum(len(one["points"]) for one in answer["series"])
    if points < least or tier not in (None, answer["tier"]):
        raise SystemExit(f"{question} was answered from tier {answer['tier']} with {points} points")
    return taken


def _fill(directory: Path, store_url: str, name: str, from_us: int) -> None:
    """A day of each sensor, through the recorder, so that rollups are what they are in life."""
    progress(f"a day at 1 Hz into {name}: {SENSORS} sensors, {SENSORS * DAY_S} readings")
    spare_the_collector()
    store = open_store(store_url)
    store.migrate()
    now_us = time.time_ns() // 1_000
    store.add_device(DEVICE, name="a day", now_us=now_us)
    log = open_log(f"sqlite:///{directory / 'day-log'}", client_id="bench")
    log.ensure_topics()
    taker = Taker(store, log)
    taker.record(list(_day(from_us, now_us)))
    taker.close()
    log.close()
    store.close()


def _day(from_us: int, now_us: int) -> Iterator[UplinkBatch]:
    each = READINGS_PER_UPLINK // SENSORS
    for number in range(DAY_S // each):
        readings = [
            Reading(f"sensor/{sensor}", from_us + (number * each + second) * SECOND_US, 20.0 + second % 7 + sensor, "Cel")
            for second in range(each)
            for sensor in range(SENSORS)
        ]
        yield UplinkBatch([Uplink(DEVICE, "bench", now_us, bare.EPOCH, number * READINGS_PER_UPLINK + 1, readings)])


@contextmanager
def _web(directory: Path, store_url: str) -> Iterator[Callable[[dict[str, str]], Any]]:
    """A question to the readings of the device on one connection kept open; the answer's JSON."""
    files = {}
    for name in ("MASTER_SECRET_FILE", "ADMIN_TOKEN_FILE", "SESSION_SECRET_FILE"):
        files[name] = directory / name.lower()
        files[name].touch(mode=0o600)
        files[name].write_text(secrets.token_hex(32))
    port = free_port()
    settings = {"STORE_URL": store_url, "WEB_HOST": "127.0.0.1", "WEB_PORT": str(port)}
    settings |= {name: str(path) for name, path in files.items()}
    base = f"http://127.0.0.1:{port}/api/v1"
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {files['ADMIN_TOKEN_FILE'].read_text()}"

    def ask(question: dict[str, str]) -> Any:
        answer = session.get(f"{base}/devices/{DEVICE}/readings", params=question, timeout=60)
        if answer.status_code != 200:
            raise SystemExit(f"{question}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    with service("web", ["simway_flask_app", "web"], settings, directory, f"{base}/health"), session:
        yield ask
