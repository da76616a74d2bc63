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


class StrictCard:
    """catBusy as long as anything at all waits to be fetched, as some cards have it: at the first switch something does."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._waits = False
        self.refused = 0

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if apdu[1] == 0xE2 and b"\xbf\x31" in apdu and (self._waits or not self.refused):
            self.refused += 1
            self._waits = True
            _, sw = self._inner.transmit(bytes.fromhex("80F2000C"))
            return bytes.fromhex("BF3103800105"), sw
        data, sw = self._inner.transmit(apdu)
        self._waits = sw >> 8 == 0x91 or (self._waits and sw >> 8 == 0x61)
        return data, sw

    def reset(self) -> bytes:
        return bytes(self._inner.reset())

    def close(self) -> None:
        self._inner.close()


def test_a_card_that_is_busy_with_its_own_report_is_served_and_switched(make_world: Callable[..., Any]) -> None:
    world = make_world(sim_speaks=True)
    world.until(lambda: world.attached)
    world.sim.drop()
    cards: list[StrictCard] = []

    def wrap(card: Any) -> StrictCard:
        cards.append(StrictCard(card))
        return cards[-1]

    world.wrap_card = wrap
    world.agent.switcher._card.wait = lambda _seconds: None
    body = world.command(Kind.SWITCH, target=world.other_iccid())
    world.until(lambda: world.server.closings(body.command_id))
    assert world.server.closings(body.command_id) == ["closed"]
    assert sum(card.refused for card in cards) == 1
