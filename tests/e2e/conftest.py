"""End-to-end tests see front doors only: the REST API, UDP through the real modem client, and the page in a browser.

They run on every pair of log and store below, or, with ``SIMWAY_E2E_URL``, on a platform that runs already (the compose stack):
``SIMWAY_E2E_TOKEN`` is its API token, ``SIMWAY_E2E_UDP`` the host:port of its UDP server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from simway_testing import scratch
from simway_testing.api import Api
from simway_testing.pairs import PAIRS, REAL, SQLITE, servers_of, urls
from simway_testing.platform import Front, running

EXTERNAL = "SIMWAY_E2E_URL"
MORE = {SQLITE: {}, REAL: {"UDP_WORKERS": "2"}}
"""Settings that a pair is run with besides: several UDP processes belong to a larger installation."""
HERE = ["a running platform"] if os.environ.get(EXTERNAL) else PAIRS


@pytest.fixture(scope="session", params=HERE)
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    """A platform that is up, with the device ``demo`` sending this host's measurements."""
    with scratch("e2e") as directory:
        if url := os.environ.get(EXTERNAL):
            host, port = os.environ["SIMWAY_E2E_UDP"].rsplit(":", 1)
            external = Front(Api(url, os.environ["SIMWAY_E2E_TOKEN"]), (host, int(port)), directory)
            yield external
            external.stop_modems()
        else:
            with servers_of(request.param) as servers, running(directory, **urls(servers), **MORE[request.param]) as platform:
                yield platform


@pytest.fixture
def api(front: Front) -> Api:
    """The REST API with the administrator's token."""
    return front.api


@pytest.fixture(autouse=True)
def _end_modems(front: Front) -> Iterator[None]:
    """No test leaves a modem client to the next."""
    yield
    front.stop_modems()
