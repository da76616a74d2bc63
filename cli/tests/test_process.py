"""The command as a process: signals, pipes, and what it may import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simway_testing.waiting import wait_for

COMMAND = [sys.executable, "-m", "simway_cli"]


class Hanging:
    """A body that goes on until the test is over."""

    def __init__(self, piece: bytes) -> None:
        self.begun, self.over, self._piece = threading.Event(), threading.Event(), piece

    def __iter__(self) -> Iterator[bytes]:
        yield self._piece
        self.begun.set()
        self.over.wait(60)


@pytest.fixture
def hanging(api: Any, reply: Any) -> Iterator[Hanging]:
    body = Hanging(b"event: ready\ndata: {}\n\n")
    for path in ("events", "devices/demo/export"):
        api.on("GET", path, reply(pieces=body))
    yield body
    body.over.set()


def started(cli: Any, *argv: str, **more: Any) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | cli.environ
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *argv], env=environ, stdout=pipe, stderr=pipe, text=True, **more)


def test_ctrl_c_ends_a_follow_without_a_trace(cli: Any, api: Any, hanging: Hanging) -> None:
    process = started(cli, "readings", "demo", "--follow")
    wait_for(lambda: api.asked("GET", "devices/demo/readings/latest"), 30, "the follow has begun")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_export_that_is_stopped_leaves_no_file(cli: Any, hanging: Hanging, tmp_path: Path, number: int, status: int) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = started(cli, "export", "demo", "-o", str(folder / "day.csv"))
    wait_for(lambda: list(folder.glob(".day.csv.*.part")) and hanging.begun.is_set(), 30, "the export has begun")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (status, "")
    assert list(folder.iterdir()) == []


def test_a_reader_that_stops_reading_ends_it_quietly(cli: Any, api: Any, recorded: Any) -> None:
    many = [recorded["readings"]["readings"][0]] * 5000
    api.on("GET", "devices/demo/readings", {"device": "demo", "readings": many, "next_cursor": None})
    process = started(cli, "readings", "demo", "--limit", "5000")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("time (local)")
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), err) == (141, "")


def test_an_unbuffered_pipe_gets_every_byte(cli: Any, api: Any, reply: Any) -> None:
    pieces = [bytes([n]) * 300_000 for n in range(4)]
    api.on("GET", "devices/demo/export", reply(pieces=pieces))
    environ = os.environ | cli.environ | {"PYTHONUNBUFFERED": "1"}
    done = subprocess.run([*COMMAND, "export", "demo"], env=environ, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"".join(pieces))


def test_a_terminal_without_our_characters_is_no_crash(cli: Any) -> None:
    environ = os.environ | cli.environ | {"PYTHONIOENCODING": "ascii:strict", "COLUMNS": "40"}
    done = subprocess.run([*COMMAND, "sim", "demo"], env=environ, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


TRY = """
eval "$("$@" completion bash)"
tried() {
  COMP_WORDS=(simway "$@"); COMP_CWORD=$#; COMPREPLY=(); _shtab_simway; echo "${COMPREPLY[*]}"
}
tried de; tried devices re; tried command demo s; tried export demo --format pa; tried readings demo --win
"""


def test_bash_completes_sub_commands_flags_and_choices(cli: Any) -> None:
    done = subprocess.run(["bash", "-c", TRY, "bash", *COMMAND], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["devices dead-letters", "revoke restore", "switch show", "parquet", "--window"]
    for shell in ("zsh", "tcsh"):
        assert "dead-letters" in cli("completion", shell).out


def test_it_speaks_the_rest_api_alone() -> None:
    """No other package of the platform is loaded, and the library for plots only when there is one."""
    code = "import sys, simway_cli.app as app; app.make_parser(); print(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("simway_")} == {"simway_cli"}
    assert not loaded & {"plotext", "shtab", "flask", "kafka", "sqlalchemy"}
