"""A platform to be broken: one for each pair of log and store, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simway_testing import scratch
from simway_testing.pairs import PAIRS, servers_of, urls
from simway_testing.platform import Platform, running


@pytest.fixture(scope="session", params=PAIRS)
def front(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """A platform that is up; whatever a test kills of it, it starts again."""
    with (
        scratch("faults") as directory,
        servers_of(request.param) as servers,
        running(directory, **urls(servers), GROUP_SESSION_TIMEOUT_S="6") as platform,
    ):
        yield platform


@pytest.fixture
def whole_again(front: Platform) -> Iterator[None]:
    """After a test, every process runs, whatever it left."""
    yield
    front.stop_modems()
    for process in front.processes.values():
        if not process.running:
            process.start()
            process.wait_ready()
