"""Where the key lives: a file that others cannot read, or a card that never gives it out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simway_modem_client.card import SimCard, open_card
from simway_modem_client.keys import CardKey, FileKey, KeyUnusable, personalise, read_key_file
from simway_protocol.commands import command_mac
from simway_protocol.sim.card import CardError
from simway_protocol.udp.keys import card_response

KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "device.key"
    path.touch(mode=0o600)
    path.write_text(KEY.hex() + "\n")
    return path


@pytest.fixture
def sim(tmp_path: Path):
    sim = SimCard(lambda: open_card("virtual", {"state_file": str(tmp_path / "sim.json")}))
    yield sim
    sim.drop()


def test_file_and_card_answer_alike(key_file: Path, sim: SimCard) -> None:
    assert personalise(sim, key_file, 3)
    assert sim.use().applet_status().key_version == 3
    challenge, body = os.urandom(32), b"a body of many bytes" * 40
    for keys in (FileKey(key_file, 3), CardKey(sim, 3, survives_switch=True)):
        assert keys.authenticate(challenge) == card_response(KEY, challenge)
        assert keys.verify(body, command_mac(KEY, body))
        assert not keys.verify(body, bytes(32))
        assert not keys.verify(body + b"x", command_mac(KEY, body))


def test_a_card_takes_a_key_once(key_file: Path, sim: SimCard) -> None:
    assert personalise(sim, key_file, 1)
    assert not personalise(sim, key_file, 1)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyUnusable, match=f"chmod 600 {key_file}"):
        read_key_file(key_file)


@pytest.mark.parametrize("text", ["", "no hex", KEY.hex()[:-2], KEY.hex() + "00", "\udce4".encode("utf-8", "surrogateescape")])
def test_a_file_that_holds_no_key_is_refused_without_showing_it(key_file: Path, text: str | bytes) -> None:
    key_file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(KeyUnusable, match="64 hexadecimal digits") as refused:
        read_key_file(key_file)
    assert KEY.hex()[:8] not in str(refused.value)


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="DEVICE_KEY_FILE"):
        FileKey(tmp_path / "none", 1)


def test_an_unknown_card_driver_names_those_there_are() -> None:
    with pytest.raises(CardError, match=r"'punch' \(CARD\); installed: .*virtual"):
        open_card("punch", {})


def test_without_pyscard_the_install_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "smartcard", None)
    with pytest.raises(CardError, match=r"pip install 'simway-modem-client\[pcsc\]'"):
        open_card("pcsc", {})


def test_an_idle_card_is_let_go_of(tmp_path: Path) -> None:
    settings = {"state_file": str(tmp_path / "sim.json")}
    one = SimCard(lambda: open_card("virtual", settings), idle_release_s=0)
    other = SimCard(lambda: open_card("virtual", settings))
    iccid = one.use().iccid()
    with pytest.raises(CardError):
        other.use()
    one.release_if_idle()
    assert other.use().iccid() == iccid
    other.drop()
    assert one.use().iccid() == iccid
    one.drop()
