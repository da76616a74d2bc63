"""Twins, alarms and the audit trail as the dispatcher keeps them: the devices and gateways are played by the tests."""

from __future__ import annotations

from typing import Any

import pytest
from simway_flask_app import commands as use_cases
from simway_flask_app.anchors import KEPT_US, REPEAT_US, Anchors
from simway_flask_app.overdue import refresh_overdue
from simway_flask_app.store.accepting import ANSWER_GRACE_US
from simway_flask_app.store.port import CommandRefused
from simway_flask_app.trail import Signer
from simway_protocol.commands import FLAG_FORCE, decode_body
from simway_protocol.messages import AuditAnchor, Inventory, Profile, decode
from simway_testing.ledger_house import ALPHA, BETA, MASTER, PROFILES, T0_US, House, inventory

SIGNER = Signer.of(MASTER)
GAMMA = "8949000000000000037"
EVIDENCE = {"iccid_before": ALPHA, "iccid_after": BETA, "proof": "bearer"}


def raised(house: House) -> list[tuple[str, str]]:
    return [(alarm.kind, alarm.subject) for alarm in house.store.device("demo").alarms]


def kinds(house: House) -> list[str]:
    return [row.entry.kind for row in reversed(house.store.audit(device="demo", limit=500).entries)]


def verify_switch(house: House) -> Any:
    """A switch that goes all the way."""
    command = house.switch()
    house.event(command, "sent")
    house.event(command, "received")
    house.attach(BETA)
    house.event(command, "result", iccid=BETA, outcome="executed", evidence=EVIDENCE)
    inventory(house, BETA)
    assert house.event(command, "closed", iccid=BETA, outcome="closed") == "VERIFIED"
    return command


# --- drift ---------------------------------------------------------------------------------------------------------------


def test_a_switch_moves_what_shall_be_active_and_raises_no_alarm_on_its_way(house: House) -> None:
    house.attach()
    inventory(house)
    verify_switch(house)
    desired = house.store.twin("demo").desired
    assert desired is not None
    assert (desired.iccid, desired.source) == (BETA, "switch")
    assert raised(house) == []
    assert not house.store.alarms(device="demo").alarms, "nor was there one"
    house.attach(ALPHA)
    assert raised(house) == [("active_profile", ALPHA)], "an attach alone tells"
    house.attach(BETA)
    assert raised(house) == []


def test_a_switch_that_went_back_leaves_what_shall_be_active(house: House) -> None:
    house.attach()
    inventory(house)
    command = house.switch()
    house.event(command, "received")
    house.attach(BETA)
    house.event(command, "result", iccid=BETA, outcome="executed", evidence=EVIDENCE)
    house.attach(ALPHA)
    assert house.event(command, "closed", outcome="rolled_back", reason="no_coverage") == "ROLLED_BACK"
    assert house.store.twin("demo").active_iccid == ALPHA
    assert raised(house) == []


def test_an_unknown_switch_raises_an_alarm_that_an_audit_ends(house: House) -> None:
    house.attach()
    inventory(house)
    command = house.switch(deadline_s=240)
    house.event(command, "sent")
    house.later((command.expires_us - house.now_us + 240_000_000 + ANSWER_GRACE_US) / 1e6 + 1)
    assert house.state(command) == "UNKNOWN"
    assert raised(house) == [("journal_open", command.command_id)]
    audit = house.audit()
    entry = {
        "command_id": command.command_id, "kind": "switch", "outcome": "rolled_back", "reason": "", "closed": "rolled_back",
    }  # fmt: skip
    journal = {"last_counter": 2, "open_switch": None, "commands": [entry]}
    house.event(audit, "result", outcome="executed", evidence={"journal": journal})
    assert house.state(command) == "ROLLED_BACK"
    assert raised(house) == []
    assert house.store.twin("demo").audited_us == house.now_us


def test_a_switch_open_for_too_long_raises_an_alarm_by_time_alone(house: House) -> None:
    house.attach()
    inventory(house)
    command = house.switch(deadline_s=600)
    house.event(command, "received")
    assert refresh_overdue(house.store, house.now_us) == 0
    house.now_us += (600 + 121) * 1_000_000
    assert refresh_overdue(house.store, house.now_us) == 1
    assert raised(house) == [("journal_open", command.command_id)]
    house.event(command, "result", outcome="failed", reason="card_error")
    assert raised(house) == []


def test_a_journal_that_shows_a_switch_which_is_over_here_raises_an_alarm(house: House) -> None:
    house.attach()
    inventory(house)
    command = verify_switch(house)
    for open_switch in ({"command_id": command.command_id}, None):
        audit = house.audit()
        journal = {"last_counter": 3, "open_switch": open_switch, "commands": []}
        house.event(audit, "result", outcome="executed", evidence={"journal": journal})
        assert raised(house) == ([("journal_open", command.command_id)] if open_switch else [])


def test_a_test_profile_in_use_is_an_alarm(house: House) -> None:
    test = Profile(GAMMA, "a2", "enabled", "Lab", profile_class="test")
    house.tell(Inventory("demo", "udp", 64, house.now_us, "89" * 16, GAMMA, [*PROFILES, test]))
    assert raised(house) == [("test_profile", GAMMA)]
    assert house.store.device("demo").alarms[0].severity == "critical"


def test_a_counter_that_cannot_be_true_is_an_alarm_until_a_true_one_comes(house: House) -> None:
    house.attach(last_counter=2**40)
    assert raised(house) == [("command_counter", "")]
    house.attach(last_counter=0)
    assert raised(house) == []


def test_reports_of_a_device_that_nobody_registered_stop_nothing(house: House) -> None:
    house.tell(Inventory("stranger", "udp", 64, house.now_us, "89" * 16, ALPHA, PROFILES))
    inventory(house)
    assert house.store.twin("demo").desired is not None


# --- the rules -----------------------------------------------------------------------------------------------------------


def test_force_goes_to_the_device_and_into_the_trail(house: House) -> None:
    inventory(house)
    with pytest.raises(CommandRefused) as caught:
        house.switch(force_reason="")
    assert caught.value.refusal.reason == "no_fallback"
    command = house.switch(force_reason="the technician is there")
    assert decode_body(house.downlink()[0].body).flags == FLAG_FORCE
    (forced,) = house.store.audit(kind="command.forced").entries
    assert forced.entry.subject == command.command_id
    assert forced.entry.detail == '{"overridden":["no_fallback"],"reason":"the technician is there"}'


def test_switches_are_counted_whatever_became_of_them_but_those_never_begun(house: House) -> None:
    house.attach()
    for number in range(3):
        command = house.switch(switches_per_day=3)
        house.event(command, "result", outcome="rolled_back" if number else "failed", reason="no_coverage")
    for _ in range(2):
        with pytest.raises(CommandRefused) as caught:
            house.switch(switches_per_day=3)
        assert (caught.value.refusal.reason, caught.value.refusal.retry_after_s) == ("daily_cap", 24 * 3600)
    cancelled = house.switch(switches_per_day=4)
    use_cases.cancel(house.store, "demo", cancelled.command_id, actor="api", now_us=house.now_us)
    house.switch(switches_per_day=4)


def test_one_switch_at_a_time(house: House) -> None:
    house.attach()
    command = house.switch()
    for event in ("sent", "received"):
        with pytest.raises(CommandRefused, match="is not over"):
            house.switch()
        house.event(command, event)
    house.ping()
    house.event(command, "result", outcome="failed", reason="x")
    house.switch()


# --- the trail -----------------------------------------------------------------------------------------------------------


def test_every_step_of_a_command_is_in_the_trail(house: House) -> None:
    house.attach()
    inventory(house)
    command = verify_switch(house)
    steps = [row.entry for row in reversed(house.store.audit(kind="command.transition").entries)]
    history = house.store.command_history(command.command_id)[1:]
    assert [step.subject for step in steps] == [command.command_id] * len(history)
    assert [step.actor for step in steps] == [line.actor for line in history]
    assert '"after":"VERIFIED","before":"CONFIRMING"' in steps[-1].detail
    assert kinds(house)[:4] == ["device.enrolled", "desired.changed", "command.accepted", "command.forced"]
    assert kinds(house)[-1] == "desired.changed"
    assert house.store.verify_audit(SIGNER).broken is None


def anchors_in_the_log(house: House) -> list[AuditAnchor]:
    end = house.log.bounds("device-events")[0][1]
    reader = house.log.reader("device-events", {0: 0})
    found: list[Any] = []
    while len(found) < end:
        found += [decode("device-events", record.value) for record in reader.poll(1.0)]
    reader.close()
    return [event for event in found if isinstance(event, AuditAnchor)]


def test_the_head_is_anchored_when_it_moved_and_once_a_day(house: House) -> None:
    anchors = Anchors(house.store, SIGNER, house.events.noted, now_us=lambda: house.now_us)
    assert not anchors.anchor(), "not before somebody has looked into the log"
    house.turn()
    assert anchors.anchor()
    assert not anchors.anchor()
    house.now_us += REPEAT_US + 1
    assert anchors.anchor()
    house.ping()
    assert anchors.anchor()
    house.turn()
    published = anchors_in_the_log(house)
    assert [event.seq for event in published] == [1, 1, 3]
    verdict = house.store.verify_audit(SIGNER)
    assert verdict.signed is not None
    assert (verdict.signed.head, verdict.signed.signature) == (verdict.head, published[-1].signature)
    assert not house.store.alarms().alarms


def cut(house: House, last: int) -> None:
    """What an older copy of the database would bring back: the trail up to ``last``, and nothing of what came later."""
    with house.store.transaction() as connection:
        for table in ("audit_trail", "audit_anchors"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_no_delete")
        connection.exec_driver_sql(f"DELETE FROM audit_trail WHERE seq > {last}")
        connection.exec_driver_sql(f"DELETE FROM audit_anchors WHERE seq > {last}")
        connection.exec_driver_sql(
            f"UPDATE audit_head SET seq = {last}, hash = (SELECT hash FROM audit_trail WHERE seq = {last})"
        )


def test_a_trail_that_was_cut_while_the_dispatcher_was_out_is_noticed(house: House) -> None:
    anchors = Anchors(house.store, SIGNER, house.events.noted, now_us=lambda: house.now_us)
    for _ in range(3):
        house.ping()
    anchors.anchor()
    house.turn()
    (anchor,) = anchors_in_the_log(house)
    house.dispatcher.close()
    cut(house, 2)
    assert house.store.verify_audit(SIGNER).broken is None, "by itself it holds"
    house.dispatcher = house.start()
    house.turn()
    (alarm,) = house.store.alarms(over=False).alarms
    assert (alarm.device, alarm.kind, alarm.subject) == ("", "audit_trail", f"{anchor.seq} {anchor.hash}")
    anchors.anchor()
    house.turn()
    assert len(house.store.alarms(over=False).alarms) == 1, "growing again does not end it"
    assert len(anchors_in_the_log(house)) == 1, "and what lacks a signed entry is not signed again"
    house.now_us += KEPT_US
    house.ping()
    assert anchors.anchor(), "the log has forgotten it"
    assert not house.store.alarms(over=False).alarms


def test_a_trail_that_was_cut_under_a_running_dispatcher_is_noticed_and_not_signed(house: House) -> None:
    anchors = Anchors(house.store, SIGNER, house.events.noted, now_us=lambda: house.now_us)
    for _ in range(3):
        house.ping()
    assert anchors.anchor()
    house.turn()
    (anchor,) = anchors_in_the_log(house)
    cut(house, 2)
    house.ping()
    assert house.store.verify_audit(SIGNER).broken is None, "by itself it holds"
    for _ in range(2):
        assert not anchors.anchor()
        house.turn()
    (alarm,) = house.store.alarms(over=False).alarms
    assert (alarm.kind, alarm.subject) == ("audit_trail", f"{anchor.seq} {anchor.hash}")
    assert len(anchors_in_the_log(house)) == 1


def test_an_anchor_that_nobody_here_signed_says_nothing(house: House) -> None:
    house.ping()
    house.tell(AuditAnchor("", 1, "00" * 32, Signer.of(bytes(32)).sign(house.store.verify_audit(SIGNER).head), T0_US))
    assert not house.store.alarms().alarms
