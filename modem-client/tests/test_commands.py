"""Commands from the server to the card and back, through the real endpoints."""

from __future__ import annotations

import pytest
from simway_backbone import metrics
from simway_protocol.commands import BodyType, Kind, command_mac, encode_body
from simway_protocol.sim.es10c import DisableProfile, EnableProfile, ProfileId

UNSOLICITED = bytes(16)


def test_a_ping_is_executed_and_settled(world) -> None:
    body = world.command(Kind.PING)
    world.until(lambda: world.result(body))
    assert world.result(body).outcome == "executed"
    assert world.result(body).evidence["iccid"] == world.active_iccid()
    world.until(lambda: not world.journal.unsettled())
    assert world.journal.last_counter == 1


def test_the_receipt_comes_before_the_result(world) -> None:
    body = world.command(Kind.PING)
    world.until(lambda: world.result(body))
    assert [event.event for event in world.server.progress if event.command_id == body.command_id] == [
        "sent",
        "received",
        "result",
    ]


def test_the_inventory_comes_unasked_once_and_after_a_change(world) -> None:
    world.until(lambda: world.server.results(UNSOLICITED))
    inventory = world.server.results(UNSOLICITED)[0].evidence["inventory"]
    assert inventory["active_iccid"] == world.active_iccid()
    assert len(inventory["profiles"]) == 3
    assert len(inventory["eid"]) == 32
    world.server.restart()
    world.until(lambda: len(world.server.attached) == 2)
    world.pass_time(5)
    assert len(world.server.results(UNSOLICITED)) == 1, "nothing changed"
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(body.command_id))
    world.until(lambda: len(world.server.results(UNSOLICITED)) == 2)
    assert world.server.results(UNSOLICITED)[1].evidence["inventory"]["active_iccid"] == body.target_iccid


def test_an_inventory_whose_settling_was_lost_does_not_stay_the_servers_last_word(world) -> None:
    """The server has that of the target, as far as anybody knows; back on the previous profile the old one is told again."""
    world.until(lambda: world.journal.reported_inventory)
    before, settle = world.active_iccid(), world.server.endpoint.settle
    world.server.confirms = False
    world.server.endpoint.settle = lambda session, command, what: command == UNSOLICITED or settle(session, command, what)
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=30)

    def told() -> str:
        return world.server.results(UNSOLICITED)[-1].evidence["inventory"]["active_iccid"]

    world.until(lambda: told() == body.target_iccid)
    world.until(lambda: told() == before, within_s=200)
    assert world.result(body).outcome == "rolled_back"


def test_an_audit_tells_the_inventory_and_the_journal(world) -> None:
    switched = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(switched.command_id))
    body = world.command(Kind.AUDIT)
    world.until(lambda: world.result(body))
    evidence = world.result(body).evidence
    assert evidence["inventory"]["active_iccid"] == switched.target_iccid
    told = {entry["command_id"]: entry for entry in evidence["journal"]["commands"]}
    assert told[switched.command_id.hex()]["closed"] == "closed"
    assert evidence["journal"]["last_counter"] == body.counter
    assert evidence["journal"]["open_switch"] is None


def test_a_switch_is_closed_only_after_its_confirmation(world) -> None:
    before, target = world.active_iccid(), world.other_iccid()
    body = world.command(Kind.SWITCH, target=target)
    world.until(lambda: world.server.closings(body.command_id))
    result = world.result(body)
    assert result.outcome == "executed"
    assert result.iccid == target, "reported from a session attached by the target"
    assert (result.evidence["iccid_before"], result.evidence["iccid_after"]) == (before, target)
    assert result.evidence["proof"] == "bearer"
    assert result.evidence["imsi_after"]
    names = [apdu["name"] for apdu in result.evidence["apdus"]]
    assert any("EnableProfile" in name for name in names)
    assert "RESET" in names
    assert all(set(apdu) == {"name", "sw", "ms"} for apdu in result.evidence["apdus"])
    assert world.server.closings(body.command_id) == ["closed"]
    assert world.active_iccid() == target
    assert world.journal.open_switch() is None


def test_without_a_confirmation_the_device_goes_back_by_itself(world) -> None:
    world.server.confirms = False
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=60)
    world.until(lambda: world.result(body), within_s=30)
    assert world.result(body).outcome == "executed"
    world.until(lambda: world.server.closings(body.command_id), within_s=120)
    assert world.server.closings(body.command_id) == ["rolled_back"]
    assert [result.outcome for result in world.server.results(body.command_id)] == ["executed", "rolled_back"]
    assert world.active_iccid() == before
    world.until(lambda: world.server.attached[-1].iccid == before)
    assert world.journal.open_switch() is None


def test_a_confirmation_that_comes_too_late_is_answered_by_rolled_back(world) -> None:
    world.server.confirms = False
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=30)
    world.until(lambda: "rolled_back" in world.server.closings(body.command_id), within_s=120)
    world.server.progress.clear()
    world.server.restart()
    world.server.submit(body._replace(type=BodyType.CONFIRM))
    world.until(lambda: world.server.closings(body.command_id))
    assert world.server.closings(body.command_id) == ["rolled_back"]
    assert world.active_iccid() != body.target_iccid


def test_the_same_command_again_gets_its_stored_result(world) -> None:
    body = world.command(Kind.PING)
    world.until(lambda: world.result(body) and not world.journal.unsettled())
    first = world.result(body)
    world.server.restart()
    world.server.progress.clear()
    world.server.submit(body)
    world.until(lambda: world.result(body))
    assert world.result(body).evidence == first.evidence
    assert world.journal.last_counter == body.counter


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "another"}, "wrong_device"),
        ({"counter": 0}, "counter"),
        ({"expires_us": 1}, "expired"),
    ],
)
def test_a_command_that_must_not_be_executed_is_refused(world, changes, reason) -> None:
    world.until(lambda: world.attached)
    body = world.command(Kind.SWITCH, target=world.other_iccid())._replace(**changes, command_id=b"\x77" * 16)
    world.server.endpoint.forget("truck-7", world.server.commands[-1].command_id)
    world.server.commands.clear()
    mac = command_mac(world.server.key, encode_body(body))
    before = world.active_iccid()
    world.server.endpoint.submit("truck-7", body.command_id, "command", encode_body(body), mac, world.now_us + 10**9)
    world.until(lambda: world.result(body))
    assert (world.result(body).outcome, world.result(body).reason) == ("refused", reason)
    assert world.active_iccid() == before
    assert world.journal.command(body.command_id) is None, "the server may seal the same id anew"


def test_a_forged_mac_is_refused(world) -> None:
    world.until(lambda: world.attached)
    refused = metrics.DEVICE_REFUSED_COMMANDS.labels("bad_mac")._value.get
    before = refused()
    body = world.command(Kind.PING)
    world.server.endpoint.forget("truck-7", body.command_id)
    world.server.submit(body, mac=bytes(32))
    world.until(lambda: world.result(body))
    assert refused() == before + 1
    assert (world.result(body).outcome, world.result(body).reason) == ("refused", "bad_mac")
    assert world.journal.last_counter == 0


def test_a_cancel_before_the_command_keeps_it_from_ever_beginning(world) -> None:
    world.until(lambda: world.attached)
    target, before = world.other_iccid(), world.active_iccid()
    body = world.command(Kind.SWITCH, target=target)
    world.server.endpoint.forget("truck-7", body.command_id)
    world.server.submit(body._replace(type=BodyType.CANCEL))
    world.until(lambda: world.result(body))
    assert world.result(body).outcome == "cancelled"
    world.server.restart()
    world.server.progress.clear()
    world.server.submit(body)
    world.until(lambda: world.result(body))
    assert world.result(body).outcome == "cancelled"
    assert world.active_iccid() == before


def test_a_cancel_of_a_switch_under_way_comes_too_late(world) -> None:
    world.server.confirms = False
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.result(body))
    world.server.submit(body._replace(type=BodyType.CANCEL))
    world.pass_time(5)
    assert {result.outcome for result in world.server.results(body.command_id)} == {"executed"}


def reason_of(world, body) -> str:
    world.until(lambda: world.result(body))
    assert world.result(body).outcome == "failed"
    return world.result(body).reason


def test_preflight_refuses_what_cannot_or_must_not_be(world) -> None:
    active, other = world.active_iccid(), world.other_iccid()
    disable = (DisableProfile(ProfileId.of(other)).encode(),)
    enable_other = (EnableProfile(ProfileId.of(other)).encode(),)
    assert reason_of(world, world.command(Kind.SWITCH, target=active)) == "already_enabled"
    assert reason_of(world, world.command(Kind.SWITCH, target="8999999999999999999")) == "profile_not_found"
    assert reason_of(world, world.command(Kind.SWITCH, target=other, apdus=disable)) == "not_an_enable_of_the_target"
    assert reason_of(world, world.command(Kind.SWITCH, target=active, apdus=enable_other)) == "not_an_enable_of_the_target"
    assert reason_of(world, world.command(Kind.SWITCH, target=other, apdus=())) == "not_an_enable_of_the_target"
    assert reason_of(world, world.command(Kind.SWITCH, target=other, apdus=enable_other * 2)) == "not_an_enable_of_the_target"
    assert world.active_iccid() == active


def test_a_profile_named_by_its_aid_is_switched_to(world) -> None:
    profile = next(profile for profile in world.profiles() if not profile.enabled)
    by_aid = (EnableProfile(ProfileId.of(profile.aid), refresh=False).encode(),)
    body = world.command(Kind.SWITCH, target=profile.iccid, apdus=by_aid)
    world.until(lambda: world.server.closings(body.command_id))
    assert world.active_iccid() == profile.iccid


def test_a_second_switch_waits_for_no_first_one(world) -> None:
    world.server.confirms = False
    first = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.result(first))
    second = world.command(Kind.SWITCH, target=world.other_iccid())
    assert reason_of(world, second) == "switch_open"


def test_a_switch_over_a_bad_network_ends_the_same(make_world) -> None:
    world = make_world(seed=3, loss=0.3)
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(body.command_id), within_s=600)
    assert world.server.closings(body.command_id) == ["closed"]
    assert world.active_iccid() == body.target_iccid


def test_a_server_that_restarts_in_the_middle_still_confirms(world) -> None:
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.journal.open_switch() is not None)
    world.server.restart()
    world.until(lambda: world.server.closings(body.command_id), within_s=120)
    assert world.server.closings(body.command_id) == ["closed"]


def test_an_applet_that_lives_in_a_profile_forbids_the_switch(world) -> None:
    world.agent.switcher._key_survives = False
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    assert reason_of(world, body) == "key_would_be_out_of_reach"


def test_a_switch_that_expired_while_it_waited_does_not_begin(world) -> None:
    world.until(lambda: world.attached)
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), expires_in_s=5)
    world.until(lambda: world.agent._accepted)
    world.now_us = body.expires_us + 1_000_000
    world.until(lambda: world.result(body))
    assert (world.result(body).outcome, world.result(body).reason) == ("failed", "expired")
    assert world.active_iccid() == before


def test_the_servers_time_counts_from_when_it_came_not_from_when_it_was_taken_up(world) -> None:
    """A card that takes seconds between the two must not make commands live longer."""
    world.until(lambda: world.attached)
    world.agent.attached(world.active_iccid(), world.now_us, world.now_us - 5_000_000)
    assert world.agent._server_ahead_us == 5_000_000
