"""The SIM in a modem, through a scripted serial peer of each maker's ways with a real virtual card in it."""

from __future__ import annotations

import re
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from simway_modem_client.at import port as at_port
from simway_modem_client.at.lines import Command
from simway_modem_client.at.port import AtPort, ModemBusy, ModemGone, NoSerial, Serial, give_back, take_port
from simway_modem_client.card import NoDriver, open_card
from simway_modem_client.card.at import AtCard
from simway_protocol.sim import apdu, applet, es10c, status
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10c import EnableResult
from simway_protocol.sim.uicc import Uicc
from simway_protocol.udp.keys import card_response
from simway_testing.at_modem import FIBOCOM, PLAIN, QUECTEL, SIERRA, STYLES, AtModem, Style
from simway_testing.waiting import wait_for

KEY = bytes(range(32))
Make = Callable[..., AtModem]


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_port, "QUIET_S", 0.02)
    monkeypatch.setattr(at_port, "REOPEN_S", 0.0)
    monkeypatch.setattr("simway_modem_client.card.at.BUSY_WAIT_S", 0.01)
    monkeypatch.setattr("simway_modem_client.at.restart.LOOK_S", 0.02)


@pytest.fixture
def make_modem(tmp_path: Path) -> Iterator[Make]:
    modems: list[AtModem] = []

    def make(style: Style = QUECTEL, **more: object) -> AtModem:
        sim = open_card("virtual", {"state_file": str(tmp_path / f"{style.name}.json")})
        modems.append(AtModem(tmp_path, sim, style, **more))  # type: ignore[arg-type]
        return modems[-1]

    yield make
    for modem in modems:
        modem.close()


def opened(modem: AtModem) -> AtCard:
    card = open_card("at", {"port": str(modem.port)})
    assert isinstance(card, AtCard)
    return card


def read_again(card: AtCard) -> str:
    """The ICCID, once the modem is back."""

    def read() -> str:
        try:
            return Uicc(card, lambda: 0).iccid()
        except CardError:
            return ""

    return wait_for(read, 60, "the card is read again")


@pytest.fixture(params=STYLES, ids=lambda style: style.name)
def modem(request: pytest.FixtureRequest, make_modem: Make) -> AtModem:
    return make_modem(request.param)


@pytest.fixture
def uicc(modem: AtModem) -> Iterator[Uicc]:
    card = Uicc(opened(modem), lambda: time.monotonic_ns() // 1000)
    yield card
    card.close()


# --- what a client of cards does ---------------------------------------------------------------------------------------------


def test_identity_and_profiles_are_read(modem: AtModem, uicc: Uicc) -> None:
    inventory = uicc.inventory()
    assert len(inventory.eid) == 32
    assert inventory.active_iccid == next(profile.iccid for profile in inventory.profiles if profile.enabled)
    assert uicc.imsi() == modem.imsi
    assert len(inventory.profiles) == 3


def test_a_switch_takes_effect_after_the_modems_reset(modem: AtModem, uicc: Uicc) -> None:
    imsi = uicc.imsi()
    target = next(profile.iccid for profile in uicc.profiles() if not profile.enabled)
    assert uicc.enable(target) is EnableResult.OK
    assert uicc.run_proactive() == [], "the modem answers the card's REFRESH itself"
    uicc.reset()
    assert uicc.iccid() == target
    assert uicc.imsi() != imsi


def test_the_card_can_be_looked_at_before_the_reset(uicc: Uicc) -> None:
    """The modem's REFRESH ended every session; none of them is used again."""
    for _ in range(3):
        target = next(profile.iccid for profile in uicc.profiles() if not profile.enabled)
        assert uicc.enable(target) is EnableResult.OK
        assert [profile.iccid for profile in uicc.profiles() if profile.enabled] == [target]


def test_an_application_on_the_basic_channel_may_have_a_terminals_commands(make_modem: Make) -> None:
    card = opened(make_modem(PLAIN))
    assert card.transmit(apdu.select_application(applet.AID).encode())[1] >> 8 in (0x61, 0x90)
    assert card.transmit(applet.authenticate(bytes(32), 0).encode())[1] == status.CONDITIONS_NOT_SATISFIED
    assert card.transmit(bytes.fromhex("00A40004023F00"))[1] >> 8 == 0x61
    assert card.transmit(bytes.fromhex("8010000002FFFF")) == (b"", status.OK)
    card.close()


def test_the_applet_holds_the_key(uicc: Uicc) -> None:
    uicc.applet_personalise(KEY, 3)
    assert uicc.applet_authenticate(bytes(32)) == card_response(KEY, bytes(32))
    held = uicc.applet_status()
    assert held is not None
    assert held.key_version == 3


def test_an_application_that_is_not_there_is_told_so(uicc: Uicc) -> None:
    uicc.iccid()
    with pytest.raises(CardError) as refused, uicc.application(b"\xa0\x00\x00\x09\x99", "nothing"):
        pass
    assert refused.value.sw == status.FILE_NOT_FOUND


def test_channels_are_closed_and_come_back(modem: AtModem, uicc: Uicc) -> None:
    """Also with a modem that knows no +CCHC: its sessions are used again."""
    for _ in range(25):
        uicc.store_data(es10c.GetEid().encode())
        assert uicc.iccid()


def test_several_channels_at_once(make_modem: Make) -> None:
    modem = make_modem(FIBOCOM)
    uicc = Uicc(opened(modem), lambda: 0)
    with uicc.application(es10c.ISD_R_AID, "ISD-R") as first, uicc.channel() as second:
        assert first.number != second.number
        assert es10c.decode_eid_response(first.store_data(es10c.GetEid().encode()))
    uicc.close()


def test_channels_are_void_after_a_reboot(make_modem: Make) -> None:
    modem = make_modem(QUECTEL)
    card = opened(modem)
    number = card.transmit(bytes.fromhex("0070000001"))[0][0]
    select = bytes((number,)) + bytes.fromhex("A40004023F00")
    assert card.transmit(select)[1] >> 8 == 0x61
    modem.reboot()

    def is_void() -> bool:
        try:
            return card.transmit(select)[1] == status.CHANNEL_NOT_SUPPORTED
        except CardGone:
            return False

    wait_for(is_void, 60, "the channel is no more")
    read_again(card)
    card.close()


def test_the_basic_channel_and_the_modems_own_duties(make_modem: Make) -> None:
    modem = make_modem(PLAIN)
    card = opened(modem)
    assert card.transmit(bytes.fromhex("00A40004023F00"))[1] >> 8 == 0x61
    before = len(modem.commands)
    for duty in ("8010000002FFFF", "8012000010", "80140000028103"):
        assert card.transmit(bytes.fromhex(duty)) == (b"", status.OK)
    assert len(modem.commands) == before
    with pytest.raises(CardError):
        card.transmit(b"\x00\xa4")
    card.close()
    card.close()
    with pytest.raises(CardGone):
        card.transmit(bytes.fromhex("00A40004023F00"))


# --- what goes wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"), [(10, "put one in"), (11, "AT+CPIN="), (12, "PUK"), (13, "sits well"), (15, "locked")]
)
def test_trouble_with_the_sim_says_what_to_do(make_modem: Make, code: int, words: str) -> None:
    modem = make_modem()
    modem.faults.sim_error = code
    with pytest.raises(CardError, match=re.escape(words)):
        opened(modem)
    modem.faults.sim_error = 0
    card = opened(modem)
    modem.faults.sim_error = code
    with pytest.raises(CardError, match=re.escape(words)):
        Uicc(card, lambda: 0).iccid()
    modem.faults.sim_error = 0
    assert Uicc(card, lambda: 0).iccid()
    card.close()


def test_a_busy_sim_is_asked_again(make_modem: Make) -> None:
    modem = make_modem()
    card = opened(modem)
    modem.faults.busy = 5
    assert Uicc(card, lambda: 0).iccid()
    modem.faults.busy = 1_000
    with pytest.raises(CardGone, match="try again"):
        Uicc(card, lambda: 0).iccid()
    card.close()


@pytest.mark.parametrize(
    "answer", ['+CSIM: 6,"9000"\nOK', '+CSIM: 5,"90001"\nOK', '+CSIM: 2,"90"\nOK', "OK", "garbage\nOK", "+CME ERROR: 13", "ERROR"]
)
def test_an_answer_that_is_no_apdu_leaves_the_outcome_open(make_modem: Make, answer: str) -> None:
    modem = make_modem(PLAIN)
    card = opened(modem)
    modem.faults.attributes['AT+CSIM=14,"00A40004023F00"'] = answer
    with pytest.raises(CardGone):
        card.transmit(bytes.fromhex("00A40004023F00"))
    card.close()


def test_a_modem_without_any_way_to_its_sim(make_modem: Make) -> None:
    modem = make_modem(Style("locked", open_channel="missing", csim="missing"))
    uicc = Uicc(opened(modem), lambda: 0)
    with pytest.raises(CardError, match=r"AT\+CSIM: ERROR"):
        uicc.iccid()
    uicc.close()


def test_a_late_answer_is_not_taken_for_another(make_modem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_modem_client.card.at.CARD_ANSWER_S", 0.3)
    modem = make_modem(PLAIN)
    card = opened(modem)
    modem.faults.late = 1
    with pytest.raises(CardGone, match=r"did not answer AT\+CSIM"):
        card.transmit(bytes.fromhex("00A40004023F00"))
    monkeypatch.setattr("simway_modem_client.card.at.CARD_ANSWER_S", 30)
    assert card.transmit(bytes.fromhex("00A4040005A000000999"))[1] == status.FILE_NOT_FOUND
    card.close()


def test_an_answer_to_nothing_brings_the_port_into_step_again(make_modem: Make) -> None:
    modem = make_modem()
    port = take_port(str(modem.port))
    assert port.ask(Command("AT")).ok
    before = modem.commands.count("AT")
    heard: list[str] = []
    port.listen(heard.append)
    modem.say("OK")
    wait_for(lambda: "OK" in heard, 60, "the answer too many")
    assert not port.ask(Command("AT+NONSENSE")).ok
    assert modem.commands.count("AT") > before
    give_back(port)


def test_a_silent_modem_is_told_apart_from_a_wrong_port(
    make_modem: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_port, "STEP_WITHIN_S", 0.5)
    modem = make_modem()
    modem.faults.silent = 1_000
    with pytest.raises(CardGone, match="its port for AT commands"):
        opened(modem)
    with pytest.raises(CardGone, match="cannot be opened"):
        open_card("at", {"port": str(tmp_path / "nothing")})
    with pytest.raises(NoDriver, match="MODEM_PORT"):
        open_card("at", {})


def test_garbage_and_a_reboot_in_between(modem: AtModem) -> None:
    card = opened(modem)
    iccid = Uicc(card, lambda: 0).iccid()
    modem.reboot()
    assert read_again(card) == iccid
    card.close()


def test_the_answer_to_an_enable_is_lost(make_modem: Make) -> None:
    """The card switched, the modem took the SIM down before it answered: only a look at the card tells."""
    modem = make_modem(PLAIN)
    uicc = Uicc(opened(modem), lambda: 0)
    target = next(profile.iccid for profile in uicc.profiles() if not profile.enabled)
    modem.faults.lose_card_answer = True
    with pytest.raises(CardGone, match="CME ERROR: 13"):
        uicc.enable(target)
    uicc.reset()
    assert uicc.iccid() == target
    uicc.close()


def test_a_reboot_under_a_command_ends_the_wait(make_modem: Make) -> None:
    modem = make_modem(QUECTEL)
    card = opened(modem)
    modem.faults.reboot_at = "AT+CSIM"
    with pytest.raises(CardGone, match="rebooted"):
        card.transmit(bytes.fromhex("00A40004023F00"))
    read_again(card)
    card.close()


def test_a_modem_that_takes_no_radio_reset_is_rebooted(make_modem: Make) -> None:
    modem = make_modem(QUECTEL)
    modem.faults.attributes |= {"AT+CFUN=0": "ERROR", "AT+CFUN=4": "+CME ERROR: 3"}
    card = opened(modem)
    assert card.reset() == b""
    assert modem.reboots == 1
    assert Uicc(card, lambda: 0).iccid()
    card.close()


def test_flight_mode_where_minimum_functionality_is_refused(make_modem: Make) -> None:
    modem = make_modem(FIBOCOM)
    card = opened(modem)
    card.reset()
    assert [command for command in modem.commands if "CFUN" in command] == ["AT+CFUN=0", "AT+CFUN=4", "AT+CFUN=1"]
    card.close()


# --- the port ----------------------------------------------------------------------------------------------------------------


def test_one_port_serves_all_in_the_process(make_modem: Make) -> None:
    modem = make_modem()
    first, second = take_port(str(modem.port)), take_port(str(modem.port))
    assert first is second
    give_back(first)
    assert second.ask(Command("AT")).ok
    give_back(second)
    with pytest.raises(ModemGone):
        second.ask(Command("AT"))
    with pytest.raises(NoSerial, match="MODEM_PORT"):
        take_port("")


def test_unsolicited_lines_reach_the_listener(make_modem: Make) -> None:
    modem = make_modem(SIERRA)
    port = take_port(str(modem.port))
    heard: list[str] = []
    port.listen(heard.append)
    assert port.ask(Command("AT")).ok
    modem.say("+CUSD: 0")
    wait_for(lambda: "+CUSD: 0" in heard, 60, "the line")
    assert modem.commands.index("ATE0") < len(modem.commands)
    give_back(port)


def test_a_port_that_refuses_to_open_says_why() -> None:
    def refuse() -> at_port.Serial:
        raise OSError("in use")

    port = AtPort(refuse, "/dev/ttyUSB9")
    for _ in range(2):
        with pytest.raises(ModemGone, match="MODEM_PORT"):
            port.ask(Command("AT"))


# --- others at the same modem ------------------------------------------------------------------------------------------------


@contextmanager
def another_thread_has(port: AtPort) -> Iterator[None]:
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with port.exclusively():
            taken.set()
            over.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(60)
    try:
        yield
    finally:
        over.set()
        holder.join()


def test_a_modem_that_another_thread_restarts_is_not_waited_for(make_modem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    card = opened(make_modem(QUECTEL))
    uicc = Uicc(card, lambda: 0)
    uicc.iccid()
    monkeypatch.setattr(at_port, "TURN_S", 0.05)
    with another_thread_has(card._port):
        with pytest.raises(ModemBusy):
            card._port.ask(Command("AT"))
        with pytest.raises(CardGone, match="busy"):
            uicc.iccid()
        with pytest.raises(CardGone, match="busy"), card.dialogue():
            raise AssertionError("it had a turn")
    assert uicc.iccid()
    uicc.close()


def test_letting_go_of_the_card_does_not_wait_either(make_modem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that could not be closed is used by whoever is next."""
    monkeypatch.setattr("simway_modem_client.card.at.CLOSE_TURN_S", 0.05)
    modem = make_modem(QUECTEL)
    port = take_port(str(modem.port))
    card = opened(modem)
    channel = card.transmit(apdu.open_channel().encode())[0][0]
    card.transmit(apdu.select_application(es10c.ISD_R_AID, channel).encode())
    with another_thread_has(port):
        card.close()
    assert port.left_open.keys() == {es10c.ISD_R_AID}
    assert len(Uicc(opened(modem), lambda: 0).profiles()) == 3
    give_back(port)


def test_a_port_closes_while_another_thread_has_it(make_modem: Make) -> None:
    card = opened(make_modem(QUECTEL))
    port = card._port
    with another_thread_has(port):
        port.close()
    with pytest.raises(ModemGone):
        port.ask(Command("AT"))
    card.close()


def test_a_reset_that_did_not_help_is_followed_by_a_whole_one(make_modem: Make) -> None:
    modem = make_modem(PLAIN)
    port = take_port(str(modem.port))
    first = opened(modem)
    first.reset()
    first.reset()
    assert modem.reboots == 0, "the same card, as after catBusy"
    first.close()
    opened(modem).reset()
    assert modem.reboots == 1
    port.card_reset_s -= 1_000
    opened(modem).reset()
    assert modem.reboots == 1, "long after"
    give_back(port)


@pytest.mark.parametrize("at", ["write", "read", "in_waiting"])
def test_a_device_that_vanishes_in_any_call(make_modem: Make, at: str) -> None:
    """``termios.error`` is no ``OSError``."""
    modem = make_modem(QUECTEL)
    card = opened(modem)
    port = card._port

    class Vanishing:
        def __init__(self, inner: Serial) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            if name == at:
                raise termios.error(5, "Input/output error")
            return getattr(self._inner, name)

    whole = port._open_serial
    port._drop("test")
    port._open_serial = lambda: Vanishing(whole())  # type: ignore[assignment, return-value]
    with pytest.raises(ModemGone):
        port.ask(Command("AT"), 1.0)
    port._drop("test")
    port._open_serial = whole
    assert read_again(card)
    card.close()
