"""Bearer ``at`` against the scripted modem: registration, identity after a switch, and where datagrams go."""

from __future__ import annotations

import socket
import termios
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from simway_modem_client.at import port as at_port
from simway_modem_client.at.port import Serial, take_port
from simway_modem_client.bearers import BearerUnusable, bearer_names, open_bearer, sockets
from simway_modem_client.bearers import at as at_bearer
from simway_modem_client.bearers.at import AtBearer
from simway_modem_client.card import open_card
from simway_protocol.sim.bearer import PROOF_BEARER, PROOF_CARD_ONLY, PathError, Registration, RegistrationState
from simway_protocol.sim.uicc import Uicc
from simway_testing.at_modem import FIBOCOM, PLAIN, QUECTEL, SIERRA, STYLES, AtModem, Style
from simway_testing.waiting import wait_for

WITHIN_S = 20
Make = Callable[..., tuple[AtModem, AtBearer]]


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_port, "QUIET_S", 0.02)
    monkeypatch.setattr(at_port, "REOPEN_S", 0.0)
    monkeypatch.setattr("simway_modem_client.at.restart.LOOK_S", 0.02)
    monkeypatch.setattr(at_bearer, "RESTART_EVERY_S", 0.0)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    opened: list[AtModem | AtBearer] = []

    def make_one(style: Style = QUECTEL, interface: str = "", **more: object) -> tuple[AtModem, AtBearer]:
        sim = open_card("virtual", {"state_file": str(tmp_path / f"{style.name}.json")})
        modem = AtModem(tmp_path, sim, style, **more)  # type: ignore[arg-type]
        bearer = AtBearer(take_port(str(modem.port)), interface, poll_s=0.2)
        opened.extend([modem, bearer])
        return modem, bearer

    yield make_one
    for one in reversed(opened):
        one.close()


def shown(bearer: AtBearer, **wanted: object) -> Registration:
    def matches() -> Registration | None:
        found = bearer.registration()
        return found if all(getattr(found, name) == value for name, value in wanted.items()) else None

    found = wait_for(matches, WITHIN_S, lambda: f"{wanted}, but {bearer.registration()}")
    assert found is not None
    return found


def as_its_card(modem: AtModem, bearer: AtBearer) -> Uicc:
    """The bearer registers as what the modem's card holds."""
    uicc = Uicc(open_card("at", {"port": str(modem.port)}), lambda: 0)
    bearer.use_identity(uicc.iccid(), uicc.imsi())
    return uicc


@pytest.mark.parametrize(
    ("style", "levels"),
    [
        (QUECTEL, (-95, -11, -60)),
        (PLAIN, (-95, -10, None)),
        (replace(SIERRA, signal=""), (None, None, -71)),
    ],
    ids=["QCSQ", "CESQ", "CSQ"],
)
def test_registration_and_signal(make: Make, style: Style, levels: tuple[float | None, ...]) -> None:
    modem, bearer = make(style)
    uicc = as_its_card(modem, bearer)
    found = shown(bearer, state=RegistrationState.HOME)
    assert found.data
    assert (found.plmn, found.rat, found.cause) == (modem.imsi[:5], "LTE", "")
    assert (found.rsrp_dbm, found.rsrq_db, found.rssi_dbm) == levels
    uicc.close()


@pytest.mark.parametrize(
    ("network", "state", "cause"),
    [
        ((0, ""), RegistrationState.OFF, "no_coverage"),
        ((2, ""), RegistrationState.SEARCHING, "no_coverage"),
        ((3, ""), RegistrationState.DENIED, "denied"),
        ((5, "99971"), RegistrationState.ROAMING, ""),
    ],
)
def test_coverage_outcomes(make: Make, network: tuple[int, str], state: RegistrationState, cause: str) -> None:
    modem, bearer = make(networks={"999": network})
    uicc = as_its_card(modem, bearer)
    found = shown(bearer, state=state, cause=cause)
    assert found.data is (cause == "")
    uicc.close()


def test_attached_but_no_data(make: Make) -> None:
    modem, bearer = make()
    modem.faults.no_data = True
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME, data=False, cause="no_data")
    with pytest.raises(PathError, match="no_data"):
        bearer.open_socket(partial(sockets.connect, "127.0.0.1", 9, 0))
    uicc.close()


def test_a_change_is_seen_without_waiting(make: Make) -> None:
    """The modem tells by an unsolicited result; the next poll would be far away."""
    modem, bearer = make(PLAIN)
    bearer._poll_s = 1_000
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    modem.move({"999": (2, "")})
    shown(bearer, state=RegistrationState.SEARCHING)
    modem.move({})
    shown(bearer, state=RegistrationState.HOME)
    uicc.close()


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_after_a_switch_the_modem_is_who_the_card_is(make: Make, style: Style) -> None:
    """One that keeps its old identity is reset, with its radio first, then as a whole."""
    modem, bearer = make(style)
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    before = modem.imsi
    target = next(profile.iccid for profile in uicc.profiles() if not profile.enabled)
    uicc.enable(target)
    uicc.reset()
    assert uicc.iccid() == target
    imsi = uicc.imsi()
    uicc.close()
    bearer.use_identity(target, imsi)
    shown(bearer, state=RegistrationState.HOME, plmn=imsi[:5])
    assert modem.imsi == imsi != before
    assert modem.reboots == (1 if style.reads_sim_on == "reboot" else 0)


def test_a_modem_that_never_takes_the_identity_up_carries_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it was restarted: its registration is another subscriber's."""
    modem, bearer = make(PLAIN)
    bearer.use_identity("8999901000000000001", "999710000000001")
    wait_for(lambda: modem.reboots >= 2, WITHIN_S, "it was restarted as a whole, twice")
    monkeypatch.setattr(at_bearer, "RESTART_EVERY_S", 1_000.0)
    found = shown(bearer, cause="wrong_identity")
    assert (found.state, found.data, found.imsi_modem) == (RegistrationState.OFF, False, modem.imsi)
    with pytest.raises(PathError, match="wrong_identity"):
        bearer.open_socket(partial(sockets.connect, "127.0.0.1", 9, 0))


def test_a_modem_is_not_restarted_all_the_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_bearer, "RESTART_EVERY_S", 1_000.0)
    modem, bearer = make(PLAIN)
    bearer.use_identity("8999901000000000001", "999710000000001")
    shown(bearer, cause="wrong_identity")
    asked = modem.commands.count("AT+CIMI")
    wait_for(lambda: modem.commands.count("AT+CIMI") > asked + 3, WITHIN_S, "it is asked on")
    bearer.use_identity("8999901000000000002", "999710000000002")
    asked = modem.commands.count("AT+CIMI")
    wait_for(lambda: modem.commands.count("AT+CIMI") > asked + 3, WITHIN_S, "another identity is no reason to hurry")
    assert (modem.commands.count("AT+CFUN=0"), modem.reboots) == (1, 0)


@pytest.mark.parametrize("code", [13, 14], ids=["failure", "busy"])
def test_a_sim_that_is_busy_is_no_other_sim(make: Make, code: int) -> None:
    """AT+CIMI is asked again; nothing is carried before it was answered."""
    modem, bearer = make(interface="lo")
    modem.faults.cimi_error = code
    uicc = as_its_card(modem, bearer)
    asked = modem.commands.count("AT+CIMI")
    wait_for(lambda: modem.commands.count("AT+CIMI") > asked + 3, WITHIN_S, "it is asked again")
    assert bearer.registration() == Registration(RegistrationState.SEARCHING, data=False, cause="attaching")
    modem.faults.cimi_error = 0
    shown(bearer, state=RegistrationState.HOME, data=True, imsi_modem=modem.imsi, proof=PROOF_BEARER)
    modem.faults.cimi_error = code
    asked = modem.commands.count("AT+CIMI")
    wait_for(lambda: modem.commands.count("AT+CIMI") > asked + 3, WITHIN_S, "it is asked again")
    assert bearer.registration().data, "it is who it was"
    assert not any(command.startswith("AT+CFUN") for command in modem.commands)
    uicc.close()


def test_without_the_cards_imsi_nothing_is_proved(make: Make) -> None:
    modem, bearer = make(interface="lo")
    bearer.use_identity("8999901000000000001", "")
    found = shown(bearer, state=RegistrationState.HOME, data=True)
    assert (found.imsi_modem, found.proof) == (modem.imsi, PROOF_CARD_ONLY)
    assert not any(command.startswith("AT+CFUN") for command in modem.commands)


def test_a_modem_that_becomes_another_later_is_seen(make: Make) -> None:
    modem, bearer = make(PLAIN)
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    modem.faults.attributes["AT+CIMI"] = "999719999999999\nOK"
    found = shown(bearer, cause="wrong_identity")
    assert found.imsi_modem == "999719999999999"
    modem.faults.attributes.clear()
    shown(bearer, state=RegistrationState.HOME)
    uicc.close()


@pytest.mark.parametrize("error", [OSError("gone"), termios.error(5, "Input/output error"), ValueError("whatever")], ids=repr)
def test_the_bearer_lives_through_whatever_the_port_raises(make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    modem, bearer = make()
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    uicc.close()

    def fail() -> Serial:
        raise error

    open_serial = bearer._port._open_serial
    monkeypatch.setattr(bearer._port, "_open_serial", fail)
    bearer._port._drop("test")
    shown(bearer, cause="modem_gone")
    monkeypatch.setattr(bearer._port, "_open_serial", open_serial)
    shown(bearer, state=RegistrationState.HOME)


def test_closing_does_not_wait_for_a_restart(make: Make) -> None:
    modem, bearer = make(PLAIN)
    modem.faults.attributes["AT+CPIN?"] = "+CME ERROR: 14"
    bearer.use_identity("8999901000000000001", "999710000000001")
    wait_for(lambda: modem.commands.count("AT+CPIN?") > 2, WITHIN_S, "it is restarted")
    bearer.close()
    assert not bearer._thread.is_alive()


def test_no_profile_no_registration(make: Make) -> None:
    modem, bearer = make()
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    bearer.use_identity("", "")
    assert bearer.registration() == Registration(RegistrationState.OFF, data=False, cause="no_identity")
    uicc.close()


def test_another_identity_voids_what_was_known(make: Make) -> None:
    modem, bearer = make()
    uicc = as_its_card(modem, bearer)
    found = shown(bearer, state=RegistrationState.HOME)
    bearer.use_identity(uicc.iccid(), uicc.imsi())
    assert bearer.registration() == found, "the same identity changes nothing"
    modem.faults.silent = 1_000
    bearer.use_identity("8999901000000000001", "999710000000001")
    assert not bearer.registration().registered
    modem.faults.silent = 0
    uicc.close()


@pytest.mark.parametrize("style", [QUECTEL, FIBOCOM], ids=["stays", "vanishes"])
def test_a_modem_that_goes_and_comes(make: Make, style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
    modem, bearer = make(style)
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    uicc.close()
    monkeypatch.setattr(at_port, "ANSWER_S", 0.5)
    monkeypatch.setattr(at_port, "STEP_WITHIN_S", 0.5)
    modem.faults.silent = 10_000
    shown(bearer, cause="modem_gone")
    monkeypatch.undo()
    modem.faults.silent = 0
    modem.reboot()
    shown(bearer, state=RegistrationState.HOME)


def test_datagrams_go_over_the_interface_that_is_named(make: Make) -> None:
    modem, bearer = make(interface="lo")
    assert bearer.proof == PROOF_BEARER
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        way = bearer.open_socket(partial(sockets.connect, *server.getsockname(), 0))
        assert way.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
        way.send(b"up")
        assert server.recv(10) == b"up"
        way.close()
    uicc.close()


def test_an_address_or_an_interface_that_is_not_there(make: Make) -> None:
    modem, bearer = make(interface="127.0.0.1")
    uicc = as_its_card(modem, bearer)
    shown(bearer, state=RegistrationState.HOME)
    way = bearer.open_socket(partial(sockets.connect, "127.0.0.1", 9, 0))
    assert way.getsockname()[0] == "127.0.0.1"
    way.close()
    bearer._interface = "wwan77"
    with pytest.raises(PathError, match="MODEM_INTERFACE"):
        bearer.open_socket(partial(sockets.connect, "127.0.0.1", 9, 0))
    uicc.close()


def test_without_an_interface_an_attach_proves_the_card_only(make: Make) -> None:
    assert make()[1].proof == PROOF_CARD_ONLY


def test_bearers_are_found_by_name() -> None:
    assert {"at", "none", "virtual"} <= set(bearer_names())
    with pytest.raises(BearerUnusable, match="MODEM_PORT"):
        open_bearer("at", {})
    with pytest.raises(BearerUnusable, match=r"no bearer 'tin' \(BEARER\); installed: at"):
        open_bearer("tin", {})
    none = open_bearer("none", {})
    assert none.registration().data
    assert not none.has_radio
