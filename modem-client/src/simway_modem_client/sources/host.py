"""Source ``host``: real measurements of this machine, by psutil. Units as registered for SenML (RFC 8428, 12.1; RFC 8798)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import psutil
import structlog

from simway_modem_client.entries import Entry, ReadingRefused, make_entry
from simway_modem_client.outbox import Outbox
from simway_modem_client.sources import SourceReport, tell_dropped

log = structlog.get_logger(__name__)

Measured: TypeAlias = tuple[str, float | int, str | None]
"""Sensor, value, unit."""


class _Totals(NamedTuple):
    """Counters since boot, in bytes, that rates are made from."""

    at_s: float
    by_name: dict[str, int]


class HostSource:
    """Measures every ``interval_s``; readings of one round carry one time."""

    ends = False

    def __init__(self, interval_s: float, *, disk_path: str = "/") -> None:
        self._interval_s = interval_s
        self._disk_path = disk_path
        self._totals: _Totals | None = None
        self._missing: set[str] = set()

    def run(self, outbox: Outbox, stopping: threading.Event) -> SourceReport:
        """Until ``stopping``."""
        report = SourceReport()
        psutil.cpu_percent()  # the first call has nothing to compare with
        next_s = time.monotonic()
        while not stopping.wait(max(0.0, next_s - time.monotonic())):
            next_s = max(next_s + self._interval_s, time.monotonic())
            entries = self.measure()
            tell_dropped(outbox.put(entries))
            report.entered += len(entries)
        return report

    def measure(self) -> list[Entry]:
        """One round of measurements, now. What this machine does not have is left out."""
        t_us = time.time_ns() // 1000
        entries: list[Entry] = []
        for part in (_cpu, _memory, _load, _temperatures, self._disk, self._rates):
            for sensor, value, unit in self._try(part):
                try:
                    entries.append(make_entry(sensor, value, unit, t_us))
                except ReadingRefused as error:
                    self._once(sensor, str(error))
        return entries

    def _try(self, part: Callable[[], Iterator[Measured]]) -> list[Measured]:
        try:
            return list(part())
        except (OSError, AttributeError, NotImplementedError, RuntimeError, psutil.Error) as error:
            self._once(part.__name__, str(error))
            return []

    def _once(self, what: str, why: str) -> None:
        if what not in self._missing:
            self._missing.add(what)
            log.info("not measured on this machine", what=what, why=why)

    def _disk(self) -> Iterator[Measured]:
        usage = psutil.disk_usage(self._disk_path)
        yield "disk/used", usage.used, "B"
        yield "disk/free", usage.free, "B"
        yield "disk/usage", usage.percent, "%"

    def _rates(self) -> Iterator[Measured]:
        now = _Totals(time.monotonic(), _byte_totals())
        before, self._totals = self._totals, now
        for name, total in now.by_name.items():
            yield name, total, "B"
            if before is not None and total >= before.by_name.get(name, total + 1) and now.at_s > before.at_s:
                rate = (total - before.by_name[name]) / (now.at_s - before.at_s)
                yield f"{name}_rate", round(rate, 1), "B/s"


def _cpu() -> Iterator[Measured]:
    yield "cpu", psutil.cpu_percent(), "%"


def _memory() -> Iterator[Measured]:
    memory = psutil.virtual_memory()
    yield "memory", memory.percent, "%"
    yield "memory/used", memory.used, "B"
    yield "memory/available", memory.available, "B"


def _load() -> Iterator[Measured]:
    one, five, fifteen = os.getloadavg()
    yield "load/1min", round(one, 2), None
    yield "load/5min", round(five, 2), None
    yield "load/15min", round(fifteen, 2), None
    yield "uptime", round(time.time() - psutil.boot_time()), "s"


def _temperatures() -> Iterator[Measured]:
    read: Callable[[], dict[str, list[Any]]] = getattr(psutil, "sensors_temperatures", dict)
    seen: set[str] = set()
    for chip, sensors in read().items():
        for number, sensor in enumerate(sensors):
            name = _plain_name(f"temperature/{chip}/{sensor.label or number}")
            while name in seen:
                name += "_"
            seen.add(name)
            if sensor.current is not None:
                yield name, round(float(sensor.current), 1), "Cel"


def _byte_totals() -> dict[str, int]:
    """Bytes since boot: all network interfaces but loopback together, all disks together."""
    interfaces = [counters for name, counters in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    totals = {
        "network/received": sum(counters.bytes_recv for counters in interfaces),
        "network/sent": sum(counters.bytes_sent for counters in interfaces),
    }
    disks = psutil.disk_io_counters()
    if disks is not None:
        totals |= {"disk/read": disks.read_bytes, "disk/written": disks.write_bytes}
    return totals


def _plain_name(text: str) -> str:
    """Only the characters that SenML allows in a name."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "-:./_") else "_" for char in text)
