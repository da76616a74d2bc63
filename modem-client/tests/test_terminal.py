"""The terminal around its core: the outbox, a card that asks, and one that never stops asking."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simway_modem_client.card import CardError, CardGone, SimCard
from simway_modem_client.outbox import Outbox
from simway_modem_client.terminal import PAUSE_S, REFRESHES_BURST, SimTerminal, imei_of, platform_at
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import report
from simway_protocol.sim.apdu import Command, Ins
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.proactive import ProactiveCommand, Refresh, Result, TerminalResponse
from simway_protocol.sim.proactive_objects import Transport
from simway_protocol.sim.terminal import COMMANDS_MAX, NoTerminal
from simway_protocol.sim.uicc import Uicc

OPEN = commands.OpenChannel(300, Transport(1, report.PLATFORM_PORT), report.PLATFORM_ADDRESS)
COUNT = cbor2.dumps([{0: "sim/counter", 2: 7}])
SECOND_US = 1_000_000


class AskingCard:
    """Answers everything with 9000, or 91xx while it has something to ask. ``refill``: what it asks for without end."""

    def __init__(self, *asks: bytes, refill: bytes = b"") -> None:
        self.asks = list(asks)
        self.refill = refill
        self.open = False
        self.answers: list[TerminalResponse] = []
        self.seen: list[int] = []
        self.resets = 0
        self.gone = False
        self.busy_envelopes = 0

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        if self.gone:
            raise CardGone("pulled")
        command = Command.decode(apdu)
        self.seen.append(command.ins)
        if command.ins == Ins.FETCH:
            assert not self.open, "a FETCH before the answer to the last one"
            self.open = True
            return self.asks.pop(0), 0x9000
        if command.ins == Ins.TERMINAL_RESPONSE:
            assert self.open, "an answer to nothing"
            self.open = False
            self.answers.append(TerminalResponse.decode(command.data))
        if command.ins == Ins.ENVELOPE and self.busy_envelopes:
            self.busy_envelopes -= 1
            return b"", 0x9300
        if self.refill and not self.asks:
            self.asks.append(self.refill)
        return b"", 0x9100 | len(self.asks[0]) & 0xFF if self.asks else 0x9000

    def reset(self) -> bytes:
        self.resets += 1
        self.open = False
        return b"\x3b\x00"

    def close(self) -> None:
        pass


class Desk:
    """An outbox, a terminal, and whatever card is put in. Time stands still unless the test moves it."""

    def __init__(self, folder: Path) -> None:
        self.now_us = 1_790_000_000 * SECOND_US
        self.outbox = Outbox(folder / "outbox.db")
        self.terminal = SimTerminal(
            device="truck-7", outbox=self.outbox, clock_us=lambda: self.now_us, registration=lambda: Registration("home", True),
            is_platform=platform_at("127.0.0.1", 6001),
        )  # fmt: skip
        self.card = AskingCard()
        self.sim = SimCard(lambda: self.card, terminal=self.terminal)

    def insert(self, *asks: Any, refill: Any = None) -> AskingCard:
        self.sim.drop()
        frames = [_frame(ask) for ask in asks]
        self.card = AskingCard(*frames, refill=b"" if refill is None else _frame(refill))
        self.sim.use()
        return self.card

    def readings(self) -> list[tuple[str, Any]]:
        return [(stored.reading.sensor, stored.reading.value) for stored in self.outbox.read(1, 1000)]


def _frame(ask: Any) -> bytes:
    if isinstance(ask, bytes):
        return ask
    return (ask if isinstance(ask, ProactiveCommand) else ask.encode(1)).encode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.outbox.close()


def test_the_terminal_introduces_itself_to_each_card_and_after_each_reset(desk: Desk) -> None:
    card = desk.insert()
    assert card.seen == [Ins.SELECT, Ins.TERMINAL_PROFILE]
    desk.sim.use().reset()
    assert card.seen[2:] == [Ins.TERMINAL_PROFILE]
    plain = AskingCard()
    Uicc(plain, lambda: 0).reset()
    assert plain.seen == []


def test_what_the_card_sends_is_on_the_disk_before_it_hears_so(desk: Desk) -> None:
    card = desk.insert(OPEN, commands.SendData(1, COUNT), commands.ReceiveData(1, 64), commands.CloseChannel(1))
    assert desk.sim.tick() is False
    assert [answer.result for answer in card.answers] == [0, 0, Result.MISSING_INFORMATION, 0]
    assert report.Receipt.decode(card.answers[2].items[0].value) == (1, 0)
    assert desk.readings() == [("sim/counter", 7)]
    assert desk.terminal.describe()["readings"] == 1
    assert desk.sim.take_evidence()[2:] == [], "what the card asks for is no evidence of a command of ours"


def test_a_disk_that_refuses_is_told_to_the_card_and_the_card_comes_again(desk: Desk) -> None:
    card = desk.insert(OPEN, commands.SendData(1, COUNT), commands.ReceiveData(1, 64))
    desk.outbox.trouble = "disk full"
    desk.sim.tick()
    assert [answer.result for answer in card.answers] == [0, Result.TERMINAL_UNABLE, Result.MISSING_INFORMATION]
    assert card.answers[2].items[0].value == b""
    desk.outbox.trouble = None
    card.asks = [commands.SendData(1, COUNT).encode(1).encode()]
    desk.sim.use().poll()
    desk.sim.tick()
    assert desk.readings() == [("sim/counter", 7)]


def test_an_outbox_that_closes_takes_nothing_more(desk: Desk) -> None:
    card = desk.insert(OPEN, commands.SendData(1, COUNT))
    desk.outbox.interrupt()
    desk.sim.tick()
    assert card.answers[1].result == Result.TERMINAL_UNABLE


def test_a_poll_interval_leads_to_status_at_that_interval_and_to_what_the_card_wants_then(desk: Desk) -> None:
    card = desk.insert(commands.PollInterval(30))
    desk.sim.tick()
    seen = len(card.seen)
    desk.now_us += 29 * SECOND_US
    desk.sim.tick()
    assert len(card.seen) == seen
    card.asks = [commands.MoreTime().encode(1).encode()]
    desk.now_us += SECOND_US
    desk.sim.tick()
    assert card.seen[seen:] == [Ins.STATUS, Ins.FETCH, Ins.TERMINAL_RESPONSE]
    desk.now_us += 30 * SECOND_US
    desk.sim.tick()
    assert card.seen[seen + 3 :] == [Ins.STATUS]


def test_a_card_that_was_let_go_of_is_opened_for_its_poll(desk: Desk) -> None:
    card = desk.insert(commands.PollInterval(30))
    desk.sim.tick()
    desk.sim.drop()
    desk.now_us += 30 * SECOND_US
    seen = len(card.seen)
    desk.sim.tick()
    assert card.seen[seen:] == [Ins.SELECT, Ins.TERMINAL_PROFILE, Ins.STATUS]


def test_a_timer_and_an_event_reach_the_card_even_when_it_is_busy_at_first(desk: Desk) -> None:
    start = commands.TimerManagement(commands.TimerAction.START, 1, 10)
    card = desk.insert(start)
    desk.sim.tick()
    card.busy_envelopes = 1
    desk.now_us += 10 * SECOND_US
    for _ in range(3):
        desk.sim.tick()
    assert card.seen.count(Ins.ENVELOPE) == 2


def test_a_queue_without_end_is_left_after_a_bound_and_for_a_while(desk: Desk) -> None:
    card = desk.insert(commands.MoreTime(), refill=commands.MoreTime())
    for _ in range(5):
        desk.sim.tick()
    assert (len(card.answers), desk.terminal.endless) == (COMMANDS_MAX, 1)
    desk.now_us += PAUSE_S * SECOND_US
    desk.sim.tick()
    assert (len(card.answers), desk.terminal.endless) == (2 * COMMANDS_MAX, 2)


def test_a_refresh_resets_the_card_but_not_for_ever(desk: Desk) -> None:
    card = desk.insert(refill=commands.Refresh(Refresh.UICC_RESET))
    assert [desk.sim.tick() for _ in range(REFRESHES_BURST + 3)] == [True] * REFRESHES_BURST + [False] * 3
    assert (card.resets, desk.terminal.endless) == (REFRESHES_BURST, 1)


def test_a_refresh_of_files_is_looked_at_without_a_reset(desk: Desk) -> None:
    card = desk.insert(commands.Refresh(Refresh.FILE_CHANGE))
    assert desk.sim.tick() is True
    assert (card.resets, card.answers[0].result) == (0, 0)


def test_a_card_that_is_gone_is_dropped_and_the_client_goes_on(desk: Desk) -> None:
    card = desk.insert(commands.MoreTime())
    card.gone = True
    assert desk.sim.tick() is False
    card.gone = False
    card.asks = []
    assert desk.sim.use() is not None


def test_what_the_card_asks_for_reaches_it_without_a_terminal_too() -> None:
    card = AskingCard(_frame(commands.PollInterval(30)), _frame(commands.Refresh(4)))
    uicc = Uicc(card, lambda: 0)
    uicc.poll()
    assert [command.name for command in uicc.run_proactive()] == ["POLL INTERVAL", "REFRESH"]
    assert [answer.result for answer in card.answers] == [Result.BEYOND_CAPABILITIES, Result.PERFORMED]


_fetched = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.binary(max_size=100).map(lambda data: bytes.fromhex("D0") + bytes((len(data),)) + data),
    st.binary(max_size=60).map(lambda data: _tailed(0x43, data)),
    st.tuples(st.integers(0, 255), st.binary(max_size=60)).map(lambda pair: _tailed(*pair)),
)


def _tailed(kind: int, data: bytes) -> bytes:
    inner = bytes((0x81, 3, 1, kind, 1, 0x82, 2, 0x81, 0x21)) + data
    return bytes((0xD0, len(inner))) + inner


@given(st.lists(_fetched, min_size=1, max_size=8), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_bytes_get_exactly_one_answer_each(fetched: list[bytes], terminal: bool) -> None:
    card = AskingCard(*fetched)
    uicc = Uicc(card, lambda: 0, terminal=_DESKLESS if terminal else NoTerminal())
    uicc.poll()
    while card.asks and uicc.proactive_pending:
        uicc.run_proactive()
    assert (len(card.answers), card.open) == (len(fetched) - len(card.asks), False)


@given(st.lists(st.tuples(st.binary(max_size=80), st.integers(0x6000, 0x9FFF)), max_size=20))
@settings(max_examples=80, deadline=None)
def test_any_answers_of_a_card_raise_only_what_is_declared(script: list[tuple[bytes, int]]) -> None:
    class Scripted(AskingCard):
        def transmit(self, apdu: bytes) -> tuple[bytes, int]:
            return script.pop() if script else (b"", 0x9000)

    uicc = Uicc(Scripted(), lambda: 0, terminal=_DESKLESS)
    for step in (uicc.introduce, uicc.poll, uicc.run_proactive, uicc.reset, uicc.run_proactive):
        with contextlib.suppress(CardError):
            step()


class _NoDisk:
    trouble = "no disk here"


_DESKLESS = SimTerminal(
    device="truck-7", outbox=_NoDisk(), clock_us=lambda: 1_790_000_000 * SECOND_US,  # type: ignore[arg-type]
    registration=lambda: Registration("home", True), is_platform=platform_at("127.0.0.1", 6001),
)  # fmt: skip


def test_only_the_platform_is_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    is_platform = platform_at("localhost", 7001)
    address: Callable[[str], Any] = ipaddress.ip_address
    assert is_platform(address("127.0.0.1"), 7001)
    assert is_platform(address("0.0.0.0"), report.PLATFORM_PORT)
    assert not is_platform(address("0.0.0.0"), 7001)
    assert not is_platform(address("127.0.0.1"), 7002)
    assert not is_platform(address("192.0.2.1"), 7001)

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror("no resolver")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert not is_platform(address("127.0.0.1"), 7001)


def test_an_imei_of_the_test_range_belongs_to_a_device() -> None:
    assert imei_of("truck-7") == imei_of("truck-7") != imei_of("truck-8")
    assert len(imei_of("truck-7")) == 15
    assert imei_of("truck-7").startswith("00")
