"""The whole compose stack goes down and comes up again: nothing that was stored, ordered or secret is lost.

Run by ``make test-compose``, whose environment names the project; skipped elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from simway_testing import REPOSITORY
from simway_testing.api import Api
from simway_testing.platform import DEMO_DEVICE
from simway_testing.waiting import wait_for

pytestmark = pytest.mark.skipif("SIMWAY_E2E_URL" not in os.environ, reason="runs in `make test-compose` only")


def compose(*arguments: str) -> None:
    subprocess.run([REPOSITORY / "tools" / "compose", *arguments], cwd=REPOSITORY, check=True, capture_output=True, timeout=400)


def known(api: Api, until_us: int) -> list[tuple[str, int, str]]:
    """Every reading of the demo device before a time, its value as JSON: the SIM's own word is an object."""
    rows = api.readings(DEMO_DEVICE, to=str(until_us))
    return [(row["sensor"], row["t_us"], json.dumps(row["value"], sort_keys=True)) for row in rows]


@pytest.mark.timeout(600)
def test_down_and_up_again_loses_nothing() -> None:
    api = Api(os.environ["SIMWAY_E2E_URL"], os.environ["SIMWAY_E2E_TOKEN"])
    ping = api.command(DEMO_DEVICE, kind="ping")
    api.follow(DEMO_DEVICE, ping["id"], {"EXECUTED"}, 30)
    until_us = time.time_ns() // 1000
    wait_for(lambda: any(row["t_us"] > until_us for row in api.latest(DEMO_DEVICE).values()), 60, "readings flow")
    before, carrier = known(api, until_us), api.device(DEMO_DEVICE)["active_carrier"]["iccid"]
    assert before

    compose("down")
    compose("up", "--detach", "--wait", "--wait-timeout", "300")

    up_us = time.time_ns() // 1000
    wait_for(lambda: any(row["t_us"] > up_us for row in api.latest(DEMO_DEVICE).values()), 60, "readings flow again")
    after = known(api, until_us)
    assert len(after) == len(set(after))
    assert set(before) <= set(after), "a reading that was stored is gone"
    assert api.get(f"devices/{DEMO_DEVICE}/commands/{ping['id']}")["state"] == "EXECUTED"
    assert api.device(DEMO_DEVICE)["active_carrier"]["iccid"] == carrier
    wait_for(lambda: api.loss(DEMO_DEVICE)["missing"] == 0, 60, lambda: f"nothing missing: {api.loss(DEMO_DEVICE)}")
    again = api.command(DEMO_DEVICE, kind="ping")
    api.follow(DEMO_DEVICE, again["id"], {"EXECUTED"}, 30)
