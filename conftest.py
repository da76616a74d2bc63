"""Fixtures for every room: a real Kafka broker and a real PostgreSQL, started at first use and shared by one pytest process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from simway_testing import Unavailable, scratch, unavailable
from simway_testing.pcscd import Pcscd
from simway_testing.pcscd import shared as shared_pcscd
from simway_testing.platform import Front

# a loaded machine is no finding: no test fails for the time that one example took
settings.register_profile("simway", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("simway")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell gives to a command in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _serve(running: Callable[[Path], AbstractContextManager[str]], name: str) -> Iterator[str]:
    try:
        with scratch(name) as directory, running(directory) as url:
            yield url
    except Unavailable as missing:
        unavailable(f"{name}: {missing}")


@pytest.fixture(scope="session")
def kafka_url() -> Iterator[str]:
    """``kafka://127.0.0.1:port`` of a real broker (KRaft), or ``SIMWAY_TEST_KAFKA_URL`` where that is set."""
    if given := os.environ.get("SIMWAY_TEST_KAFKA_URL"):
        yield given
        return
    from simway_testing import kafka_server

    yield from _serve(kafka_server.running, "kafka")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """``postgresql://user:password@127.0.0.1:port/database`` of a real, empty server, or ``SIMWAY_TEST_POSTGRES_URL``.

    The user may create databases: a test that wants an empty one makes it.
    """
    if given := os.environ.get("SIMWAY_TEST_POSTGRES_URL"):
        yield given
        return
    from simway_testing import postgres_server

    yield from _serve(postgres_server.running, "postgres")


@pytest.fixture(scope="session")
def pcscd() -> Pcscd:
    """A pcscd of this process's own with two empty readers; PC/SC clients of this process and its children use it."""
    try:
        return shared_pcscd()
    except Unavailable as missing:
        unavailable(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Puts the end of every process's log beside the failure of a test that runs a platform (fixture ``front``)."""
    report = yield
    front = getattr(item, "funcargs", {}).get("front")
    if report.failed and isinstance(front, Front):
        report.sections += [(f"log of {name}", tail) for name, tail in front.tails().items()]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadgroup``: one worker takes all tests of a pair, which pytest-xdist 3.8 does not see under pytest 9.2."""
    if config.getoption("dist") != "loadgroup":
        return None
    from simway_testing.scheduling import PairScheduling

    return PairScheduling(config, log)
