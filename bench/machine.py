"""The machine and the programs that figures were taken with: a figure without them says nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import apsw
import psutil
from simway_testing import kafka_server, postgres_server

SYNCS = 40
SYNC_BYTES = 4096
IN_MEMORY = ("tmpfs", "ramfs")


def place() -> Path:
    """Where runs keep their data: the usual temporary folder, unless that lies in memory, where fsync costs nothing."""
    usual = Path(tempfile.gettempdir())
    return Path("/var/tmp") if filesystem(usual) in IN_MEMORY else usual


def describe(directory: Path) -> list[str]:
    """A few lines: processor, cores, memory, system; versions; the disk below ``directory`` and how long its fsync takes."""
    memory_gib = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    p50_ms, p99_ms = (1000 * value for value in sync_times_s(directory))
    java = f"Java {java_version()}" if shutil.which("java") else "no Java"
    system = f"{platform.system()} {platform.release()}"
    return [
        f"{_cpu()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB; {system}; load {load:.1f} at the start",
        f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, PostgreSQL {postgres_version()}, "
        f"Kafka {kafka_version()} on {java}",
        f"{filesystem(directory)}, fdatasync of 4 KiB: median {p50_ms:.2f} ms, worst of {SYNCS} {p99_ms:.1f} ms",
    ]  # fmt: skip


def sync_times_s(directory: Path) -> tuple[float, float]:
    """Median and longest time of an appended page until the disk has it."""
    times = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times), max(times)


def filesystem(directory: Path) -> str:
    """The type of the file system that holds ``directory``."""
    mounts = (line.split() for line in _lines(Path("/proc/self/mounts")))
    kinds = {Path(mount[1]): mount[2] for mount in mounts}
    resolved = directory.resolve()
    return next((kinds[path] for path in (resolved, *resolved.parents) if path in kinds), "unknown file system")


def postgres_version() -> str:
    """Of the server that a run starts."""
    try:
        return first_version(_said([str(postgres_server._tools() / "postgres"), "--version"]))
    except Exception:
        return "not installed"


def kafka_version() -> str:
    """Of the broker that a run starts: what the pom asks for."""
    found = re.search(r"<artifactId>kafka_[^<]*</artifactId>\s*<version>([^<]+)<", kafka_server.POM.read_text())
    return found[1] if found else "?"


def java_version() -> str:
    """Of the Java that runs the broker."""
    return first_version(_said(["java", "-version"]))


def first_version(text: str) -> str:
    """The first thing in a program's own words that looks like a version."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else "?"


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _cpu() -> str:
    names = (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name"))
    return next(names, platform.machine())


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
