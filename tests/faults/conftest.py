"""A platform to be broken: one for each pair of log and store, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simway_testing import scratch
from simway_testing.pairs import PAIRS, Server, servers_of, urls
from simway_testing.platform import Platform, running


@pytest.fixture(scope="session", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Platform, dict[str, Server]]]:
    """A platform that is up, and the servers it stands on."""
    with (
        scratch("faults") as directory,
        servers_of(request.param) as servers,
        running(directory, **urls(servers)) as platform,
    ):
        yield platform, servers


@pytest.fixture
def front(pair: tuple[Platform, dict[str, Server]]) -> Platform:
    """The platform; whatever a test kills of it, it starts again."""
    return pair[0]


@pytest.fixture
def servers(pair: tuple[Platform, dict[str, Server]]) -> dict[str, Server]:
    """``kafka`` and ``postgres``; none on the embedded pair."""
    return pair[1]


@pytest.fixture
def whole_again(front: Platform) -> Iterator[None]:
    """After a test, every process runs, whatever it left."""
    yield
    front.stop_modems()
    for process in front.processes.values():
        if not process.running:
            process.start()
            process.wait_ready()
