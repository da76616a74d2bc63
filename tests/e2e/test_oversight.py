"""What the platform knows of a SIM beside the modem's word: its twin, the SIM's own word, and the trail of every decision."""

from __future__ import annotations

import pytest
from simway_testing.api import Api, other_profile
from simway_testing.platform import DEMO_DEVICE, Front
from simway_testing.waiting import wait_for

SWITCHED_WITHIN_S = 60.0
TOLD_WITHIN_S = 60.0


@pytest.fixture
def attached(front: Front, api: Api) -> str:
    """The demo device, attached and with its twin known."""

    def known() -> bool:
        shown = api.get(f"devices/{DEMO_DEVICE}/sim")
        return bool(shown["desired"] and api.device(DEMO_DEVICE)["session"]["attached"])

    wait_for(known, TOLD_WITHIN_S, lambda: f"an attached device with a twin: {api.get(f'devices/{DEMO_DEVICE}/sim')}")
    return DEMO_DEVICE


def test_the_sim_itself_says_where_it_is_and_every_step_is_in_the_trail(front: Front, api: Api, attached: str) -> None:
    noted = api.get("audit/verify")["head"]
    target = other_profile(api.device(attached))["iccid"]
    posted = api.command(attached, kind="switch", iccid=target)
    done = api.follow(attached, posted["id"], {"VERIFIED"}, SWITCHED_WITHIN_S)

    def word() -> object:
        shown = api.get(f"devices/{attached}/commands/{posted['id']}")["sim_word"]
        return shown if shown and shown["iccid"] == target else None

    told = wait_for(word, TOLD_WITHIN_S, "the SIM's own word on the switch")
    assert isinstance(told, dict)
    assert told["verified"] is True
    twin = wait_for(
        lambda: (found := api.get(f"devices/{attached}/sim"))["active_iccid"] == target and found, TOLD_WITHIN_S, "the new twin"
    )
    assert (twin["desired"]["iccid"], twin["desired"]["source"], twin["last_switch"]) == (target, "switch", posted["id"])
    assert twin["alarms"] == []

    entries = [entry for entry in api.get("audit", device=attached, limit=500)["entries"] if entry["subject"] == posted["id"]]
    steps = [entry["detail"]["after"] for entry in reversed(entries) if entry["kind"] == "command.transition"]
    assert steps == [entry["state"] for entry in done["history"][1:]]
    assert api.get("audit/verify")["ok"] is True
    assert api.call("POST", "audit/verify", noted).body["ok"] is True, "what stood before still stands"


def test_one_switch_at_a_time_whoever_asks(front: Front, api: Api) -> None:
    device = "oversight-away"
    api.enrol(device)
    switch = {"kind": "switch", "iccid": "8949000000000000029"}
    refused = api.call("POST", f"devices/{device}/commands", switch)
    assert (refused.status, refused.body["reason"]) == (409, "no_inventory")
    force = {"force": True, "reason": "a device that nobody has seen"}
    assert api.call("POST", f"devices/{device}/commands", switch | force).status == 202
    again = api.call("POST", f"devices/{device}/commands", switch | force)
    assert (again.status, again.body["reason"]) == (409, "device_busy")
    kinds = [entry["kind"] for entry in api.get("audit", device=device)["entries"] if entry["kind"] != "command.transition"]
    assert kinds == ["command.refused", "command.forced", "command.accepted", "command.refused", "device.enrolled"]
