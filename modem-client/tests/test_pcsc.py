"""The driver for readers, against virtual SIMs in the readers of a real pcscd."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from simway_modem_client.card import CardError, CardGone, NoDriver, pcsc, pcsc_words
from simway_modem_client.card.bounded import StillWaits, bounded
from simway_modem_client.card.pcsc import PcscCard, open_card, slots
from simway_modem_client.desk import readers
from simway_protocol.sim.uicc import Uicc
from simway_testing import card_in_reader, scratch
from simway_testing.pcscd import Pcscd
from simway_testing.pcscd import running as pcscd_running
from simway_testing.waiting import wait_for
from simway_virtual_sim import state
from simway_virtual_sim.factory import new_card

WAIT_S = 20
PRESENT = 0x20

HOLDER = """
import sys, time
from smartcard import scard
_, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
share = scard.SCARD_SHARE_EXCLUSIVE if sys.argv[2] == "exclusive" else scard.SCARD_SHARE_SHARED
print("begins", flush=True)
code, handle, _ = scard.SCardConnect(context, sys.argv[1], share, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1)
assert code == 0, hex(code & 0xffffffff)
if sys.argv[2] == "transaction":
    assert scard.SCardBeginTransaction(handle) == 0
print("holds", time.monotonic_ns(), flush=True)
sys.stdin.readline()
how = {"reset": scard.SCARD_RESET_CARD, "unpower": scard.SCARD_UNPOWER_CARD}.get(sys.argv[3], scard.SCARD_LEAVE_CARD)
scard.SCardDisconnect(handle, how)
scard.SCardReleaseContext(context)
"""


class Sitting(NamedTuple):
    """A card in a reader."""

    reader: str
    host: card_in_reader.Host
    iccids: tuple[str, ...]

    def pull(self) -> None:
        self.host.tell(do="pull")
        wait_for(lambda: not present(self.reader), WAIT_S, "pcscd saw the card go")

    def put_back(self) -> None:
        self.host.tell(do="put back")
        wait_for(lambda: present(self.reader), WAIT_S, "pcscd saw the card")


def present(reader: str) -> bool:
    return any(slot.name == reader and slot.flags & PRESENT for slot in slots())


@pytest.fixture
def cards(pcscd: Pcscd, tmp_path: Path) -> Iterator[list[Sitting]]:
    """A card in each of two readers, fresh."""
    found = []
    for number in range(2):
        card = new_card(lambda count, number=number: bytes(range(11 + 40 * number, 11 + 40 * number + count)))
        memory = tmp_path / f"sim{number}.json"
        memory.write_bytes(state.encode(card))
        host = card_in_reader.host(number)
        host.tell(do="put back")
        host.tell(do="insert", state_file=str(memory), faults={})
        reader = pcscd.readers[number].name
        wait_for(lambda reader=reader: present(reader), WAIT_S, f"a card in {reader}")
        found.append(Sitting(reader, host, tuple(profile.iccid for profile in card.profiles)))
    yield found
    for sitting in found:
        sitting.host.tell(do="none")


@pytest.fixture
def hold() -> Iterator[Callable[..., Any]]:
    """Starts another program that holds a card: ``exclusive``, ``shared``, or in a ``transaction``."""
    started: list[subprocess.Popen[str]] = []

    def start(reader: str, how: str, leave: str = "leave", *, ready: bool = True) -> Any:
        command = [sys.executable, "-c", HOLDER, reader, how, leave]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "begins\n"
        if ready:
            assert process.stdout.readline().startswith("holds")
        return process

    yield start
    for process in started:
        let_go(process)


def let_go(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.communicate("\n", timeout=WAIT_S)


def uicc(card: PcscCard) -> Uicc:
    return Uicc(card, lambda: time.monotonic_ns() // 1000)


def by_name(sitting: Sitting, wait_s: float = 10.0) -> PcscCard:
    card = PcscCard(sitting.reader, wait_s=wait_s)
    card.connect()
    return card


# --- which card ----------------------------------------------------------------------------------------------------------


def test_by_part_of_the_readers_name_in_any_case(cards: list[Sitting]) -> None:
    for sitting in cards:
        card = open_card({"reader": sitting.reader[-5:].lower()})
        assert uicc(card).iccid() == sitting.iccids[0]
        assert card.atr == card.reset() != b""
        card.close()
    with pytest.raises(CardError, match=f"no reader's name holds 'omnikey'.*{cards[0].reader}; {cards[1].reader}"):
        open_card({"reader": "omnikey"})


def test_by_iccid_in_whichever_reader_and_whichever_profile_is_enabled(cards: list[Sitting]) -> None:
    for sitting in cards:
        for iccid in sitting.iccids:
            card = open_card({"iccid": iccid})
            assert uicc(card).iccid() == sitting.iccids[0]
            card.close()
    with pytest.raises(CardError, match="CARD_ICCID") as refused:
        open_card({"iccid": "8999909000000000009"})
    assert all(sitting.iccids[0] in str(refused.value) for sitting in cards)


def test_an_empty_reader_is_passed_over(cards: list[Sitting]) -> None:
    cards[0].pull()
    card = open_card({})
    assert uicc(card).iccid() == cards[1].iccids[0]
    card.close()
    with pytest.raises(CardError, match=f"there is no card in {cards[0].reader}; put one in"):
        open_card({"reader": cards[0].reader})


# --- with others ---------------------------------------------------------------------------------------------------------


def test_one_that_has_the_card_for_itself_is_named(cards: list[Sitting], hold: Callable[..., Any]) -> None:
    holder = hold(cards[0].reader, "exclusive")
    with pytest.raises(CardError, match=r"another program has the card .* for itself; let it finish") as refused:
        open_card({"reader": cards[0].reader})
    assert f"(process {holder.pid})" in str(refused.value)
    let_go(holder)
    open_card({"reader": cards[0].reader}).close()


def test_a_card_let_go_of_can_be_had_alone(cards: list[Sitting], hold: Callable[..., Any]) -> None:
    card = by_name(cards[0])
    uicc(card).iccid()
    card.close()
    card.close()
    hold(cards[0].reader, "exclusive")


def test_nobody_comes_between_a_dialogue(cards: list[Sitting], hold: Callable[..., Any]) -> None:
    card = by_name(cards[0])
    client = uicc(card)
    with client.dialogue():
        other = hold(cards[0].reader, "transaction", ready=False)
        for _ in range(10):
            assert client.iccid() == cards[0].iccids[0]
        card.reset()
        assert client.iccid() == cards[0].iccids[0]
        over_ns = time.monotonic_ns()
    assert int(other.stdout.readline().split()[1]) >= over_ns
    let_go(other)
    assert client.iccid() == cards[0].iccids[0]
    card.close()


def test_others_use_the_card_between_our_dialogues(cards: list[Sitting], hold: Callable[..., Any]) -> None:
    card = by_name(cards[0])
    for leave in ("leave", "reset", "unpower"):
        assert uicc(card).iccid() == cards[0].iccids[0]
        let_go(hold(cards[0].reader, "transaction", leave))
    assert uicc(card).iccid() == cards[0].iccids[0]
    card.close()


def test_a_transaction_of_others_is_not_waited_for_without_end(cards: list[Sitting], hold: Callable[..., Any]) -> None:
    card = by_name(cards[0], wait_s=0.2)
    holder = hold(cards[0].reader, "transaction")
    for _ in range(3):
        with pytest.raises(CardGone, match="another program has the card"):
            uicc(card).iccid()
    let_go(holder)

    def answers() -> bool:
        try:
            return uicc(card).iccid() == cards[0].iccids[0]
        except CardGone:
            return False

    wait_for(answers, WAIT_S, "the card can be had again")
    card.close()


# --- pulled --------------------------------------------------------------------------------------------------------------


def test_pulled_and_put_back_between_dialogues(cards: list[Sitting]) -> None:
    card = open_card({"iccid": cards[1].iccids[2]})
    for _ in range(2):
        assert uicc(card).iccid() == cards[1].iccids[0]
        cards[1].pull()
        with pytest.raises(CardGone, match=r"there is no card in|was pulled out"):
            uicc(card).iccid()
        cards[1].put_back()
    assert uicc(card).iccid() == cards[1].iccids[0]
    card.close()


def reset_while_it_loses_contact(sitting: Sitting) -> None:
    """For less than pcscd takes to look."""
    card = by_name(sitting)
    sitting.host.tell(do="pull")
    with pytest.raises(CardGone):
        card.reset()
    sitting.host.tell(do="put back")


def test_a_card_that_lost_contact_for_a_moment_while_it_was_reset_is_found_again(cards: list[Sitting]) -> None:
    reset_while_it_loses_contact(cards[0])

    def connected() -> PcscCard | None:
        try:
            return by_name(cards[0])
        except CardGone:
            return None

    found = wait_for(connected, WAIT_S, "the card was found")
    assert uicc(found).iccid() == cards[0].iccids[0]
    found.close()


def test_a_card_that_lost_contact_for_a_moment_while_it_was_reset_is_listed(cards: list[Sitting]) -> None:
    reset_while_it_loses_contact(cards[0])

    def listed() -> list[tuple[str, str]]:
        seen = {one["reader"]: (one["card"], one["iccid"]) for one in readers.look()}
        return [seen[sitting.reader] for sitting in cards]

    wait_for(lambda: listed() == [("yes", sitting.iccids[0]) for sitting in cards], WAIT_S, "both cards are listed")


def test_another_card_put_in_is_not_taken_for_the_one_that_was_meant(cards: list[Sitting], tmp_path: Path) -> None:
    card = open_card({"iccid": cards[1].iccids[0]})
    cards[1].pull()
    (tmp_path / "other.json").write_bytes(state.encode(new_card(bytes)))
    cards[1].host.tell(do="insert", state_file=str(tmp_path / "other.json"), faults={})
    cards[1].put_back()
    with pytest.raises(CardGone, match=f"the card in {cards[1].reader} has "):
        uicc(card).iccid()
    card.close()


def test_pulled_in_the_middle_of_a_dialogue_it_is_lost_to_its_end(cards: list[Sitting]) -> None:
    card = by_name(cards[0])
    client = uicc(card)
    with client.dialogue():
        client.iccid()
        cards[0].pull()
        with pytest.raises(CardGone):
            client.iccid()
        cards[0].put_back()
        with pytest.raises(CardGone, match="lost in the middle of a dialogue"):
            client.iccid()
        assert card.reset() == card.atr
        assert client.iccid() == cards[0].iccids[0]
    assert client.iccid() == cards[0].iccids[0]
    card.close()


# --- the service ---------------------------------------------------------------------------------------------------------


def test_a_service_that_goes_away_is_named_with_the_line_to_type(tmp_path: Path) -> None:
    """In a process of its own: PC/SC's library keeps the first socket that it was told."""
    pytest.importorskip("smartcard")
    program = "import sys; from simway_modem_client.cli import run_cli; sys.exit(run_cli(sys.argv[1:], {'CARD': 'pcsc'}))"
    environment = {"PCSCLITE_CSOCK_NAME": str(tmp_path / "nowhere"), "PATH": "/usr/bin"}
    command = [sys.executable, "-c", program, "sim", "info"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "pcscd) is not running; start it: sudo systemctl start pcscd" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_pyscard_the_line_to_type_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    for asked in (lambda: open_card({}), slots):
        with pytest.raises(NoDriver, match=r"apt install pcscd .* pip install"):
            asked()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pcsc_words.REMOVED_CARD, "pulled out of R; put it back"), (pcsc_words.NO_SMARTCARD, "no card in R; put one in"),
        (pcsc_words.UNRESPONSIVE_CARD, "does not answer; turn it"), (pcsc_words.READER_UNAVAILABLE, "R was unplugged; plug"),
        (pcsc_words.UNKNOWN_READER, "R was unplugged; plug"), (pcsc_words.SHARING_VIOLATION, "another program has the card in R"),
        (pcsc_words.NO_SERVICE, "start it: sudo systemctl"), (pcsc_words.SERVICE_STOPPED, "start it: sudo systemctl"),
        (pcsc_words.INVALID_HANDLE, "try again"), (0x80100001, r"told \(80100001\)"),
    ],
)  # fmt: skip
def test_codes_are_told_in_words_signed_or_not(code: int, words: str) -> None:
    for given in (code, code - 2**32):
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(pcsc_words.words(given, "R", "told"))


def test_the_service_in_words() -> None:
    assert "is not running; start it" in pcsc_words.service_words(pcsc_words.NO_SERVICE)
    assert "(told, 80100001); start it again" in pcsc_words.service_words(0x80100001, "told")


def test_programs_that_use_pcsc_are_found_by_the_library_that_they_loaded(tmp_path: Path) -> None:
    for pid, name, maps in ((11, "lpac", "/usr/lib/libpcsclite.so.1.0.0"), (12, "cat", "/bin/cat"), (7, "me", "libpcsclite")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (tmp_path / str(pid) / "maps").write_text(maps)
    (tmp_path / "13").mkdir()
    assert pcsc_words.users_of_pcsc(tmp_path, but=7) == ["lpac (process 11)"]


# --- bounded calls -------------------------------------------------------------------------------------------------------


def test_a_call_given_up_is_undone_once_it_returns_and_blocks_a_second_until_then() -> None:
    go, undone = threading.Event(), list[Any]()
    with pytest.raises(StillWaits):
        bounded("reader A", lambda: go.wait(WAIT_S) and "late", undone.append, 0.01)
    with pytest.raises(StillWaits):
        bounded("reader A", lambda: "second", undone.append, WAIT_S)
    assert bounded("reader B", lambda: "other", undone.append, WAIT_S) == "other"
    go.set()
    wait_for(lambda: undone == ["late"], WAIT_S, "the late result was undone")

    def again() -> bool:
        try:
            return bounded("reader A", lambda: "third", undone.append, WAIT_S) == "third"
        except StillWaits:
            return False

    wait_for(again, WAIT_S, "calls about the reader go through again")
    assert undone == ["late"]


def test_the_driver_is_registered_by_its_name() -> None:
    from simway_modem_client.card import driver_names

    assert "pcsc" in driver_names()
    assert pcsc.open_card is open_card


# --- a reader that goes away ---------------------------------------------------------------------------------------------

LONG_LIVED = """
import sys, time
from simway_modem_client.card import CardError
from simway_modem_client.card.pcsc import open_card, slots
from simway_protocol.sim.uicc import Uicc
card = open_card({})
client = Uicc(card, lambda: 0)
while True:
    try:
        print("ICCID", client.iccid(), flush=True)
    except CardError as error:
        print(type(error).__name__, error, flush=True)
    if not sys.stdin.readline():
        break
"""


def test_a_service_that_ends_under_an_open_card_is_said_and_no_crash(pcscd: Pcscd) -> None:
    """What an unplugged reader does, too: the handle is void. In a process of its own, on a pcscd of its own."""
    with scratch("pcsc-gone") as directory:
        memory = directory / "sim.json"
        memory.write_bytes(state.encode(new_card(bytes)))
        with pcscd_running(directory) as service:
            host = card_in_reader.Host(service.readers[1])
            host.tell(do="insert", state_file=str(memory), faults={})
            process = wait_for(lambda: long_lived(service), WAIT_S, "the card is in its reader")
        host.stop()
    said, _ = process.communicate("\n", timeout=WAIT_S)
    assert said.startswith("CardGone ")
    assert "pcscd) is not running; start it" in said or "try again" in said or "was unplugged" in said


def long_lived(service: Pcscd) -> subprocess.Popen[str] | None:
    process = subprocess.Popen([sys.executable, "-c", LONG_LIVED], env=os.environ | service.environment, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    assert process.stdout
    if process.stdout.readline().startswith("ICCID"):
        return process
    process.communicate(timeout=WAIT_S)
    return None
