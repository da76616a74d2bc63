"""kill -9 of everything at once, and of each process during a switch. One at a time under load: platform_faults.py."""

from __future__ import annotations

import uuid

import pytest
from simway_testing.api import other_profile
from simway_testing.feeding import FedModem
from simway_testing.platform import DEMO_DEVICE, Platform
from simway_testing.waiting import wait_for

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("whole_again")]

KILLS = 2
FLOW_AGAIN_WITHIN_S = 90
FLOW_READINGS = 40
SERVICES = ("udp-server", "recorder", "dispatcher", "web")


def await_flow(modem: FedModem) -> None:
    """Returns when further readings were acknowledged."""
    before = modem.acknowledged()
    wanted = before + FLOW_READINGS
    wait_for(
        lambda: modem.acknowledged() >= wanted,
        FLOW_AGAIN_WITHIN_S,
        lambda: f"readings flow: {modem.acknowledged()} of {modem.fed}",
    )


def assert_all_stored_once(modem: FedModem) -> None:
    """Radio and SIM put readings of their own in between, so the sums are looked at until they are of one moment."""
    assert modem.settled() > KILLS * FLOW_READINGS
    sums: dict[str, int] = {}

    def balanced() -> bool:
        sums["acknowledged"], loss = modem.acknowledged(), modem.api.loss(modem.device)
        sums.update({name: loss[name] for name in ("sent", "stored", "duplicate", "missing", "conflict", "dropped")})
        sums["in_store"] = len(modem.api.readings(modem.device))
        return sums["in_store"] == sums["acknowledged"] == sums["sent"] == sums["stored"] + sums["duplicate"]

    wait_for(balanced, 30, lambda: f"each acknowledged reading is stored once: {sums}")
    assert (sums["missing"], sums["conflict"], sums["dropped"]) == (0, 0, 0), sums
    stored = modem.stored()
    assert len(stored) == len(set(stored))
    assert stored == sorted(stored)


def test_readings_survive_kill_9_of_everything_at_once(front: Platform) -> None:
    modem = FedModem(front, f"kill-all-{uuid.uuid4().hex[:6]}")
    for _ in range(KILLS):
        modem.start()
        await_flow(modem)
        modem.kill()
        for service in SERVICES:
            front.processes[service].kill()
        for service in SERVICES:
            front.processes[service].start()
        for service in SERVICES:
            front.processes[service].wait_ready()
    modem.start()
    await_flow(modem)
    assert_all_stored_once(modem)


@pytest.mark.parametrize("service", [*SERVICES, "modem"])
def test_a_switch_survives_kill_9(front: Platform, service: str) -> None:
    """Killed right after the switch was ordered, and started again: it is still carried out, proved and closed."""
    api = front.api

    def known() -> bool:
        shown = api.device(DEMO_DEVICE)
        return bool(shown["inventory"] and shown["session"] and shown["session"]["attached"])

    wait_for(known, 40, lambda: f"an attached device with an inventory: {api.device(DEMO_DEVICE)}")
    target = other_profile(api.device(DEMO_DEVICE))["iccid"]
    posted = api.command(DEMO_DEVICE, kind="switch", iccid=target)
    process = front.processes[service]
    process.kill()
    process.start()
    process.wait_ready()
    api.follow(DEMO_DEVICE, posted["id"], {"VERIFIED"}, 90)
    wait_for(lambda: api.device(DEMO_DEVICE)["active_carrier"]["iccid"] == target, 60, "the new carrier is shown")
