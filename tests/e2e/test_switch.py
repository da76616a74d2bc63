"""A fleet under carrier switches: good and bad carriers, lost answers, killed processes, and what must never be executed.

All devices run at once on one platform. The two whose new carrier does not work are sent off first: their waits for the deadline
go by while the others are tested.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from simway_backbone import open_log
from simway_protocol.messages import Downlink, decode, encode
from simway_testing.api import Api, states
from simway_testing.fleet import PLMNS, PROVIDERS, Fleet, Truck
from simway_testing.platform import Front, Platform, Process, free_port
from simway_testing.udp_relay import UdpRelay
from simway_testing.waiting import wait_for

pytestmark = pytest.mark.timeout(400)

SOON_S = 60.0
VERIFIED_WITHIN_S = 60.0
BACK_WITHIN_S = 120.0
SLOW_NETWORK = "attach_delay_s = 3"
"""Long enough for something to be killed while the device registers."""
WAYS_TO_VERIFIED = ["QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING", "VERIFIED"]


@dataclass
class Scene:
    """The fleet, the relay before the device ``good``, and the commands of the devices that were sent off, by role."""

    fleet: Fleet
    relay: UdpRelay
    sent_off: dict[str, str]

    def truck(self, role: str) -> Truck:
        return self.fleet.trucks[role]


@pytest.fixture(scope="module")
def scene(front: Front) -> Iterator[Scene]:
    """Every device runs and is attached; two are on their way to carriers that do not work."""
    fleet, relay = Fleet(front), UdpRelay(front.udp)
    try:
        fleet.add("cut-off", coverage={PLMNS[1]: 'coverage = "none"'}, fed=True)
        fleet.add("no-data", coverage={PLMNS[1]: 'coverage = "no_data"\nrat = "NB-IoT"'})
        fleet.add("good", coverage={PLMNS[1]: "rsrp_dbm = -91"}, server_port=relay.port)
        fleet.add("unheard", faults="lose_response_after_enable = 1")
        fleet.add("killed", coverage={PLMNS[1]: SLOW_NETWORK})
        fleet.add("orphan", coverage={PLMNS[0]: SLOW_NETWORK, PLMNS[1]: SLOW_NETWORK})
        fleet.add("lonely", profiles=2)
        for truck in fleet.trucks.values():
            truck.start()
        for truck in fleet.trucks.values():
            truck.wait_attached()
        sent_off = {role: fleet.trucks[role].switch(fleet.trucks[role].away) for role in ("cut-off", "no-data")}
        yield Scene(fleet, relay, sent_off)
    finally:
        fleet.stop_modems()
        relay.close()


@pytest.fixture
def here(front: Front) -> Platform:
    """The platform whose processes and log are at hand: for tests marked ``processes``."""
    assert isinstance(front, Platform)
    return front


def told(command: Any) -> Any:
    """What the device told of a switch in its last RESULT."""
    return next(entry["evidence"] for entry in reversed(command["history"]) if "apdus" in entry["evidence"])


def assert_agreed(truck: Truck, iccid: str) -> None:
    """Device, card and platform all say that this profile is enabled, and that no switch is open."""
    told = truck.ask("audit")
    active = [profile["iccid"] for profile in told["inventory"]["profiles"] if profile["state"] == "enabled"]
    assert (active, told["journal"]["open_switch"]) == ([iccid], None)
    wait_for(lambda: truck.active_on_server() == iccid, SOON_S, lambda: f"the platform shows {iccid} as active")


# --- carriers that work ------------------------------------------------------------------------------------------------------


def test_a_switch_to_a_good_carrier_is_verified_with_its_proof(scene: Scene) -> None:
    truck = scene.truck("good")

    done = truck.follow(truck.switch(truck.away), "VERIFIED", seconds=VERIFIED_WITHIN_S)

    assert states(done) == WAYS_TO_VERIFIED
    assert done["evidence"]["proof"] == "bearer"
    evidence = told(done)
    assert (evidence["iccid_before"], evidence["iccid_after"]) == (truck.home, truck.away)
    assert (evidence["imsi_before"][:5], evidence["imsi_after"][:5]) == PLMNS[:2]
    registration = evidence["registration"]
    assert (registration["plmn"], registration["rsrp_dbm"], registration["data"]) == (PLMNS[1], -91, True)
    assert evidence["timings_ms"].keys() >= {"preflight", "registration"}
    assert_agreed(truck, truck.away)


def test_the_sim_itself_says_the_same(scene: Scene, api: Api) -> None:
    truck = scene.truck("good")
    path = f"devices/{truck.name}"
    command = next(item for item in api.get(f"{path}/commands")["commands"] if item["kind"] == "switch")

    word = wait_for(lambda: api.get(f"{path}/commands/{command['id']}")["sim_word"], SOON_S, "the SIM's own word on the switch")

    assert (word["iccid"], word["n"], word["verified"]) == (truck.away, 1, True)
    assert api.get(f"{path}/sim")["sim_word"]["iccid"] == command["evidence"]["iccid_after"]


def test_an_answer_that_was_lost_after_the_enable_is_found_out_by_reading(scene: Scene) -> None:
    truck = scene.truck("unheard")
    done = truck.follow(truck.switch(truck.away), "VERIFIED", seconds=VERIFIED_WITHIN_S)
    assert states(done) == WAYS_TO_VERIFIED
    assert "enable" not in told(done)["timings_ms"], "the card's answer to it never came"
    assert done["evidence"]["iccid_after"] == truck.away
    assert_agreed(truck, truck.away)


# --- what must not be executed -----------------------------------------------------------------------------------------------


def test_a_replayed_and_a_forged_datagram_are_refused_and_counted(scene: Scene) -> None:
    truck, relay = scene.truck("good"), scene.relay
    truck.ask("ping")
    caught = relay.commands()
    assert caught
    before = truck.counted("simway_device_bad_datagrams")

    for datagram in caught:
        relay.to_device(datagram)
        relay.to_device(datagram[:-1] + bytes([datagram[-1] ^ 1]))

    wanted = sum(before.values()) + 2 * len(caught)
    wait_for(
        lambda: sum(truck.counted("simway_device_bad_datagrams").values()) >= wanted, SOON_S,
        lambda: f"{2 * len(caught)} more than {before}: {truck.counted('simway_device_bad_datagrams')}",
    )  # fmt: skip
    after = truck.counted("simway_device_bad_datagrams")
    assert after.get("replayed", 0) > before.get("replayed", 0)
    assert len(truck.card_words()) == 1
    assert_agreed(truck, truck.away)


@pytest.mark.processes
def test_a_command_put_into_the_log_again_or_forged_there_is_refused_and_counted(scene: Scene, here: Platform) -> None:
    """The MAC holds where the log cannot be trusted: the device alone judges, and a command id is executed once."""
    truck = scene.truck("good")
    log = open_log(here.settings["LOG_URL"], client_id="intruder")
    try:
        genuine = _last_switch(log, truck.name)
        forged = Downlink(
            truck.name, "command", secrets.token_hex(16), genuine.counter + 1_000, genuine.expires_us,
            genuine.body.replace(bytes.fromhex(genuine.command_id), secrets.token_bytes(16)), genuine.mac,
        )  # fmt: skip
        for message in (genuine, forged):
            log.append("downlink", 0, [(truck.name.encode(), encode(message))]).result(SOON_S)
        wait_for(
            lambda: truck.counted("simway_device_refused_commands").get("bad_mac"), SOON_S,
            lambda: f"the forged command is counted: {truck.counted('simway_device_refused_commands')}",
        )  # fmt: skip
    finally:
        log.close()
    assert_agreed(truck, truck.away)
    assert len(truck.card_words()) == 1, "the card was switched once"
    command = truck.front.api.get(f"devices/{truck.name}/commands/{genuine.command_id}")
    assert states(command) == WAYS_TO_VERIFIED


def _last_switch(log: object, device: str) -> Downlink:
    reader = log.reader("downlink", {0: log.bounds("downlink")[0][0]})  # type: ignore[attr-defined]
    found: list[Downlink] = []
    end = time.monotonic() + SOON_S
    try:
        while not found and time.monotonic() < end:
            messages = [decode("downlink", record.value) for record in reader.poll(1.0)]
            found += [item for item in messages if item.device == device and item.type == "command"]
    finally:
        reader.close()
    assert found, f"no command of {device} in the log"
    return found[0]


def test_rules_refuse_what_could_strand_a_device(scene: Scene, api: Api) -> None:
    truck = scene.truck("lonely")
    path, order = f"devices/{truck.name}/commands", {"kind": "switch", "iccid": truck.away}

    refused = api.call("POST", path, order)
    assert (refused.status, refused.body["reason"]) == (409, "no_fallback")
    assert api.call("POST", path, {**order, "force": True}).status == 422, "force wants a reason"

    forced = api.command(truck.name, **order, force=True, reason="the other carrier ends its service here", expires_in_s=60)
    assert (forced["forced"], forced["force_reason"]) == (True, "the other carrier ends its service here")
    second = api.call("POST", path, {**order, "force": True, "reason": "again"})
    if second.status != 202:
        assert (second.status, second.body["reason"]) in {(409, "device_busy"), (409, "already_enabled")}
    truck.follow(forced["id"], "VERIFIED", seconds=VERIFIED_WITHIN_S)
    kinds = {entry["kind"] for entry in api.get("audit", device=truck.name)["entries"]}
    assert {"command.accepted", "command.forced", "command.refused"} & kinds, kinds


def test_expired_and_cancelled_commands_are_never_executed(scene: Scene, api: Api) -> None:
    """Sent to devices that are away just then: it is they who must not begin them when they are back."""
    late, unwanted = scene.truck("lonely"), scene.truck("unheard")
    for truck in (late, unwanted):
        wait_for(lambda truck=truck: len(truck.card_words()) == 1, SOON_S, f"the card of {truck.name} told of its first switch")
    for truck in (late, unwanted):
        truck.process.ask_to_stop()
    assert [truck.process.stop() for truck in (late, unwanted)] == [0, 0]
    expired = late.switch(late.home, expires_in_s=1, force=True, reason="to see that it is not executed")
    cancelled = unwanted.switch(unwanted.home)
    assert api.call("POST", f"devices/{unwanted.name}/commands/{cancelled}/cancel").status in (200, 202)
    expires_us = api.get(f"devices/{late.name}/commands/{expired}")["expires_us"]
    wait_for(lambda: time.time_ns() // 1_000 > expires_us, SOON_S, "the command expires")
    reports = {truck: api.latest(truck.name)["sim/counter"]["t_us"] for truck in (late, unwanted)}

    late.start()
    unwanted.start()

    ended = late.follow(expired, "EXPIRED", "FAILED")
    assert ended["state"] == "EXPIRED" or ended["reason"] == "expired", "not sent in time, or refused by the device"
    unwanted.follow(cancelled, "CANCELLED")
    for truck, told_us in reports.items():
        wait_for(
            lambda truck=truck, told_us=told_us: api.latest(truck.name)["sim/counter"]["t_us"] > told_us, SOON_S,
            f"the card of {truck.name} reports again",
        )  # fmt: skip
        assert len(truck.card_words()) == 1, "the card's own log knows of no further switch"
        assert_agreed(truck, truck.away)


@pytest.mark.processes
def test_no_more_switches_a_day_than_allowed(scene: Scene, here: Platform) -> None:
    """Another web process on the same store, with a cap."""
    truck, port = scene.truck("lonely"), free_port()
    settings = here.settings | {"WEB_PORT": str(port), "WEB_METRICS_PORT": str(free_port()), "SWITCHES_PER_DAY": "1"}
    ready = f"http://127.0.0.1:{port}/api/v1/health"
    capped = Process("web-capped", here.processes["web"].command, settings, here.directory / "logs" / "web-capped.log", ready)
    capped.start()
    try:
        capped.wait_ready()
        order = {"kind": "switch", "iccid": truck.home, "force": True, "reason": "once more"}
        refused = Api(f"http://127.0.0.1:{port}", here.api.token).call("POST", f"devices/{truck.name}/commands", order)
        assert (refused.status, refused.body["reason"]) == (429, "daily_cap"), "force does not help"
        assert int(refused.headers["Retry-After"]) > 0
    finally:
        capped.stop()


# --- killed in the middle ----------------------------------------------------------------------------------------------------


def test_a_modem_client_killed_in_the_middle_resolves_the_switch_at_boot(scene: Scene) -> None:
    truck = scene.truck("killed")
    command = truck.switch(truck.away)
    truck.wait_phase("switched")

    truck.process.kill()
    truck.start()

    done = truck.follow(command, "VERIFIED", "ROLLED_BACK", seconds=BACK_WITHIN_S)
    assert told(done)["boots"] == 1
    assert_agreed(truck, truck.away if done["state"] == "VERIFIED" else truck.home)


@pytest.mark.processes
@pytest.mark.parametrize("service", ["udp-server", "dispatcher"])
def test_a_service_killed_in_the_middle_leaves_both_sides_agreeing(scene: Scene, here: Platform, service: str) -> None:
    truck = scene.truck("orphan")
    before = truck.active_on_server()
    target = truck.away if before == truck.home else truck.home
    command = truck.switch(target)
    truck.wait_phase("switched")

    process = here.processes[service]
    process.kill()
    if service == "dispatcher":
        truck.wait_phase("reported")
    process.start()
    process.wait_ready()

    done = truck.follow(command, "VERIFIED", "ROLLED_BACK", seconds=BACK_WITHIN_S)
    assert_agreed(truck, target if done["state"] == "VERIFIED" else before)


# --- carriers that do not work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "reason"), [("no-data", "no_data"), ("cut-off", "no_coverage")])
def test_a_switch_to_a_carrier_that_does_not_work_is_undone(scene: Scene, role: str, reason: str) -> None:
    truck = scene.truck(role)

    done = truck.follow(scene.sent_off[role], "ROLLED_BACK", seconds=BACK_WITHIN_S)

    assert done["reason"] == reason
    assert reason in {change.get("cause") for change in told(done)["registrations"]}, "the evidence explains the outcome"
    assert truck.ask("ping")["registration"]["plmn"] == PLMNS[0], "the device is reachable over its old carrier"
    assert_agreed(truck, truck.home)
    assert truck.front.api.device(truck.name)["active_carrier"]["provider"] == PROVIDERS[0]


def test_readings_taken_while_the_device_was_cut_off_are_all_stored(scene: Scene, api: Api) -> None:
    fed = scene.truck("cut-off").fed
    assert fed is not None
    fed.settled()
    assert fed.stored() == list(range(1, fed.fed + 1))
    loss = api.loss(fed.device)
    assert (loss["missing"], loss["conflict"], loss["dropped"], sum(loss["rejected"].values())) == (0, 0, 0, 0)


def test_the_sim_tells_of_the_way_there_and_back(scene: Scene) -> None:
    truck = scene.truck("cut-off")
    wait_for(lambda: len(truck.card_words()) == 2, SOON_S, lambda: f"both changes: {truck.card_words()}")
    assert [word["iccid"] for word in truck.card_words()] == [truck.away, truck.home]


def test_the_audit_trail_of_all_this_is_whole(scene: Scene, api: Api) -> None:
    verdict = api.get("audit/verify")
    assert (verdict["ok"], verdict["broken"]) == (True, None)
    assert verdict["count"] >= 2 * len(scene.fleet.trucks)
