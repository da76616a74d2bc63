"""The served process: started as people start it, ended by signals, on a port that may be taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from simway_testing.platform import base_environment, free_port
from simway_testing.waiting import wait_for

ENDS_WITHIN_S = 25.0
"""Well under the 30 s after which gunicorn kills a worker that streams keep."""


class Served:
    """A web process on data of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.environment = base_environment() | {
            "WEB_PORT": str(self.port), "WEB_METRICS_PORT": str(free_port()), "LOG_FORMAT": "console",
        }  # fmt: skip
        self.run("init").check_returncode()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.folder / 'var/admin.token').read_text().strip()}"}

    def run(self, command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "simway_flask_app", command], cwd=self.folder, env=self.environment | settings,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def start(self) -> None:
        """Unless it runs: each test may be the first in its process."""
        if self.process is not None and self.process.poll() is None:
            return
        with (self.folder / "web.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "simway_flask_app", "web"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        wait_for(self._answers, 30, (self.folder / "web.log").read_text)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/v1/health", timeout=2).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.terminate()
        made.process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_open_streams_do_not_keep_it_from_ending(served: Served, number: signal.Signals) -> None:
    served.start()
    assert served.process is not None
    streams = [requests.get(f"{served.url}/api/v1/events", headers=served.authorized, stream=True, timeout=60) for _ in range(3)]
    assert [next(stream.iter_lines()) for stream in streams] == [b"retry: 2000"] * 3
    served.process.send_signal(number)
    assert served.process.wait(ENDS_WITHIN_S) == 0
    for stream in streams:
        stream.close()


def test_a_worker_whose_parent_was_killed_ends_too(served: Served) -> None:
    served.start()
    assert served.process is not None
    stream = requests.get(f"{served.url}/api/v1/events", headers=served.authorized, stream=True, timeout=60)
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait(60)
    wait_for(lambda: not _listening(served.port), 60, "the worker let go of the port")
    stream.close()


def test_a_worker_whose_parent_was_killed_waits_for_no_client_that_stalls(served: Served) -> None:
    served.start()
    assert served.process is not None
    head = f"POST /api/v1/devices HTTP/1.1\r\nAuthorization: {served.authorized['Authorization']}\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert requests.get(f"{served.url}/api/v1/health", timeout=60).status_code == 200
        workers = psutil.Process(served.process.pid).children(recursive=True)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait(60)
        _, alive = psutil.wait_procs(workers, ENDS_WITHIN_S)
        assert alive == []


def test_what_is_no_http_is_answered_with_problem_details(served: Served) -> None:
    served.start()
    for sent, status in ((b"GARBAGE\r\n\r\n", b"400"), (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"414")):
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"application/problem+json" in answer


def test_a_body_without_a_length_is_limited_too(served: Served) -> None:
    served.start()
    chunks = (b"x" * 8192 for _ in range(64))
    answer = requests.post(
        f"{served.url}/api/v1/devices", data=chunks, headers=served.authorized | {"Content-Type": "application/json"}, timeout=60
    )
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


def test_a_taken_port_is_one_clear_line(served: Served) -> None:
    served.start()
    taken = served.environment
    for setting, free in (("WEB_PORT", "WEB_METRICS_PORT"), ("WEB_METRICS_PORT", "WEB_PORT")):
        ended = served.run("web", **{free: str(free_port())})
        assert ended.returncode == 2
        lines = ended.stderr.strip().splitlines()
        assert len(lines) == 1
        assert taken[setting] in lines[0]
        assert setting in lines[0]


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
