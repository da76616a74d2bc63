"""Alive, ready, and what is wrong in plain words: with the log, the database, its schema and the server really taken away."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from simway_backbone.embedded_segments import TopicFiles
from simway_testing import Unavailable, postgres_server, scratch, unavailable
from simway_testing.observed import ANSWERS_WITHIN_S, PORTS, WITHIN_S, health, wait_well, wait_wrong
from simway_testing.pairs import Server
from simway_testing.platform import Platform
from simway_testing.ports import free_port
from simway_testing.waiting import wait_for

OF_THE_STORE = ("recorder", "dispatcher", "web")


@contextmanager
def started(platform: Platform, *names: str) -> Iterator[Platform]:
    """Some processes of a platform, from when they answer on until the end of the block."""
    try:
        for name in names:
            platform.processes[name].start()
        for name in names:
            wait_for(lambda name=name: health(platform, name, "live")[0] == 200, WITHIN_S, platform.processes[name].tail)
        yield platform
    finally:
        platform.stop()


def test_a_platform_that_is_well_says_so_check_by_check(front) -> None:
    expected = {
        "udp-server": {"worker 0", "worker 1"},
        "recorder": {"log", "store", "database", "schema", "partitions"},
        "dispatcher": {"log", "store", "database", "schema"},
        "web": {"database", "schema"},
        "modem": {"server", "outbox", "source"},
    }

    def checks() -> dict[str, set[str]]:
        return {process: set(health(front, process)[1]["checks"]) for process in PORTS}

    wait_for(lambda: checks() == expected, WITHIN_S, lambda: f"each has made its first round: {checks()}")
    wait_well(front, PORTS)
    for process in PORTS:
        assert health(front, process, "live") == health(front, process, "ready")
    assert front.api.get("health") == {"status": "ok", "checks": {"database": "ok", "schema": "ok"}}


def test_a_schema_that_is_newer_than_the_code_is_named_and_nothing_ends(front) -> None:
    store = front.settings["STORE_URL"].removeprefix("sqlite:///")

    def revise(revision: str) -> str:
        with closing(sqlite3.connect(store, timeout=20)) as database, database:
            (before,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        return str(before)

    known = revise("9999")
    try:
        for process in OF_THE_STORE:
            wait_wrong(front, process, "schema", "9999", "a newer release made it")
        answer = front.api.call("GET", "health")
        assert (answer.status, answer.body["reason"]) == (503, "schema_mismatch")
        assert "9999" in answer.body["detail"]
    finally:
        revise(known)
    wait_well(front, OF_THE_STORE)


def test_a_device_without_its_server_is_alive_and_says_what_it_misses(front) -> None:
    modem = front.modem("adrift", "5a" * 32, SERVER_PORT=str(free_port()))
    modem.start()
    at = modem.ready_url

    def said() -> str:
        try:
            answer = requests.get(at, timeout=ANSWERS_WITHIN_S)
        except (requests.ConnectionError, requests.Timeout):
            return ""
        missed = answer.json()["checks"].get("server", "")
        return str(missed) if answer.status_code == 503 and missed != "starting" else ""

    assert "attach" in wait_for(said, WITHIN_S, modem.tail)
    assert requests.get(at.replace("ready", "live"), timeout=ANSWERS_WITHIN_S).status_code == 200
    modem.stop()


def test_a_worker_that_hangs_is_named(front) -> None:
    worker = psutil.Process(front.processes["udp-server"].pid).children()[0]
    worker.suspend()
    try:
        checks = ("worker 0", "worker 1")
        said = wait_for(
            lambda: [text for text in map(health(front, "udp-server")[1]["checks"].get, checks) if "silent" in str(text)],
            WITHIN_S, "a silent worker",
        )  # fmt: skip
        assert len(said) == 1
    finally:
        worker.resume()
    wait_well(front, ["udp-server"])


@pytest.fixture
def broken(tmp_path: Path) -> Platform:
    """A platform that was set up, and was never started."""
    made = Platform(tmp_path, GROUP_SESSION_TIMEOUT_S="6")
    made.init()
    return made


def test_a_damaged_log_is_named_with_its_file(broken: Platform) -> None:
    files = TopicFiles(Path(broken.settings["LOG_URL"].removeprefix("sqlite:///")), "uplink")
    damaged = files.path(files.numbers()[0])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:4_096] + b"\xa5" * (len(whole) - 4_096))
    for beside in damaged.parent.glob(f"{damaged.name}-*"):
        beside.unlink()
    with started(broken, "recorder"):
        said = wait_wrong(broken, "recorder", "log", "is damaged (")
        assert damaged.name in said
        assert "backup" in said


def test_a_log_that_is_away_is_waited_for(broken: Platform) -> None:
    address = f"127.0.0.1:{free_port()}"
    for process in broken.processes.values():
        process.settings["LOG_URL"] = f"kafka://{address}"
    with started(broken, "udp-server", "recorder", "dispatcher"):
        wait_wrong(broken, "recorder", "log", address)
        wait_wrong(broken, "recorder", "partitions", "no partition assigned")
        wait_wrong(broken, "dispatcher", "log", address)
        wait_wrong(broken, "udp-server", "worker 0", address)


@pytest.mark.real
def test_a_database_that_is_away_or_hangs_is_named_and_comes_back(tmp_path: Path) -> None:
    with scratch("postgres") as directory:
        try:
            server = Server(postgres_server.server, directory)
        except Unavailable as missing:
            unavailable(str(missing))
        try:
            _take_the_database_away(server, Platform(tmp_path, store_url=postgres_server.database(server.url)))
        finally:
            server.close()


def _take_the_database_away(server: Server, platform: Platform) -> None:
    platform.init()
    server.kill()
    with started(platform, *OF_THE_STORE):
        for process in OF_THE_STORE:
            wait_wrong(platform, process, "database", "the database is not usable now")
        server.start()
        wait_well(platform, OF_THE_STORE)
        postgres = [psutil.Process(server.process.pid)]
        postgres[0].suspend()  # from now on it makes no more processes
        postgres += postgres[0].children(recursive=True)
        for one in postgres:
            one.suspend()
        try:
            for name in OF_THE_STORE:
                wait_wrong(platform, name, "database", "no answer for")
        finally:
            for one in postgres:
                one.resume()
        wait_well(platform, OF_THE_STORE)
        server.kill()
        for process in OF_THE_STORE:
            wait_wrong(platform, process, "database", "the database is not usable now")
        wait_for(lambda: _refusal(platform) == (503, "store_unavailable"), WITHIN_S, lambda: f"503: {_refusal(platform)}")
        server.start()
        wait_well(platform, OF_THE_STORE)


def _refusal(platform: Platform) -> tuple[int, str | None]:
    answer = platform.api.call("GET", "health")
    return answer.status, answer.body.get("reason")
