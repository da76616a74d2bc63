"""The way back of a switch: on its own card only, over the fallback where the previous carrier died, whatever the disk says."""

from __future__ import annotations

from typing import Any

import apsw
import pytest
from simway_modem_client.journal import CommandRecord, OpenSwitch
from simway_modem_client.switch import Phase
from simway_protocol.commands import Kind
from simway_protocol.sim.card import Card
from simway_virtual_sim.driver import open_card
from simway_virtual_sim.radio_coverage import Carrier, Coverage

DEAD = Carrier(coverage="none")


def is_rolled_back(world: Any, body: Any) -> bool:
    return world.server.closings(body.command_id) == ["rolled_back"]


# --- the previous carrier dies -------------------------------------------------------------------------------------------


def three(world: Any) -> tuple[str, str, str]:
    """Previous, target, fallback."""
    previous, target = world.active_iccid(), world.other_iccid()
    return previous, target, next(p.iccid for p in world.profiles() if p.iccid not in (previous, target))


def test_where_the_previous_carrier_died_the_fallback_has_its_turn(world: Any) -> None:
    world.server.confirms = False
    previous, target, fallback = three(world)
    body = world.command(Kind.SWITCH, target=target, deadline_s=30)
    world.until(lambda: world.result(body))
    world.coverage = Coverage(carriers={previous: DEAD})
    world.until(lambda: is_rolled_back(world, body), within_s=200)
    told = world.result(body)
    assert (told.reason, told.iccid, told.evidence["iccid_after"]) == ("not_confirmed", fallback, fallback)
    assert told.evidence["ways_back"] == [{"iccid": previous, "cause": "no_coverage"}]
    assert world.active_iccid() == fallback
    assert world.journal.open_switch() is None


@pytest.mark.parametrize("reboots", [False, True])
def test_with_every_carrier_dead_the_device_ends_on_the_previous_one_and_goes_on(world: Any, reboots: bool) -> None:
    previous, target, fallback = three(world)
    body = world.command(Kind.SWITCH, target=target, deadline_s=30)
    world.until(world.journal.open_switch)
    world.coverage = Coverage(carriers=dict.fromkeys((previous, target, fallback), DEAD))
    world.pass_time(400)
    if reboots:
        world.power_off()
        world.boot()
        world.pass_time(3_600)
    switch = world.journal.open_switch()
    assert (switch.phase, switch.way_back, world.active_iccid()) == (Phase.RETURNED, previous, previous)
    world.coverage = Coverage(carriers={target: DEAD})
    world.until(lambda: is_rolled_back(world, body), within_s=200)
    assert world.active_iccid() == previous
    assert world.result(body).reason == "no_coverage"


def test_a_power_cut_while_the_way_back_is_waited_for_loses_nothing(world: Any) -> None:
    previous, target, fallback = three(world)
    body = world.command(Kind.SWITCH, target=target, deadline_s=30)
    world.until(world.journal.open_switch)
    world.coverage = Coverage(carriers=dict.fromkeys((previous, target), DEAD))
    world.until(lambda: world.journal.open_switch().phase is Phase.RETURNED)
    for _ in range(5):
        world.power_off()
        world.boot()
        world.pass_time(10)
    world.until(lambda: is_rolled_back(world, body), within_s=200)
    assert world.active_iccid() == fallback


# --- another card answers ------------------------------------------------------------------------------------------------


class TwoCards:
    """Which of two cards is in."""

    def __init__(self, world: Any) -> None:
        self.other_is_in = False
        self._folder = world.folder
        world.wrap_card = self._choose

    def _choose(self, own: Card) -> Card:
        if not self.other_is_in:
            return own
        own.close()
        return self.open_other()

    def open_other(self) -> Any:
        return open_card({"state_file": str(self._folder / "other.json")})


def enabled_on_other(world: Any, cards: TwoCards) -> str:
    world.sim.drop()
    return world.active_iccid() if cards.other_is_in else ""


def test_another_card_is_left_alone_and_ends_nothing(world: Any) -> None:
    world.server.confirms = False
    cards = TwoCards(world)
    previous, target, _ = three(world)
    body = world.command(Kind.SWITCH, target=target, deadline_s=30)
    world.until(lambda: world.journal.open_switch() and world.result(body))
    cards.other_is_in = True
    world.sim.drop()
    before = enabled_on_other(world, cards)
    world.sim.drop()
    world.pass_time(100)
    assert world.journal.open_switch().phase is Phase.RETURNING
    assert enabled_on_other(world, cards) == before
    cards.other_is_in = False
    world.sim.drop()
    world.until(lambda: is_rolled_back(world, body), within_s=200)
    assert world.active_iccid() == previous


def test_at_boot_another_card_says_nothing_of_the_switch(world: Any) -> None:
    cards = TwoCards(world)
    previous, target, _ = three(world)
    command_id = bytes(range(16))
    eid = world.sim.use().eid()
    world.journal.accept(CommandRecord(command_id, "switch", 1, world.now_us))
    world.journal.begin_switch(OpenSwitch(command_id, previous, target, 30, world.now_us, card=(eid,)))
    world.sim.use().enable(target)
    cards.other_is_in = True
    world.sim.drop()
    world.agent.switcher.open = world.journal.open_switch()
    world.agent.boot()
    world.pass_time(60)
    assert world.journal.open_switch().evidence["cause"] == "other_card"
    cards.other_is_in = False
    world.sim.drop()
    world.until(lambda: world.server.closings(command_id), within_s=200)
    assert world.server.results(command_id)[-1].reason == "other_card"
    assert world.active_iccid() == previous


# --- the disk refuses ----------------------------------------------------------------------------------------------------


class FullDisk:
    """The writes of a journal fail while ``is_full``."""

    WRITES = ("accept", "begin_switch", "update_switch", "finish", "end_switch", "settle")

    def __init__(self, journal: Any, *names: str) -> None:
        self.is_full = True
        for name in names or self.WRITES:
            setattr(journal, name, self._write(getattr(journal, name)))

    def _write(self, write: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.is_full:
                raise apsw.FullError("database or disk is full")
            return write(*arguments, **named)

        return call


@pytest.mark.parametrize(("write", "outcome"), [("accept", "refused"), ("begin_switch", "failed")])
def test_a_switch_that_cannot_be_journaled_does_not_begin(world: Any, write: str, outcome: str) -> None:
    FullDisk(world.journal, write)
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.result(body))
    assert (world.result(body).outcome, world.result(body).reason) == (outcome, "journal_full")
    assert world.active_iccid() == before


def test_a_disk_that_fills_up_during_a_switch_does_not_keep_the_device_from_going_back(world: Any) -> None:
    previous = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=30)
    world.until(world.journal.open_switch)
    disk = FullDisk(world.journal)
    world.pass_time(100)
    assert world.active_iccid() == previous, "RESULT is not in the journal, so it was not said, and nobody confirmed"
    disk.is_full = False
    world.until(lambda: is_rolled_back(world, body), within_s=200)
    assert world.journal.open_switch() is None


def test_a_boot_that_cannot_be_counted_goes_back_at_once(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.server.confirms = False
    previous = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=600)
    world.until(lambda: world.result(body))
    world.power_off()
    with monkeypatch.context() as patched:
        patched.setattr("simway_modem_client.journal.Journal._set", full)
        world.boot(start=False)
    assert not world.journal.boot_was_counted
    world.link.start()
    world.until(lambda: is_rolled_back(world, body), within_s=100)
    assert world.result(body).reason == "booted_too_often"
    assert world.active_iccid() == previous


def full(*_arguments: Any) -> None:
    raise apsw.FullError("database or disk is full")


def test_a_lost_journal_is_told(world: Any) -> None:
    world.journal.begin_anew()
    body = world.command(Kind.AUDIT)
    world.until(lambda: world.result(body))
    assert world.result(body).evidence["journal"]["journal_lost"] is True
