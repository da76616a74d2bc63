"""One suite for every card, third part: what a card asks of its terminal, with the device's own terminal on the other side.

Commands, answers and envelopes byte by byte; then reports and switches through the modem client's ``SimCard``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simway_modem_client.card import SimCard
from simway_modem_client.outbox import Outbox
from simway_modem_client.terminal import SimTerminal, platform_at
from simway_modem_client.terminal_core import PROFILE
from simway_protocol.sim import report
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.card import Card, CardError
from simway_protocol.sim.es10c import EnableResult
from simway_protocol.sim.report import SwitchWord
from simway_protocol.sim.transport import Gathered, LengthCorrected, Processor
from simway_protocol.sim.uicc import Uicc
from simway_testing.cards import KNOWN, CardKind, Socket, needing

FIRST, SECOND, THIRD = (profile.iccid for profile in KNOWN.profiles[:3])
KEY = bytes(range(32))
SECOND_US = 1_000_000


class Listening(Processor):
    """Notes what crosses, as the page writes it."""

    def __init__(self, inner: Card) -> None:
        super().__init__(inner)
        self.exchanges: list[tuple[str, str]] = []

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        data, sw = super().transmit(apdu)
        self.exchanges.append((apdu.hex().upper(), f"{data.hex().upper()}{sw:04X}"))
        return data, sw


PAGE = Path(__file__).parents[2] / "docs" / "sim-speaks.md"
DIALOGUE = [
    (row[0].strip(" `").replace(" ", ""), row[1].strip(" `").replace(" ", ""), row[2].strip())
    for line in PAGE.read_text().splitlines()
    if line.startswith("| `80") and len(row := line.strip("|").split("|")) == 3
]


class Device:
    """What a modem client has around its card. Time stands still unless the test moves it."""

    def __init__(self, folder: Path, card: Callable[[], Any]) -> None:
        self.now_us = 1_795_326_665 * SECOND_US
        self.outbox = Outbox(folder / "outbox.db")
        self.terminal = SimTerminal(
            device="truck-7", outbox=self.outbox, clock_us=lambda: self.now_us,
            registration=lambda: Registration("home", True, "99970", "LTE"), is_platform=platform_at("127.0.0.1", 6001),
        )  # fmt: skip
        self.sim = SimCard(card, terminal=self.terminal)

    def readings(self, sensor: str) -> list[Any]:
        return [stored.reading.value for stored in self.outbox.read(1, 1000) if stored.reading.sensor == sensor]

    def tick(self, seconds: float = 0) -> None:
        self.now_us += int(seconds * SECOND_US)
        self.sim.tick()


@pytest.fixture
def socket(kind: CardKind, tmp_path: Path) -> Iterator[Socket]:
    socket = Socket(kind, tmp_path)
    yield socket
    socket.pull()


@pytest.fixture
def device(socket: Socket, tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path, lambda: socket.card)
    device.sim.use().applet_personalise(KEY, 1)
    yield device
    device.outbox.close()


def _speak(socket: Socket, command: str) -> str:
    data, sw = Gathered(LengthCorrected(socket.card)).transmit(bytes.fromhex(command))
    return f"{data.hex().upper()}{sw:04X}"


@needing("proactive", "key")
def test_the_dialogue_of_the_page(socket: Socket, device: Device) -> None:
    uicc = device.sim.use()
    uicc.enable(SECOND)
    uicc.apply_switch()
    socket.card.reset()
    assert len(DIALOGUE) == 13
    for command, expected, meaning in DIALOGUE:
        assert _speak(socket, command) == expected, meaning


@needing("proactive", "key")
def test_the_devices_terminal_says_what_the_page_says(socket: Socket, device: Device) -> None:
    uicc = device.sim.use()
    uicc.enable(SECOND)
    uicc.apply_switch()
    heard = Listening(socket.card)
    terminal = Uicc(Gathered(heard), lambda: 0, terminal=device.terminal)
    terminal.reset()
    terminal.run_proactive()
    assert [exchange for exchange in heard.exchanges if exchange[0][2:4] != "C0"] == [row[:2] for row in DIALOGUE]


@needing("proactive", "key")
def test_the_card_reports_at_the_interval_that_it_asked_for(device: Device) -> None:
    device.tick()
    assert device.terminal.describe()["poll_interval_s"] == 30
    assert device.readings(report.COUNTER) == []
    for _ in range(3):
        device.tick(31)
    assert device.readings(report.COUNTER) == [1, 2, 3]
    assert device.terminal.describe()["beyond"] == 0


@needing("proactive", "key")
def test_a_switch_is_told_by_the_card_itself(device: Device) -> None:
    uicc = device.sim.use()
    assert uicc.enable(SECOND) is EnableResult.OK
    assert uicc.apply_switch() == SECOND
    assert device.readings(report.SWITCH) == [], "not inside the switch"
    device.tick()
    words = [SwitchWord.of(value) for value in device.readings(report.SWITCH)]
    assert [(word.n, word.iccid, word.verified(KEY)) for word in words if word] == [(1, SECOND, True)]
    device.tick(31)
    assert len(device.readings(report.SWITCH)) == 1


@needing("proactive", "key")
def test_a_switch_while_a_report_waits(device: Device) -> None:
    """The card said 91xx before each enable, and nobody fetched."""
    device.tick()
    for number, target in enumerate((SECOND, THIRD, FIRST), 1):
        uicc = device.sim.use()
        uicc.poll()
        assert uicc.proactive_pending
        assert uicc.enable(target) is EnableResult.OK
        assert [command.wants_reset for command in uicc.run_proactive()] == [True]
        uicc.reset()
        assert uicc.iccid() == target
        device.tick()
        assert [value["n"] for value in device.readings(report.SWITCH)] == list(range(1, number + 1))


@needing("proactive", "key", "power_off")
def test_what_was_not_told_outlives_power_off(socket: Socket, device: Device) -> None:
    uicc = device.sim.use()
    assert uicc.enable(SECOND, refresh=False) is EnableResult.OK
    device.sim.drop()
    socket.power_cycle()
    device.tick()
    device.sim.use()
    device.tick()
    assert [value["n"] for value in device.readings(report.SWITCH)] == [1]


@needing("proactive", "key")
def test_a_disk_that_refuses_delays_the_word_and_does_not_lose_it(device: Device) -> None:
    uicc = device.sim.use()
    uicc.enable(SECOND)
    uicc.apply_switch()
    device.outbox.trouble = "disk full"
    for _ in range(3):
        device.tick(31)
    assert device.readings(report.SWITCH) == []
    assert device.terminal.describe()["not_stored"] == 3
    device.outbox.trouble = None
    device.tick(31)
    assert [value["n"] for value in device.readings(report.SWITCH)] == [1]


@needing("proactive", "key")
@pytest.mark.parametrize("profile", [b"", b"\xff" * 11, PROFILE[:12]])
def test_who_does_not_announce_channels_hears_nothing(socket: Socket, device: Device, profile: bytes) -> None:
    device.sim.use()._terminal = type("Silent", (), {"profile": b"", "card_reset": lambda _: None})()
    device.sim.use().reset()
    if profile:
        assert _speak(socket, f"80100000{len(profile):02X}{profile.hex()}") == "9000"
    for command in ("80F2000C", "00A4000C023F00", "80F2000C"):
        assert _speak(socket, command) == "9000"


@needing("proactive", "key", "pulled")
def test_a_card_pulled_in_the_middle_of_a_report_tells_it_later(socket: Socket, device: Device) -> None:
    uicc = device.sim.use()
    uicc.enable(SECOND)
    uicc.apply_switch()
    socket.pull()
    device.tick()
    assert device.readings(report.SWITCH) == []
    socket.power_cycle()
    try:
        device.sim.use()
    except CardError:
        device.sim.drop()
        device.sim.use()
    device.tick()
    assert [value["n"] for value in device.readings(report.SWITCH)] == [1]
