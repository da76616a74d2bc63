"""The platform's services as processes of a bench: started, asked for their own counts, weighed, ended."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families
from simway_backbone import open_log
from simway_protocol.messages import RegistryEntry, encode
from simway_testing.ports import free_port

READY_WITHIN_S = 180.0
STOP_WITHIN_S = 20.0
ENTRIES_TOGETHER = 2_000
"""Records of the registry that go into the log in one append."""


class Service:
    """A service that is ready. ``metrics_url``: where it tells its counts."""

    def __init__(self, process: psutil.Process, metrics_url: str) -> None:
        self._process, self._metrics_url = process, metrics_url

    def cpu_s(self) -> float:
        """Processor time of its processes so far, those that ended included."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def memory_bytes(self) -> int:
        """What its processes hold for themselves (unique set size)."""
        return sum(int(process.memory_full_info().uss) for process in self._family())

    def counts(self) -> dict[str, float]:
        """Its metrics' samples, summed over labels, by name. Workers report to their parent once a second."""
        text = urllib.request.urlopen(self._metrics_url, timeout=10).read().decode()
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return totals

    def _family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@contextmanager
def service(name: str, arguments: Sequence[str], settings: Mapping[str, str], directory: Path, ready: str) -> Iterator[Service]:
    """Starts ``python -m`` ``arguments``, waits until the URL ``ready`` answers 200; ends it. ``SystemExit`` when it cannot."""
    output = directory / f"{name}.log"
    environment = {**os.environ, "LOG_LEVEL": "warning", **settings}
    with output.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stdout=log, stderr=log)
        try:
            _await_ready(ready, process, output)
            yield Service(psutil.Process(process.pid), ready.replace("/health/ready", "/metrics"))
        finally:
            process.terminate()
            process.wait(STOP_WITHIN_S)


def _await_ready(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"not ready at {url}:\n{output.read_text()[-2000:]}")


@dataclass(frozen=True, slots=True)
class UdpServer:
    """A udp-server that knows some devices: their keys come from the master secret."""

    service: Service
    port: int
    master_hex: str


@contextmanager
def udp_server(directory: Path, log_url: str, devices: Sequence[str]) -> Iterator[UdpServer]:
    """One with a single worker, which reads the registry with ``devices`` in it from the log."""
    master_hex = secrets.token_hex(32)
    secret = directory / "master.key"
    secret.write_text(master_hex)
    secret.chmod(0o600)
    register(log_url, devices)
    port, health = free_port(), free_port()
    settings = {
        "LOG_URL": log_url, "MASTER_SECRET_FILE": str(secret), "UDP_HOST": "127.0.0.1", "UDP_PORT": str(port),
        "UDP_METRICS_PORT": str(health),
    }  # fmt: skip
    ready = f"http://127.0.0.1:{health}/health/ready"
    with service("udp-server", ["simway_udp_server"], settings, directory, ready) as running:
        yield UdpServer(running, port, master_hex)


@contextmanager
def recorder(directory: Path, log_url: str, store_url: str) -> Iterator[Service]:
    """One recorder on a store whose schema is there."""
    health = free_port()
    settings = {"LOG_URL": log_url, "STORE_URL": store_url, "RECORDER_METRICS_PORT": str(health)}
    ready = f"http://127.0.0.1:{health}/health/ready"
    with service("recorder", ["simway_flask_app", "recorder"], settings, directory, ready) as running:
        yield running


def register(log_url: str, devices: Sequence[str]) -> None:
    """Puts the devices into the topic ``registry``, as the platform's own outbox would."""
    log = open_log(log_url, client_id="bench")
    log.ensure_topics()
    now_us = time.time_ns() // 1_000
    for at in range(0, len(devices), ENTRIES_TOGETHER):
        entries = [
            (device.encode(), encode(RegistryEntry(device, "active", [1], now_us)))
            for device in devices[at : at + ENTRIES_TOGETHER]
        ]
        log.append("registry", 0, entries).result(30)
    log.close()
