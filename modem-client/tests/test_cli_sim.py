"""``simway-modem sim ...`` as it is typed, on the virtual SIM, without any server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simway_modem_client.cli import run_cli
from simway_modem_client.home import RunLock
from simway_modem_client.journal import Journal, OpenSwitch

Sim = Callable[..., tuple[int, str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"MODEM_DIR": str(tmp_path / "modem"), "PATH": "/usr/bin:/bin"}


@pytest.fixture
def sim(environment: dict[str, str]) -> Sim:
    """Types ``simway-modem sim`` with these words; exit status and what was printed."""

    def typed(*words: str, **changes: str) -> tuple[int, str]:
        out = io.StringIO()
        return run_cli(["sim", *words], environment | changes, out), out.getvalue()

    return typed


def profiles(sim: Sim) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(sim("profiles", "--json")[1])
    return found


def active(sim: Sim) -> str:
    return str(json.loads(sim("info", "--json")[1])["active_iccid"])


# --- looking -------------------------------------------------------------------------------------------------------------


def test_info_for_machines_has_what_people_see(sim: Sim) -> None:
    facts = json.loads(sim("info", "--json")[1])
    assert len(facts["eid"]) == 32
    assert facts["profile"]["iccid"] == facts["active_iccid"]
    assert facts["imsi"].startswith("99970")
    assert facts["profiles"] == 3
    assert facts["euicc"]["sgp22"] == "2.2.2"
    assert facts["applet_key_version"] == 0
    said = sim("info")[1]
    assert f"EID       {facts['eid']}\n" in said
    assert f"ICCID     {facts['active_iccid']} (Northwind Mobile)\n" in said


def test_profiles_the_enabled_one_with_a_star(sim: Sim) -> None:
    lines = sim("profiles")[1].splitlines()
    assert [line[0] for line in lines] == [" ", "*", " ", " "]
    assert active(sim) in lines[1]


def test_nothing_is_made_for_a_card_in_a_reader(
    sim: Sim, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    assert sim("info", "--card", "pcsc")[0] == 2
    assert sim("readers")[0] == 2
    assert capsys.readouterr().err.count("pip install 'simway-modem-client[pcsc]'") == 2
    assert not Path(environment["MODEM_DIR"]).exists()


def test_a_watch_says_what_is_there_and_ends_by_itself(sim: Sim) -> None:
    code, said = sim("watch", "--seconds", "0.01", "--interval", "0.01")
    assert code == 0
    assert f"card in: {active(sim)} (Northwind Mobile), 3 profiles" in said
    change = json.loads(sim("watch", "--seconds", "0.01", "--json")[1].splitlines()[0])
    assert (change["kind"], change["iccid"]) == ("in", active(sim))


def test_ctrl_c_ends_a_watch(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "simway_modem_client", "sim", "watch"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert "card in: " in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("words", [("watch", "--seconds", "0"), ("watch", "--interval", "soon"), ("switch",), ("dance",)])
def test_what_cannot_be_meant_is_refused(sim: Sim, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        sim(*words)
    assert ended.value.code == 2


# --- switching -----------------------------------------------------------------------------------------------------------


def test_a_dry_run_touches_nothing(sim: Sim) -> None:
    before = profiles(sim)
    code, said = sim("switch", "blue", "--dry-run")
    assert code == 0
    assert said.splitlines()[-1] == "dry run: it would be done; nothing was touched"
    assert profiles(sim) == before


def test_a_switch_for_people_and_for_machines(sim: Sim) -> None:
    first = active(sim)
    code, said = sim("switch", "Blue Harbour", "--yes")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == ["from", "to", "way", "enable", "look", "done"]
    outcome = json.loads(sim("switch", first, "--yes", "--json")[1])
    assert (outcome["result"], outcome["active"]) == ("switched", first) == ("switched", active(sim))
    assert outcome["evidence"]["tries"] == [{"by": "iccid", "refresh": True, "result": "ok"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("switch", "Northwind", "--yes"), "refused: that profile is enabled already"),
        (("switch", "Mars", "--yes"), "no profile is called 'Mars'; there are: "),
        (("switch", "89999", "--yes"), "names 3 profiles; say which by its ICCID"),
        (("switch", "Blue"), "add --yes"),
        (("trace",), "takes a command to listen to"),
        (("trace", "watch"), "takes a command to listen to"),
    ],
)
def test_refusals_say_what_to_do_in_one_line(sim: Sim, monkeypatch, capsys, words: tuple[str, ...], said: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    before = profiles(sim)
    assert sim(*words)[0] == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert profiles(sim) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("yes\n", 0), ("n\n", 4), ("\n", 4), ("", 4)])
def test_a_person_is_asked(sim: Sim, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    before = active(sim)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    ended, said = sim("switch", "Blue")
    assert ended == code
    assert "switch? [y/N] " in said
    assert (active(sim) == before) == (code == 4)


def test_ctrl_c_at_the_question_touches_nothing(sim: Sim, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    class Leaving(Terminal):
        def readline(self, *_size: Any) -> str:
            raise KeyboardInterrupt

    before = active(sim)
    monkeypatch.setattr("sys.stdin", Leaving())
    assert sim("switch", "Blue")[0] == 130
    assert capsys.readouterr().err == "simway-modem: interrupted\n"
    assert active(sim) == before


def test_the_card_can_be_had_while_a_person_thinks(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    class Thinking(Terminal):
        def readline(self, *_size: Any) -> str:
            return "y" if sim("info")[0] == 0 else "n"

    active(sim)
    monkeypatch.setattr("sys.stdin", Thinking())
    assert sim("switch", "Blue")[0] == 0


def test_what_changed_while_a_person_thought_is_judged_anew(sim: Sim, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    class Elsewhere(Terminal):
        def readline(self, *_size: Any) -> str:
            assert sim("switch", "Blue", "--yes")[0] == 0
            return "y"

    monkeypatch.setattr("sys.stdin", Elsewhere())
    assert sim("switch", "Blue")[0] == 2
    assert "is enabled already" in capsys.readouterr().err


def test_a_running_modem_client_is_told_of(sim: Sim, environment: dict[str, str]) -> None:
    active(sim)
    lock = RunLock(Path(environment["MODEM_DIR"]))
    assert lock.take()
    try:
        code, said = sim("switch", "Blue", "--yes")
    finally:
        lock.release()
    assert code == 0
    assert f"(process {os.getpid()}) sees it within a minute" in said


@pytest.mark.parametrize("running", [True, False])
def test_a_switch_of_the_platform_that_is_open_is_not_disturbed(sim: Sim, environment, capsys, running: bool) -> None:
    before = active(sim)
    folder = Path(environment["MODEM_DIR"])
    journal = Journal(folder / "journal.db")
    journal.begin_switch(OpenSwitch(b"\x01" * 16, before, "8999902480243833587", 60, 1))
    lock = RunLock(folder)
    try:
        if running:
            assert lock.take()
        assert sim("switch", "Blue", "--yes")[0] == 2
    finally:
        lock.release()
        journal.close()
    assert "a switch that the platform asked for is still open" in capsys.readouterr().err
    assert active(sim) == before


def test_a_test_profile_wants_force(sim: Sim, tmp_path: Path, capsys) -> None:
    file = tmp_path / "sim.toml"
    file.write_text(
        '[[profiles]]\niccid="8999901000000000001"\nimsi="999700000000001"\nprovider="North"\nenabled=true\n'
        '[[profiles]]\niccid="8999902000000000002"\nimsi="999710000000002"\nprovider="South"\nfallback=true\n'
        '[[profiles]]\niccid="8999903000000000003"\nimsi="001010000000003"\nprovider="Laboratory"\nclass="test"\n'
    )
    given = {"SIM_FILE": str(file)}
    assert sim("switch", "Laboratory", "--yes", **given)[0] == 2
    assert "its keys are publicly known" in capsys.readouterr().err
    assert sim("switch", "Laboratory", "--yes", "--force", **given)[0] == 0
    said = sim("profiles", **given)[1]
    assert "TEST PROFILE: a risk in the field" in said
    assert "fallback" in said


# --- listening -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("info",), ("--", "info"), ("--", "info", "--card", "virtual")])
def test_a_trace_tells_the_dialogue_then_the_result(sim: Sim, words: tuple[str, ...]) -> None:
    code, said = sim("trace", *words)
    assert code == 0
    eid = json.loads(sim("info", "--json")[1])["eid"]
    dialogue, _empty, result = said.partition("\n\n")
    assert "> 81E29100  STORE DATA GetEID" in dialogue
    assert eid not in dialogue
    assert f"{eid[:4]}..{eid[-4:]}" in dialogue
    assert f"EID       {eid}\n" in result
    assert eid in sim("trace", "--show-ids", *words)[1].partition("\n\n")[0]


def test_a_trace_for_machines_is_one_object_a_line(sim: Sim) -> None:
    code, said = sim("trace", "--json", "switch", "Blue", "--yes")
    assert code == 0
    exchanges = [json.loads(line) for line in said.splitlines()]
    names = [exchange["name"] for exchange in exchanges]
    for name in ("STORE DATA EnableProfile", "FETCH", "TERMINAL RESPONSE", "RESET", "SELECT EF.ICCID"):
        assert name in names
    assert all(exchange["ms"] >= 0 for exchange in exchanges)


def test_who_has_seen_enough_ends_it_quietly(environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m simway_modem_client sim trace info | head -n 1"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "> 00700000  MANAGE CHANNEL open\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        ((), ["examples:", "simway-modem sim switch \"Blue Harbour\" --dry-run", "readers", "CARD_ICCID"]),
        (("switch",), ["exit status:", "--dry-run", "way back", "[KEY_PROVIDER]"]),
        (("trace",), ["never shown", "--show-ids"]),
        (("watch",), ["Ctrl-C", "--interval"]),
    ],
)  # fmt: skip
def test_help_teaches(sim: Sim, capsys, words: tuple[str, ...], taught: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sim(*words, "--help")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert [word for word in taught if word not in said] == []


def test_an_iccid_may_be_typed_as_it_is_printed(sim: Sim, capsys) -> None:
    assert sim("info", CARD_ICCID="8999 9020 0000 0000 002")[0] == 0
    assert sim("info", CARD_ICCID="12")[0] == 2
    assert "CARD_ICCID='12' is no ICCID" in capsys.readouterr().err
