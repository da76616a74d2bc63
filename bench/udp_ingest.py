"""Uplinks that one udp-server acknowledges: per second, per second of its processor time, and how long each waits."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from simway_backbone import open_log
from simway_protocol.messages import RegistryEntry, encode
from simway_testing.platform import free_port

from bench.figures import Figure, progress, publish, quantile
from bench.generator import Load, command

DEVICES = tuple(f"bench-{number}" for number in range(32))
"""Enough that the server is what is waited for: with 8, of 48 datagrams in flight each, the wait for the broker was measured."""
STEADY_DEVICES = DEVICES[:8]
STEADY_HZ = 2_000
AIM_ONE_HZ = 25_000
AIM_TWENTY_HZ = 150_000
AIM_ACK_P99_MS = 25
WARM_UP_UPLINKS = 2_000
"""Sent before anything is measured: connections, the broker's compiler, caches."""


class Server:
    """A udp-server on a log, with the devices of the bench registered."""

    def __init__(self, port: int, master_hex: str, process: psutil.Process) -> None:
        self.port, self.master_hex, self._process = port, master_hex, process

    def cpu_s(self) -> float:
        """Processor time of the server's processes so far."""
        family = [self._process, *self._process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in family)


@contextmanager
def server(directory: Path, log_url: str) -> Iterator[Server]:
    """Starts it and ends it."""
    master_hex = secrets.token_hex(32)
    secret = directory / "master.key"
    secret.write_text(master_hex)
    secret.chmod(0o600)
    _register(log_url)
    port, health = free_port(), free_port()
    environment = {
        **os.environ, "LOG_URL": log_url, "MASTER_SECRET_FILE": str(secret), "UDP_HOST": "127.0.0.1", "UDP_PORT": str(port),
        "UDP_METRICS_PORT": str(health), "LOG_LEVEL": "warning",
    }  # fmt: skip
    with (directory / "udp-server.log").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "simway_udp_server"], env=environment, stdout=output, stderr=output)
        try:
            _await_ready(f"http://127.0.0.1:{health}/health/ready", directory / "udp-server.log")
            yield Server(port, master_hex, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(20)


def _register(log_url: str) -> None:
    log = open_log(log_url, client_id="bench")
    log.ensure_topics()
    now_us = time.time_ns() // 1_000
    entries = [(device.encode(), encode(RegistryEntry(device, "active", [1], now_us))) for device in DEVICES]
    log.append("registry", 0, entries).result(30)
    log.close()


def _await_ready(url: str, output: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"udp-server is not ready:\n{output.read_text()[-2000:]}")


def measure(directory: Path, log_url: str, log_name: str, *, scale: float) -> list[Figure]:
    """The figures on one log. ``scale`` 1 is the full length, less is quicker."""
    figures: list[Figure] = []
    for per, uplinks, aim in ((1, 120_000, AIM_ONE_HZ), (20, 20_000, AIM_TWENTY_HZ)):
        with _fresh(directory / f"{log_name}-{per}") as place, server(place, log_url.format(place=place)) as target:
            load = Load(target.port, target.master_hex, DEVICES, int(uplinks * scale), per)
            progress(f"{log_name}: {load.uplinks} uplinks of {per}")
            _run(target, replace(load, uplinks=WARM_UP_UPLINKS))
            result, cpu_s = _run(target, load)
            figures += _speed(log_name, per, result, cpu_s, aim)
            if per == 1:
                steady = Load(target.port, target.master_hex, STEADY_DEVICES, int(STEADY_HZ * max(2, 10 * scale)), 1, STEADY_HZ)
                figures += _latency(log_name, _run(target, steady)[0])
    return figures


def _run(target: Server, load: Load) -> tuple[dict[str, object], float]:
    with subprocess.Popen(command(load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as generator:
        assert generator.stdin
        assert generator.stdout
        if generator.stdout.readline().strip() != "ready":
            raise SystemExit("the generator did not get ready")
        before = target.cpu_s()
        generator.stdin.write("go\n")
        generator.stdin.flush()
        line = generator.stdout.readline()
        if not line:
            raise SystemExit("the generator gave up; what it said is above")
        return json.loads(line), target.cpu_s() - before


def _speed(log_name: str, per: int, result: dict[str, object], cpu_s: float, aim: int) -> list[Figure]:
    uplinks, elapsed_s = int(str(result["uplinks"])), float(str(result["elapsed_s"]))
    name = f"udp_ingest_{log_name}_{per}"
    unit = "uplinks" if per == 1 else "readings"
    per_cpu_s = uplinks * per / cpu_s
    return [
        publish(Figure(f"{name}_per_s", uplinks / elapsed_s, "uplinks/s", "generator on the same cores")),
        publish(Figure(f"{name}_per_cpu_s", per_cpu_s, f"{unit}/CPU-s", f"aim {aim}", per_cpu_s / aim)),
        publish(Figure(f"{name}_lost", float(str(result["lost"])), "datagrams", "aim 0")),
    ]


def _latency(log_name: str, result: dict[str, object]) -> list[Figure]:
    latencies = result["latencies_s"]
    assert isinstance(latencies, list)
    p50, p99 = (quantile(latencies, share) * 1000 for share in (0.5, 0.99))
    name = f"udp_ack_{log_name}_at_{STEADY_HZ}_per_s"
    return [
        publish(Figure(f"{name}_p50", p50, "ms", f"aim {AIM_ACK_P99_MS} for p99", p50 / AIM_ACK_P99_MS)),
        publish(Figure(f"{name}_p99", p99, "ms", f"aim {AIM_ACK_P99_MS}", p99 / AIM_ACK_P99_MS)),
    ]


@contextmanager
def _fresh(place: Path) -> Iterator[Path]:
    place.mkdir(parents=True)
    yield place
