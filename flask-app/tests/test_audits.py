"""Scheduled audits: who is asked when."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.audits import ASK_AGAIN_US, ASK_UNTIL_US, PERIOD_S, Audits, batch_size, moment_us
from simway_flask_app.store import registry
from simway_protocol.messages import Attached, Detached
from simway_testing.ledger_house import ALPHA, T0_US, House

DAY_S = 24 * 3600
DAY_US = DAY_S * 1_000_000


@given(st.text(min_size=1, max_size=20), st.integers(1, 10**14), st.integers(0, 2**60))
def test_a_device_has_one_moment_in_each_interval(device: str, interval_us: int, now_us: int) -> None:
    moment = moment_us(device, interval_us, now_us)
    assert now_us - interval_us < moment <= now_us
    assert moment_us(device, interval_us, moment) == moment
    assert moment_us(device, interval_us, moment + interval_us) == moment + interval_us


def test_a_fleet_is_spread_over_the_interval() -> None:
    hours = Counter(moment_us(f"truck-{n}", DAY_US, T0_US) // (3600 * 1_000_000) for n in range(2400))
    assert len(hours) in (24, 25)
    assert max(hours.values()) < 200


@pytest.mark.parametrize(("fleet", "interval_s", "size"), [(0, 60, 1), (1, DAY_S, 1), (100_000, DAY_S, 24), (600, 60, 200)])
def test_what_is_late_is_made_up_for_without_a_rush(fleet: int, interval_s: int, size: int) -> None:
    assert batch_size(fleet, interval_s, PERIOD_S) == size


def audits(house: House, interval_s: int = DAY_S) -> Audits:
    return Audits(house.store, interval_s, now_us=lambda: house.now_us)


def test_each_device_is_asked_once_an_interval_while_it_is_there(house: House) -> None:
    house.attach()
    schedule = audits(house)
    asked_us = []
    for _ in range(2 * 24):
        house.later(3600)
        if schedule.queue_due():
            asked_us.append(house.now_us)
            (command,) = house.store.commands("demo", limit=1).commands
            assert (command.kind, command.actor) == ("audit", "schedule")
            house.turn()
            house.event(command, "result", outcome="executed", evidence={})
    assert len(asked_us) == 2
    assert asked_us[1] - asked_us[0] == DAY_US
    assert audits(house).queue_due() == [], "a restart remembers"


def test_nobody_is_asked_who_is_away_or_busy_or_has_not_answered(house: House) -> None:
    schedule = audits(house)
    house.later(DAY_S)
    assert schedule.queue_due() == [], "never attached"
    house.attach()
    command = house.switch()
    assert schedule.queue_due() == [], "a switch is open"
    house.event(command, "result", outcome="failed", reason="x")
    house.tell(Detached("demo", house.generation, "udp", "idle", house.now_us))
    assert schedule.queue_due() == [], "away"
    house.attach()
    house.audit()
    assert schedule.queue_due() == [], "one audit outstanding"
    (waiting,) = [item for item in house.store.commands("demo").commands if item.kind == "audit"]
    house.event(waiting, "result", outcome="executed", evidence={})
    assert schedule.queue_due() == ["demo"]
    assert schedule.queue_due() == []
    house.store.set_device_status("demo", "revoked", now_us=house.now_us)
    house.later(2 * DAY_S)
    assert schedule.queue_due() == [], "revoked"


def test_a_late_fleet_is_asked_bit_by_bit(house: House) -> None:
    for number in range(30):
        house.store.add_device(f"truck-{number}", name="", now_us=T0_US)
        event = Attached(f"truck-{number}", 64, "udp", ALPHA, 1, "00ff", 0, 1, T0_US)
        with house.store.transaction() as connection:
            registry.note_attached(connection, event)
    house.now_us += DAY_US
    schedule = audits(house, 600)
    asked = []
    for _ in range(40):
        found = schedule.queue_due()
        assert len(found) <= 1
        asked += found
        house.now_us += int(PERIOD_S * 1e6)
    assert len(set(asked)) == len(asked) == 30


def test_an_unknown_switch_is_asked_about_at_once_then_hourly_for_a_day(house: House) -> None:
    house.attach()
    schedule = audits(house, 365 * DAY_S)
    command = house.switch(deadline_s=30)
    house.event(command, "sent")
    house.later(3600 + 300)
    assert house.state(command) == "UNKNOWN"
    for _ in range(2):
        assert schedule.queue_due() == ["demo"]
        house.turn()
        (asked,) = house.store.commands("demo", limit=1).commands
        house.event(asked, "result", outcome="executed", evidence={})
        assert schedule.queue_due() == []
        house.now_us += ASK_AGAIN_US + 1
    house.now_us += ASK_UNTIL_US
    assert schedule.queue_due() == []


def test_a_device_away_for_days_is_asked_about_its_unknown_switch_when_it_comes(house: House) -> None:
    """Whatever the schedule is: there is none here."""
    house.attach()
    command = house.switch(deadline_s=30)
    house.event(command, "sent")
    house.later(DAY_S)
    assert house.state(command) == "UNKNOWN"
    house.now_us += 3 * DAY_US
    house.attach()
    (asked, *_) = house.store.commands("demo").commands
    assert (asked.kind, asked.actor) == ("audit", "schedule")
    house.attach()
    assert house.store.commands("demo").commands[0] == house.store.command("demo", asked.command_id), "one outstanding"
    house.event(asked, "result", outcome="executed", evidence={})
    house.attach()
    assert len(house.store.commands("demo").commands) == 2, "not again within the hour"
    house.now_us += ASK_AGAIN_US
    house.attach()
    assert len(house.store.commands("demo").commands) == 3
    house.event(command, "result", outcome="rolled_back")
    house.now_us += DAY_US
    house.attach()
    assert len(house.store.commands("demo").commands) == 3, "nothing is unknown any more"
