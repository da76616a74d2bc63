"""Exports and imports through the real server: what breaks off midway never looks whole."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from simway_testing import REPOSITORY
from simway_testing.platform import base_environment, free_port
from simway_testing.waiting import wait_for
from simway_testing.web_site import DEVICE, TOKEN

ROWS = 3000
GOOD_PAGES = 5
SERVER = f"""
import sys
from pathlib import Path
from simway_flask_app.store import scan
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.web.serve import serve
from simway_testing.web_site import Site

def make_app():
    site = Site(Path(sys.argv[1]))
    site.enrol()
    site.measure("a", *(float(n) for n in range({ROWS})))
    return site.app

step, calls = scan._sqlite_step, []

def breaking(*arguments):
    if (Path(sys.argv[1]) / "break").exists():
        calls.append(1)
        if len(calls) > {GOOD_PAGES}:
            calls.clear()
            raise StoreUnavailable("the database went away")
    return step(*arguments)

scan.PAGE_ROWS, scan._sqlite_step = 100, breaking
serve(make_app, host="127.0.0.1", port=int(sys.argv[2]))
"""


class Server:
    """The web server on a store whose reads fail midway while the file ``break`` is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.headers = {"Authorization": f"Bearer {TOKEN}"}
        self.device = f"http://127.0.0.1:{self.port}/api/v1/devices/{DEVICE}"
        support = {"PYTHONPATH": str(REPOSITORY / "tests/support")}
        command = [sys.executable, "-c", SERVER, str(folder), str(self.port)]
        with (folder / "web.log").open("wb") as log:
            self._process = subprocess.Popen(command, env=base_environment() | support, stdout=log, stderr=log)
        try:
            wait_for(self._answers, 60, (folder / "web.log").read_text)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/api/v1/health", timeout=2).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("served"))
    yield made
    made.stop()


@pytest.fixture
def breaking(server: Server) -> Iterator[None]:
    mark = server.folder / "break"
    mark.touch()
    yield
    mark.unlink()


@pytest.mark.usefixtures("breaking")
@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet", "arrow"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_an_export_that_fails_midway_is_seen_by_its_client(server: Server, format_: str, encoding: str) -> None:
    with requests.get(
        f"{server.device}/export", params={"format": format_}, headers=server.headers | {"Accept-Encoding": encoding},
        stream=True, timeout=60,
    ) as response:  # fmt: skip
        if format_ == "arrow":  # nothing was sent yet: its first rows are a group of many
            assert (response.status_code, response.json()["reason"]) == (503, "store_unavailable")
            return
        assert (response.status_code, response.headers["Transfer-Encoding"]) == (200, "chunked")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            response.content  # noqa: B018


def test_a_whole_export_is_whole(server: Server) -> None:
    for format_ in ("csv", "ndjson", "parquet", "arrow"):
        answer = requests.get(f"{server.device}/export", params={"format": format_}, headers=server.headers, timeout=60)
        if format_ == "parquet":
            assert pq.read_table(pa.BufferReader(answer.content)).num_rows == ROWS
        elif format_ == "arrow":
            assert pa.ipc.open_file(answer.content).read_all().num_rows == ROWS
        else:
            assert answer.content.count(b"\n") == ROWS + (format_ == "csv")


def test_a_reader_that_leaves_frees_its_place(server: Server) -> None:
    for _ in range(12):
        with requests.get(f"{server.device}/export", headers=server.headers, stream=True, timeout=60) as response:
            assert response.raw.read(10)
    wait_for(
        lambda: requests.get(f"{server.device}/export", headers=server.headers, timeout=60).status_code == 200, 60, "a free place"
    )


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ("Content-Length: 1000", "time,cut\n1767225600,1\n1767225601,12"),
        ("Transfer-Encoding: chunked", "9\r\ntime,cut\n\r\n20\r\n1767225600,1\n17672"),
        ("Transfer-Encoding: chunked", "16\r\ntime,cut\n1767225600,1\n\r\n"),
    ],
)
def test_half_a_body_is_not_taken_for_the_file(server: Server, how: str, body: str) -> None:
    """The sender dies: what it announced never comes, and the line that was cut is not stored."""
    head = (
        f"POST /api/v1/devices/{DEVICE}/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: text/csv\r\n{how}\r\n\r\n{body}"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, json.load(answer)["reason"]) == (400, "body_cut")
    found = requests.get(f"{server.device}/readings", params={"sensor": "cut"}, headers=server.headers, timeout=60)
    assert [row["value"] for row in found.json()["readings"]] in ([], [1])


def test_a_body_in_chunks_is_taken(server: Server) -> None:
    def parts() -> Iterator[bytes]:
        yield b"time,chunked\n17672256"
        yield b"00,1\n1767225601,2\n"

    answer = requests.post(
        f"{server.device}/import", data=parts(), headers=server.headers | {"Content-Type": "text/csv"}, timeout=60
    )
    assert (answer.status_code, answer.json()["stored"]) == (200, 2)
