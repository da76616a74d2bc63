"""The SIM speaks over the whole link: its readings reach the server like any others, and a switch is told by modem and card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simway_protocol.commands import Kind
from simway_protocol.sim import report
from simway_protocol.sim.report import SwitchWord

KEY = bytes(range(32))


def _logged(world: Any, sensor: str) -> list[Any]:
    found = [reading for reading in world.server.logged.values() if reading.sensor == sensor]
    return [reading.value for reading in sorted(found, key=lambda reading: reading.t_us)]


def test_the_counter_arrives_at_its_interval(make_world: Callable[..., Any]) -> None:
    world = make_world(sim_speaks=True)
    world.until(lambda: len(_logged(world, report.COUNTER)) == 3, within_s=120)
    assert _logged(world, report.COUNTER) == [1, 2, 3]


def test_a_switch_is_told_by_the_modem_and_by_the_card(make_world: Callable[..., Any]) -> None:
    world = make_world(sim_speaks=True)
    world.until(lambda: world.attached)
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(body.command_id) and _logged(world, report.SWITCH))
    assert world.server.closings(body.command_id) == ["closed"]
    assert world.result(body).outcome == "executed"
    word = SwitchWord.of(_logged(world, report.SWITCH)[0])
    assert word is not None
    assert (word.n, word.iccid, word.verified(KEY)) == (1, body.target_iccid, True)
    assert not [apdu for apdu in world.result(body).evidence["apdus"] if apdu["name"] == "ENVELOPE"]


def test_a_switch_that_goes_back_is_told_twice_by_the_card(make_world: Callable[..., Any]) -> None:
    world = make_world(sim_speaks=True)
    world.until(lambda: world.attached)
    world.server.confirms = False
    before = world.active_iccid()
    body = world.command(Kind.SWITCH, target=world.other_iccid(), deadline_s=30)
    world.until(lambda: len(_logged(world, report.SWITCH)) == 2, within_s=300)
    words = [SwitchWord.of(value) for value in _logged(world, report.SWITCH)]
    assert [(word.n, word.iccid) for word in words if word] == [(1, body.target_iccid), (2, before)]
    world.until(lambda: world.server.closings(body.command_id) == ["rolled_back"])


def test_what_the_card_said_survives_a_power_cut_of_the_device(make_world: Callable[..., Any]) -> None:
    world = make_world(sim_speaks=True)
    world.until(lambda: world.attached)
    world.net.cut = True
    body = world.sim.use()
    target = world.other_iccid()
    body.enable(target)
    body.apply_switch()
    world.until(lambda: world.sim.terminal.describe()["readings"] >= 2)
    world.power_off()
    world.net.cut = False
    world.boot()
    world.until(lambda: _logged(world, report.SWITCH))
    assert _logged(world, report.SWITCH)[0]["iccid"] == target
