"""Commands down: from the REST API to the SIM and back."""

from __future__ import annotations

import uuid

import pytest
from simway_testing.api import Api, other_profile, states
from simway_testing.platform import DEMO_DEVICE, Front
from simway_testing.waiting import wait_for

SWITCHED_WITHIN_S = 60.0
ANSWERED_WITHIN_S = 30.0


@pytest.fixture
def attached(front: Front, api: Api) -> str:
    """The demo device, attached and with its SIM's inventory known."""

    def known() -> bool:
        shown = api.device(DEMO_DEVICE)
        return bool(shown["inventory"] and shown["session"] and shown["session"]["attached"])

    wait_for(known, ANSWERED_WITHIN_S, lambda: f"an attached device with an inventory: {api.device(DEMO_DEVICE)}")
    return DEMO_DEVICE


def active_iccid(api: Api, device: str) -> str:
    return str(api.device(device)["active_carrier"]["iccid"])


def test_a_switch_goes_from_queued_to_verified_and_the_card_changes(front: Front, api: Api, attached: str) -> None:
    before, target = active_iccid(api, attached), other_profile(api.device(attached))
    posted = api.command(attached, kind="switch", iccid=target["iccid"])
    assert posted["state"] == "QUEUED"

    done = api.follow(attached, posted["id"], {"VERIFIED"}, SWITCHED_WITHIN_S)

    assert states(done) == ["QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING", "VERIFIED"]
    assert [entry["seq"] for entry in done["history"]] == sorted(entry["seq"] for entry in done["history"])
    assert done["target"]["iccid"] == target["iccid"] != before
    wait_for(
        lambda: active_iccid(api, attached) == target["iccid"], 60, lambda: f"the new carrier is shown: {api.device(attached)}"
    )
    evidence = done["evidence"]
    assert (evidence["iccid_before"], evidence["iccid_after"]) == (before, target["iccid"]), "VERIFIED carries its proof"
    assert evidence["proof"] == "bearer"

    audit = api.command(attached, kind="audit")
    api.follow(attached, audit["id"], {"EXECUTED"}, ANSWERED_WITHIN_S)
    inventory = wait_for(
        lambda: (found := api.device(attached)["inventory"])["active_iccid"] == target["iccid"] and found, 60, "a new inventory"
    )
    assert [profile["iccid"] for profile in inventory["profiles"] if profile["active"]] == [target["iccid"]]


def test_the_same_carrier_again_is_refused(front: Front, api: Api, attached: str) -> None:
    active = active_iccid(api, attached)
    answer = api.call("POST", f"devices/{attached}/commands", {"kind": "switch", "iccid": active})
    if answer.status == 202:
        done = api.follow(attached, answer.body["id"], {"FAILED"}, ANSWERED_WITHIN_S)
        assert done["reason"] == "already_enabled"
    else:
        assert answer.status == 409
        assert answer.body["reason"] == "already_enabled"
    assert active_iccid(api, attached) == active


def test_a_switch_by_the_providers_name_there_and_back(front: Front, api: Api, attached: str) -> None:
    home, target = active_iccid(api, attached), other_profile(api.device(attached))
    there = api.command(attached, kind="switch", provider=target["provider"])
    assert there["target"] == {"iccid": target["iccid"], "provider": target["provider"], "profile_class": "operational"}
    api.follow(attached, there["id"], {"VERIFIED"}, SWITCHED_WITHIN_S)
    wait_for(lambda: active_iccid(api, attached) == target["iccid"], 60, "the new carrier is shown")
    back = api.command(attached, kind="switch", iccid=home)
    api.follow(attached, back["id"], {"VERIFIED"}, SWITCHED_WITHIN_S)
    wait_for(lambda: active_iccid(api, attached) == home, 60, "the first carrier is shown again")


def test_a_provider_that_is_not_on_the_sim_is_refused(front: Front, api: Api, attached: str) -> None:
    answer = api.call("POST", f"devices/{attached}/commands", {"kind": "switch", "provider": "No Such Carrier"})
    assert answer.status in (404, 409, 422), answer
    assert answer.body["reason"]


@pytest.mark.parametrize("kind", ["ping", "audit"])
def test_ping_and_audit_end_executed(front: Front, api: Api, attached: str, kind: str) -> None:
    posted = api.command(attached, kind=kind)
    done = api.follow(attached, posted["id"], {"EXECUTED"}, ANSWERED_WITHIN_S)
    passed = states(done)
    assert passed[0] == "QUEUED"
    assert passed[-1] == "EXECUTED"
    assert posted["id"] in {command["id"] for command in api.get(f"devices/{attached}/commands")["commands"]}


def test_a_command_for_a_device_that_is_away_waits_and_can_be_cancelled(front: Front, api: Api) -> None:
    device = f"away-{uuid.uuid4().hex[:8]}"
    key = api.enrol(device)
    first, second = api.command(device, kind="ping"), api.command(device, kind="ping")
    cancelled = api.call("POST", f"devices/{device}/commands/{first['id']}/cancel")
    assert cancelled.status in (200, 202), cancelled
    if cancelled.status == 200:
        assert cancelled.body["state"] == "CANCELLED"

    modem = front.modem(device, key, SOURCE="host")
    modem.start()

    api.follow(device, second["id"], {"EXECUTED"}, ANSWERED_WITHIN_S)
    ended = api.follow(device, first["id"], {"CANCELLED"}, ANSWERED_WITHIN_S)
    assert "EXECUTED" not in states(ended)
    again = api.call("POST", f"devices/{device}/commands/{second['id']}/cancel")
    assert again.status == 409, again


def test_an_unsent_command_expires(front: Front, api: Api) -> None:
    device = f"away-{uuid.uuid4().hex[:8]}"
    api.enrol(device)
    posted = api.command(device, kind="ping", expires_in_s=1)
    done = api.follow(device, posted["id"], {"EXPIRED"}, 20)
    assert states(done)[-1] == "EXPIRED"
