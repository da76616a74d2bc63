"""A bench that is told to end takes what it started with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from simway_testing.waiting import wait_for


def test_services_and_folders_go_when_a_bench_is_terminated(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "bench", "--quick", "--embedded", "--only", "udp"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with (tmp_path / "output").open("wb") as output:
        bench = subprocess.Popen(arguments, stdout=output, stderr=output, env=environment)
    started: list[psutil.Process] = []
    try:
        started = wait_for(lambda: services(bench.pid), 30, "a udp-server and its worker run")
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(40) != 0
        assert not [process for process in started if process.is_running()]
        assert [path.name for path in tmp_path.iterdir()] == ["output"]
    finally:
        for process in (bench, *started):
            if (process.poll() is None) if process is bench else process.is_running():
                process.kill()


def services(bench_pid: int) -> list[psutil.Process]:
    """The bench's udp-server with its worker; nothing before both are there."""
    family = psutil.Process(bench_pid).children(recursive=True)
    return family if len(family) > 1 and any("simway_udp_server" in process.cmdline() for process in family) else []
