"""The dispatcher between an embedded store and a log in memory; the devices and gateways are played by the tests."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY
from simway_backbone import open_log
from simway_flask_app import commands as use_cases
from simway_flask_app.clock import utc_now_us
from simway_flask_app.device_events import SEALS_MAX
from simway_flask_app.dispatcher import CAUGHT_UP_US, EXPIRE_GRACE_US
from simway_flask_app.gauges import LedgerGauges
from simway_flask_app.store.accepting import ANSWER_GRACE_US
from simway_flask_app.store.port import Command, NotCancellable
from simway_protocol.commands import SWITCH_FLOOR_MAX_S, BodyType, Kind, decode_body, verify_command
from simway_protocol.identity import derive_device_key
from simway_protocol.messages import EVERY_DEVICE, Attached, CommandEvent, Detached, GatewayStarted, decode, encode
from simway_testing.ledger_house import ALPHA, BETA, MASTER, T0_US, House, inventory

# --- out -----------------------------------------------------------------------------------------------------------------


def test_a_command_is_sealed_for_its_device(house: House) -> None:
    command = house.switch(deadline_s=90, expires_in_s=100)
    (message,) = house.downlink()
    assert (message.device, message.type, message.command_id, message.counter) == ("demo", "command", command.command_id, 1)
    body = decode_body(message.body)
    assert (body.type, body.kind, body.target_iccid, body.deadline_s) == (BodyType.COMMAND, Kind.SWITCH, BETA, 90)
    assert body.expires_us == message.expires_us == command.expires_us == house.now_us + 100_000_000
    assert [apdu.hex() for apdu in body.apdus] == ["bf3111a00c5a0a989400000000000020f98101ff"]
    assert verify_command(derive_device_key(MASTER, "demo", 1), message.body, message.mac)
    assert house.lines(command) == [("created", "QUEUED"), ("sealed", "QUEUED")]


def test_one_command_outstanding_in_the_order_of_their_coming(house: House) -> None:
    first, second, third = house.ping(), house.ping(), house.ping()
    assert [message.command_id for message in house.downlink()] == [first.command_id]
    house.attach()
    house.event(first, "sent")
    house.event(first, "result", outcome="executed")
    assert [message.command_id for message in house.downlink()] == [first.command_id, second.command_id]
    house.event(second, "result", outcome="failed", reason="x")
    assert [(message.command_id, message.counter) for message in house.downlink()][2] == (third.command_id, 3)


def test_devices_do_not_wait_for_each_other(house: House) -> None:
    house.store.add_device("other", name="", now_us=T0_US)
    house.ping()
    use_cases.ping(house.store, "other", actor="api", now_us=T0_US)
    house.turn()
    assert [message.device for message in house.downlink()] == ["demo", "other"]


def test_a_target_that_is_no_iccid_fails_and_holds_nobody_up(house: House) -> None:
    inventory(house)
    with house.store.transaction() as connection:
        connection.exec_driver_sql("UPDATE inventories SET profiles = replace(profiles, '8949000000000000029', 'x')")
    command = house.switch(iccid="x")
    following = house.ping()
    house.turn()
    assert house.store.command("demo", command.command_id).reason == "bad_target"
    assert house.state(command) == "FAILED"
    assert [message.command_id for message in house.downlink()] == [following.command_id]


def test_registry_and_dead_letters_go_out_in_order(house: House) -> None:
    reader = house.log.reader("registry", {0: 0})
    house.turn()
    assert {decode("registry", record.value).status for record in reader.poll(1.0)} == {"active"}
    house.store.set_device_status("demo", "revoked", now_us=T0_US + 1)
    house.turn()
    assert [decode("registry", record.value).status for record in reader.poll(1.0)] == ["revoked"]


def test_a_restart_publishes_what_was_left_and_nothing_twice(house: House) -> None:
    command = house.ping()
    house.dispatcher.close()
    second = use_cases.ping(house.store, "demo", actor="api", now_us=T0_US)
    house.dispatcher = house.start()
    house.event(command, "result", outcome="executed")
    assert [message.command_id for message in house.downlink()] == [command.command_id, second.command_id]


def test_a_new_log_is_told_of_every_device_and_of_what_was_not_sent(house: House) -> None:
    command = house.ping()
    house.dispatcher.close()
    house.store.set_retention({"raw": 90 * 86_400}, actor="ada", now_us=T0_US)
    house.log = open_log("memory://", client_id="test")
    house.log.ensure_topics()
    house.dispatcher = house.start()
    house.turn()
    assert [(message.command_id, message.counter) for message in house.downlink()] == [(command.command_id, 2)]
    told = [decode("registry", record.value) for record in house.log.reader("registry", {0: 0}).poll(1.0)]
    assert {entry.device: entry.raw_keep_s for entry in told} == {"demo": None, EVERY_DEVICE: 90 * 86_400}


def test_sessions_of_a_process_that_died_are_over_when_another_takes_its_place(house: House) -> None:
    def lives(name: str) -> bool:
        session = house.store.device(name).session
        assert session is not None
        return session.detached_us is None

    for number, name in enumerate(("first", "second", "elsewhere", "old")):
        house.store.add_device(name, name="", now_us=T0_US)
        place = {"elsewhere": "edge-2:6001", "old": ""}.get(name, "edge-1:6001")
        worker = number if place == "edge-1:6001" else 0
        house.tell(Attached(name, 64, "udp", ALPHA, 1, "00ff", 0, 1, T0_US, "", place, worker))
    house.tell(GatewayStarted("", "udp", "edge-1:6001", 0, 2, T0_US + 1))
    assert [lives(name) for name in ("first", "second", "elsewhere", "old")] == [False, True, True, False]
    house.tell(Attached("first", 128, "udp", ALPHA, 1, "00ff", 0, 1, T0_US + 2, "", "edge-1:6001", 0))
    house.tell(GatewayStarted("", "udp", "edge-3:6001", 0, 1, T0_US + 3))
    assert lives("first")
    house.tell(GatewayStarted("", "udp", "edge-1:6001", 0, 1, T0_US + 4))
    assert [lives(name) for name in ("first", "second", "elsewhere")] == [False, False, True]
    session = house.store.device("second").session
    assert session is not None
    assert (session.detached_us, session.detached_reason) == (T0_US + 4, "gateway_lost")


# --- the way of a switch ---------------------------------------------------------------------------------------------------


def test_a_switch_is_confirmed_and_verified(house: House) -> None:
    house.attach()
    command = house.switch(deadline_s=60)
    assert house.event(command, "sent") == "SENT"
    assert house.event(command, "received", counter=1) == "RECEIVED"
    house.attach(BETA, last_counter=1)
    evidence = {"iccid_before": ALPHA, "iccid_after": BETA, "proof": "bearer", "apdus": []}
    assert house.event(command, "result", iccid=BETA, outcome="executed", evidence=evidence) == "CONFIRMING"
    confirm = house.downlink()[-1]
    body = decode_body(confirm.body)
    assert (confirm.type, confirm.counter, body.type, body.target_iccid) == ("confirm", 1, BodyType.CONFIRM, BETA)
    assert confirm.expires_us == command.expires_us + 3 * SWITCH_FLOOR_MAX_S * 1_000_000
    assert verify_command(derive_device_key(MASTER, "demo", 1), confirm.body, confirm.mac)
    assert house.event(command, "closed", iccid=BETA, outcome="closed", evidence={"proof": "bearer"}) == "VERIFIED"
    history = house.store.command_history(command.command_id)
    assert [line.state for line in history] == ["QUEUED", "QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING", "VERIFIED"]
    assert [line.actor for line in history] == ["api", "dispatcher", "udp", "device", "device", "device", "device"]
    assert history[4].evidence["iccid_after"] == BETA
    house.event(command, "closed", iccid=BETA, outcome="closed")
    house.event(command, "result", iccid=BETA, outcome="rolled_back")
    assert house.state(command) == "VERIFIED", "final"
    assert len(house.downlink()) == 2


@pytest.mark.parametrize(("attached_anew", "iccid"), [(False, BETA), (True, ALPHA)])
def test_no_confirm_without_a_session_that_proves_it(house: House, attached_anew: bool, iccid: str) -> None:
    house.attach()
    command = house.switch()
    house.event(command, "sent")
    if attached_anew:
        house.attach(iccid)
    assert house.event(command, "result", iccid=iccid, outcome="executed") == "EXECUTED"
    assert [message.type for message in house.downlink()] == ["command"]
    waiting = house.ping()
    assert house.store.command("demo", waiting.command_id).counter is None, "the switch still holds the device's turn"
    house.attach(BETA)
    assert house.event(command, "result", iccid=BETA, outcome="executed") == "CONFIRMING"


@pytest.mark.parametrize("lost", ["nothing", "time", "closed"])
def test_verified_carries_its_proof(house: House, lost: str) -> None:
    """CLOSED brings none: it is the RESULT's, also when the time for an answer ran out between, or an audit tells the end."""
    house.attach()
    command = house.switch(expires_in_s=10, deadline_s=30)
    house.event(command, "sent")
    house.attach(BETA, last_counter=1)
    proof = {"iccid_before": ALPHA, "iccid_after": BETA, "proof": "card-only"}
    house.event(command, "result", iccid=BETA, outcome="executed", evidence={**proof, "apdus": [{"sw": "9000"}]})
    if lost != "nothing":
        house.later(3600)
        assert house.state(command) == "UNKNOWN"
    if lost == "closed":
        entry = {"command_id": command.command_id, "outcome": "executed", "closed": "closed"}
        journal = {"last_counter": 2, "open_switch": None, "commands": [entry]}
        house.event(house.audit(), "result", iccid=BETA, outcome="executed", evidence={"journal": journal})
    else:
        house.event(command, "closed", iccid=BETA, outcome="closed")
    told = house.store.command("demo", command.command_id)
    assert told.state == "VERIFIED"
    assert proof.items() <= told.evidence.items()
    assert proof.items() <= house.store.command_history(command.command_id)[-1].evidence.items()


def test_a_device_that_went_back_says_so(house: House) -> None:
    house.attach()
    command = house.switch()
    house.event(command, "sent")
    house.attach(BETA, last_counter=1)
    house.event(command, "result", iccid=BETA, outcome="executed")
    house.attach(ALPHA, last_counter=1)
    assert house.event(command, "closed", outcome="rolled_back", reason="deadline") == "ROLLED_BACK"


def test_already_enabled(house: House) -> None:
    house.attach(BETA)
    command = house.switch()
    house.event(command, "sent", iccid=BETA)
    assert house.event(command, "result", iccid=BETA, outcome="failed", reason="already_enabled") == "FAILED"
    assert house.store.command("demo", command.command_id).reason == "already_enabled"
    inventory(house, BETA)
    with pytest.raises(use_cases.AlreadyEnabled):
        house.switch()


# --- counters ------------------------------------------------------------------------------------------------------------


def test_the_counter_goes_above_what_the_device_reports(house: House) -> None:
    house.attach(last_counter=41)
    house.ping()
    assert house.downlink()[0].counter == 42


def test_what_was_sealed_too_low_and_not_sent_is_sealed_anew(house: House) -> None:
    command = house.ping()
    house.attach(last_counter=7)
    assert [(m.command_id, m.counter) for m in house.downlink()] == [(command.command_id, 1), (command.command_id, 8)]


def test_a_switch_that_a_gateway_sent_and_died_before_it_said_so_is_proved_all_the_same(house: House) -> None:
    house.attach()
    command = house.switch(deadline_s=60)
    house.attach(BETA, last_counter=1)
    assert house.state(command) == "SENT", "the device has taken its counter"
    assert house.event(command, "sent", iccid=BETA) == "SENT", "the next gateway sends it again, over the new carrier"
    assert house.event(command, "result", iccid=BETA, outcome="executed", evidence={"proof": "bearer"}) == "CONFIRMING"
    assert [(message.type, message.counter) for message in house.downlink()] == [("command", 1), ("confirm", 1)]


def test_a_counter_that_was_another_commands_is_refused_and_sealed_anew(house: House) -> None:
    command = house.ping()
    house.attach(last_counter=1)
    refused: dict[str, Any] = {"outcome": "refused", "reason": "counter", "evidence": {"last_counter": 1}}
    assert house.event(command, "result", **refused) == "QUEUED"
    assert [(m.command_id, m.counter) for m in house.downlink()] == [(command.command_id, 1), (command.command_id, 2)]


def test_a_command_refused_for_its_counter_is_sealed_anew_under_its_id(house: House) -> None:
    house.attach()
    command = house.ping()
    house.event(command, "sent")
    refused: dict[str, Any] = {"outcome": "refused", "reason": "counter", "evidence": {"last_counter": 99}}
    assert house.event(command, "result", **refused) == "QUEUED"
    assert [(m.command_id, m.counter) for m in house.downlink()] == [(command.command_id, 1), (command.command_id, 100)]
    assert house.event(command, "result", **refused) == "QUEUED", "the old answer again"
    assert len(house.downlink()) == 2
    house.event(command, "sent")
    assert house.event(command, "result", outcome="executed") == "EXECUTED"


def test_a_device_that_refuses_every_counter_ends_in_failed(house: House) -> None:
    house.attach()
    command = house.ping()
    for n in range(SEALS_MAX):
        assert house.state(command) == "QUEUED"
        house.event(command, "result", outcome="refused", reason="counter", evidence={"last_counter": 10 * (n + 1)})
    assert house.state(command) == "FAILED"


def test_a_counter_that_cannot_be_true_is_not_believed(house: House) -> None:
    house.attach(last_counter=2**32 + 1)
    assert len(house.alarms) == 1
    command = house.ping()
    assert house.downlink()[0].counter == 1
    house.event(command, "result", outcome="refused", reason="counter", evidence={"last_counter": 2**40})
    assert (house.state(command), len(house.alarms)) == ("FAILED", 2)


# --- time and cancelling ---------------------------------------------------------------------------------------------------


def test_unsent_commands_expire(house: House) -> None:
    command = house.switch(expires_in_s=10)
    house.later(10)
    assert house.state(command) == "QUEUED", "a gateway may just have sent it"
    house.later(EXPIRE_GRACE_US / 1e6 + 1)
    assert house.state(command) == "EXPIRED"
    house.attach()
    assert house.event(command, "sent") == "SENT", "it was on its way after all"


def test_an_answer_that_waits_to_be_read_comes_before_the_clock(house: House) -> None:
    command = house.switch(expires_in_s=10)
    house.now_us += 3600_000_000
    sent = CommandEvent("demo", command.command_id, "sent", "udp", 64, T0_US + 1)
    house.log.append("device-events", 0, [(b"demo", encode(sent))]).result(60)
    house.dispatcher.turn(poll_s=1.0)
    assert house.state(command) == "SENT"


def test_what_is_late_expires_though_events_keep_coming(house: House) -> None:
    command = house.switch(expires_in_s=1)
    house.now_us = utc_now_us() + CAUGHT_UP_US // 2
    assert house.now_us > command.expires_us + EXPIRE_GRACE_US
    house.log.append("device-events", 0, [(b"other", encode(Detached("other", 64, "udp", "idle", house.now_us)))]).result(60)
    assert house.dispatcher.turn(poll_s=1.0) == 1
    assert house.state(command) == "EXPIRED"


def test_silence_after_sending_is_unknown_and_a_late_answer_resolves_it(house: House) -> None:
    house.attach()
    command, following = house.switch(expires_in_s=10, deadline_s=30), house.ping()
    house.event(command, "sent")
    house.later(9 + SWITCH_FLOOR_MAX_S)
    assert house.state(command) == "SENT"
    house.later(2 + ANSWER_GRACE_US / 1e6)
    assert house.state(command) == "UNKNOWN"
    assert house.downlink()[-1].command_id == following.command_id, "it does not hold the turn"
    assert house.event(command, "result", outcome="rolled_back") == "ROLLED_BACK"


@pytest.mark.parametrize(
    ("entry", "state"),
    [
        ({"outcome": "executed", "closed": "closed"}, "VERIFIED"),
        ({"outcome": "executed", "closed": "rolled_back"}, "ROLLED_BACK"),
        ({"outcome": "failed", "closed": ""}, "FAILED"),
        ({"outcome": "executed", "closed": ""}, "UNKNOWN"),
    ],
)
def test_an_audit_resolves_what_is_unknown(house: House, entry: dict[str, Any], state: str) -> None:
    house.attach()
    command = house.switch(expires_in_s=10, deadline_s=30)
    house.event(command, "sent")
    house.later(3600)
    assert house.state(command) == "UNKNOWN"
    audit = house.audit()
    journal = {"last_counter": 2, "open_switch": None, "commands": [running(audit), {"command_id": command.command_id, **entry}]}
    assert house.event(audit, "result", outcome="executed", evidence={"inventory": {}, "journal": journal}) == "EXECUTED"
    assert house.state(command) == state


def running(command: Command) -> dict[str, Any]:
    return {"command_id": command.command_id, "kind": command.kind, "outcome": "", "reason": "", "closed": ""}


@pytest.mark.parametrize(
    ("before", "shows_it", "others", "state"),
    [
        (False, False, 0, "FAILED"),  # the first command ever, and a journal that is whole
        (True, True, 0, "FAILED"),  # an older command is there, this one is not
        (True, True, 20, "FAILED"),
        (True, False, 0, "UNKNOWN"),  # the device forgot what it did: a new disk, say
        (True, False, 20, "UNKNOWN"),  # the journal does not reach so far back
        (False, False, 20, "UNKNOWN"),
    ],
)
def test_an_audit_tells_that_a_command_never_came(house: House, before: bool, shows_it: bool, others: int, state: str) -> None:
    """The audit's own counter is above that of the lost command: ``last_counter`` tells nothing."""
    house.attach()
    earlier = house.ping() if before else None
    if earlier:
        house.event(earlier, "sent")
        house.event(earlier, "result", outcome="executed")
    command = house.switch(expires_in_s=10, deadline_s=30)
    house.event(command, "sent")
    house.later(3600)
    audit = house.audit()
    listed = [running(audit)] + [running(audit) | {"command_id": f"{n:032x}"} for n in range(others)]
    listed += [running(earlier) | {"outcome": "executed"}] if earlier and shows_it else []
    journal = {"last_counter": 9, "open_switch": None, "commands": listed}
    house.event(audit, "result", outcome="executed", evidence={"journal": journal})
    assert house.state(command) == state


def test_a_journal_that_took_the_place_of_a_lost_one_tells_nothing_of_what_it_lacks(house: House) -> None:
    house.attach()
    command = house.switch(expires_in_s=10, deadline_s=30)
    house.event(command, "sent")
    house.later(3600)
    audit = house.audit()
    journal = {"last_counter": 9, "open_switch": None, "commands": [running(audit)], "journal_lost": True}
    house.event(audit, "result", outcome="executed", evidence={"journal": journal})
    assert house.state(command) == "UNKNOWN"


def test_a_late_audit_tells_nothing_of_what_came_after_it(house: House) -> None:
    house.attach()
    audit = house.audit()
    house.event(audit, "sent")
    house.later(2 * 3600)
    command = house.switch(expires_in_s=10, deadline_s=30)
    house.event(command, "sent")
    house.later(3600)
    journal = {"last_counter": 1, "open_switch": None, "commands": [running(audit)]}
    assert house.event(audit, "result", outcome="executed", evidence={"journal": journal}) == "EXECUTED"
    assert house.state(command) == "UNKNOWN"


@pytest.mark.parametrize("journal", [None, 3, {"commands": 3}, {"commands": [3]}, {"last_counter": "x"}, {"open_switch": [1]}])
def test_a_strange_journal_stops_nothing(house: House, journal: Any) -> None:
    house.attach()
    command = house.switch(expires_in_s=10, deadline_s=30)
    house.event(command, "sent")
    house.later(3600)
    audit = house.audit()
    assert house.event(audit, "result", outcome="executed", evidence={"journal": journal}) == "EXECUTED"
    assert house.state(command) == "UNKNOWN"


def test_cancelling_what_a_gateway_may_hold_is_told_to_it(house: House) -> None:
    command = house.ping()
    use_cases.cancel(house.store, "demo", command.command_id, actor="api", now_us=house.now_us)
    assert house.state(command) == "CANCELLED"
    house.turn()
    assert [message.type for message in house.downlink()] == ["command", "cancel"]
    cancel = decode_body(house.downlink()[1].body)
    assert (cancel.type, cancel.counter, cancel.command_id.hex()) == (BodyType.CANCEL, 1, command.command_id)
    house.turn()
    assert len(house.downlink()) == 2, "once"


def test_cancelling_after_sending_is_answered_by_the_device(house: House) -> None:
    house.attach()
    command = house.ping()
    house.event(command, "sent")
    assert use_cases.cancel(house.store, "demo", command.command_id, actor="api", now_us=house.now_us).state == "SENT"
    house.turn()
    assert house.downlink()[-1].type == "cancel"
    assert house.event(command, "result", outcome="refused", reason="too_late") == "SENT"
    assert house.event(command, "result", outcome="executed") == "EXECUTED"
    with pytest.raises(NotCancellable):
        use_cases.cancel(house.store, "demo", command.command_id, actor="api", now_us=house.now_us)


def test_a_command_refused_for_its_counter_is_not_sealed_anew_once_its_cancel_is_asked(house: House) -> None:
    house.attach()
    command = house.switch()
    house.event(command, "sent")
    use_cases.cancel(house.store, "demo", command.command_id, actor="api", now_us=house.now_us)
    house.turn()
    assert [message.type for message in house.downlink()] == ["command", "cancel"]
    refused: dict[str, Any] = {"outcome": "refused", "reason": "counter", "evidence": {"last_counter": 99}}
    assert house.event(command, "result", **refused) == "CANCELLED"
    house.turn()
    assert len(house.downlink()) == 2
    assert house.event(command, "result", outcome="cancelled") == "CANCELLED"


def test_the_gauges_show_what_is_open_and_count_what_moved(house: House) -> None:
    gauges = LedgerGauges(house.store, now_us=lambda: house.now_us)
    house.switch()
    gauges.measure()
    before = sample("simway_command_transitions_total", state="FAILED")
    command = house.ping()
    house.now_us += 5_000_000
    gauges.measure()
    assert sample("simway_commands_open", state="QUEUED") == 2
    assert sample("simway_command_oldest_age_seconds", state="QUEUED") > 5
    use_cases.cancel(house.store, "demo", command.command_id, actor="api", now_us=house.now_us)
    first = house.store.commands("demo").commands[-1]
    house.event(first, "result", outcome="failed", reason="x")
    gauges.measure()
    assert sample("simway_commands_open", state="QUEUED") == 0
    assert sample("simway_command_transitions_total", state="FAILED") == before + 1
    gauges.measure()
    assert sample("simway_command_transitions_total", state="FAILED") == before + 1


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0
