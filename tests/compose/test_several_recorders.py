"""``docker compose up --scale recorder=3``: three share the partitions; back to one, and it has them all.

Run by ``make test-compose``, whose environment names the project; skipped elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from simway_testing import REPOSITORY
from simway_testing.api import Api
from simway_testing.platform import DEMO_DEVICE
from simway_testing.waiting import wait_for

pytestmark = pytest.mark.skipif("SIMWAY_E2E_URL" not in os.environ, reason="runs in `make test-compose` only")

WITHIN_S = 120


def scale(count: int) -> None:
    command = [REPOSITORY / "tools" / "compose", "up", "--detach", "--no-recreate", "--scale", f"recorder={count}", "recorder"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=200)


def shares(api: Api) -> list[int]:
    """How many partitions each recorder holds that holds any."""
    writers = api.get("writers")["writers"]
    held = [sum(not right["expired"] for right in writer["rights"]) for writer in writers if writer["live"]]
    return sorted(count for count in held if count)


def await_flow(api: Api) -> None:
    """Returns when something was stored that was measured after now."""
    since_us = time.time_ns() // 1000
    wait_for(lambda: any(row["t_us"] > since_us for row in api.latest(DEMO_DEVICE).values()), 30, "readings flow")


@pytest.mark.timeout(600)
def test_three_recorders_share_the_partitions() -> None:
    api = Api(os.environ["SIMWAY_E2E_URL"], os.environ["SIMWAY_E2E_TOKEN"])
    scale(3)
    wait_for(lambda: shares(api) == [8, 8, 8], WITHIN_S, lambda: f"three shares: {shares(api)}")
    await_flow(api)
    scale(1)
    wait_for(lambda: shares(api) == [24], WITHIN_S, lambda: f"one share: {shares(api)}")
    await_flow(api)
    wait_for(lambda: api.loss(DEMO_DEVICE)["missing"] == 0, 60, lambda: f"nothing missing: {api.loss(DEMO_DEVICE)}")
