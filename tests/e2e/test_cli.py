"""The people's command through the real web process; docs/cli.md, typed in word for word."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from simway_cli.app import run
from simway_testing import REPOSITORY
from simway_testing.api import Api, other_profile
from simway_testing.platform import DEMO_DEVICE
from simway_testing.waiting import wait_for

PAGE = REPOSITORY / "docs" / "cli.md"
COMMAND_S = 90
ANYTHING = "..."
PLOTTED = re.compile(r"[│┤┌┐└┘┬]|\d\d-\d\d \d\d:\d\d")
VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\bnow\b|[\d.]+ (ms|s|min|h|d) ago|in [\d.]+ (ms|s|min|h|d)\b"), "AGE"),
    (re.compile(r"\b[0-9a-f]{8,}\b"), "ID"),
    (re.compile(r"\b[\d.]+ ([KMG]i)?B\b"), "SIZE"),
    (re.compile(r"\b\d[\d.:,-]*\b"), "N"),
    (re.compile(r"http://\S+|127\.0\.0\.1\S*"), "ADDRESS"),
    (re.compile(r"by (attach|inventory)"), "by WHICH"),
    (re.compile(r"\s+"), " "),
)
HOME, AWAY = "Northwind Mobile", "Blue Harbour Telecom"
"""The carriers of the page."""
SHOWN_AT_ONCE = 3
"""What the page asks for with ``--limit``, at most."""


class Done(NamedTuple):
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """A person's shell: the command on its path, the server and the token in its environment, a folder to work in."""

    def __init__(self, folder: Path, api: Api) -> None:
        self.folder = folder
        (folder / "admin.token").write_text(str(api.token))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = os.environ | {
            "PATH": path, "SIMWAY_URL": api.base_url, "SIMWAY_TOKEN_FILE": str(folder / "admin.token"), "COLUMNS": "100",
        }  # fmt: skip

    def type(self, line: str) -> list[str]:
        """The lines that a command prints, on both outputs."""
        if line.startswith("simway ") and not set(line) & set("|;<>&$"):
            printed = io.StringIO()
            run(shlex.split(line)[1:], self.environ, printed, printed)
            return printed.getvalue().splitlines()
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=COMMAND_S, check=False,
        )  # fmt: skip
        return done.stdout.splitlines()

    def run(self, *argv: str) -> Done:
        """One command line of ``simway``, in this process: that is quicker."""
        out, err = io.StringIO(), io.StringIO()
        return Done(run(argv, self.environ, out, err), out.getvalue(), err.getvalue())

    def json(self, *argv: str) -> Any:
        """What a command that must work answers with ``--json``."""
        done = self.run(*argv, "--json")
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture
def shell(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, api)


@pytest.fixture
def attached(api: Api) -> str:
    """The demo device, attached and with its SIM's inventory known."""

    def known() -> bool:
        shown = api.device(DEMO_DEVICE)
        return bool(shown["inventory"] and shown["session"] and shown["session"]["attached"])

    wait_for(known, 30, lambda: f"an attached device with an inventory: {api.device(DEMO_DEVICE)}")
    return DEMO_DEVICE


# --- the page ----------------------------------------------------------------------------------------------------------


class Typed(NamedTuple):
    """A command of the page and the lines below it, ``...`` standing for any."""

    command: str
    printed: list[str]


def typed_on_the_page() -> Iterator[Typed]:
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        assert block.startswith("$ "), block
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = part.rstrip("\n").split("\n")
            yield Typed(command, printed)


def plain(lines: list[str]) -> str:
    """Without what differs from run to run: times, numbers, ids, the drawn lines of plots."""
    kept = []
    for line in lines:
        if PLOTTED.search(line) and "time" not in line and "-> " not in line:
            continue
        for pattern, name in VARIES:
            line = pattern.sub(name, line)  # noqa: PLW2901
        kept.append(line.strip())
    return "".join(f"{line}\n" for line in kept)


def fits(printed: list[str], said: list[str]) -> bool:
    pattern = "".join(r"(?:.*\n)*?" if line == ANYTHING else re.escape(line) + r"\n" for line in plain(printed).splitlines())
    return re.fullmatch(pattern, plain(said)) is not None


@pytest.mark.timeout(400)
def test_the_page_says_what_the_command_prints(shell: Shell, api: Api, attached: str) -> None:
    if api.device(attached)["active_carrier"]["provider"] != HOME:
        assert shell.run("command", attached, "switch", "--provider", HOME, "--follow").returncode == 0
    wait_for(lambda: api.device(attached)["active_carrier"]["provider"] == HOME, 60, f"{HOME} is shown as active")
    wait_for(lambda: len(api.readings(attached, sensor="cpu")) > SHOWN_AT_ONCE, 60, "more readings than the page shows at once")
    failed = []
    for typed in typed_on_the_page():
        said = shell.type(typed.command)
        if not fits(typed.printed, said):
            failed.append(f"$ {typed.command}\n--- the page\n" + "\n".join(typed.printed) + "\n--- said\n" + "\n".join(said))
    assert not failed, "\n\n".join(failed)


# --- through the front doors -------------------------------------------------------------------------------------------


@pytest.fixture
def device(api: Api) -> str:
    """A registered device that nobody carries."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    api.enrol(name)
    return name


@pytest.fixture
def history(shell: Shell, device: str) -> list[tuple[str, str, str]]:
    """Readings of the device, taken in from a CSV file: time, sensor, value."""
    rows = [(f"2026-01-31T12:{n // 60:02d}:{n % 60:02d}Z", f"s{n % 3}", str(n / 4)) for n in range(600)]
    (shell.folder / "history.csv").write_text("time,sensor,value\n" + "".join(",".join(row) + "\n" for row in rows))
    assert shell.json("import", device, "history.csv")["stored"] == 600
    return rows


def test_what_goes_in_comes_out_in_every_format(shell: Shell, api: Api, device: str, history: list[tuple[str, str, str]]) -> None:
    import gzip

    import pyarrow
    import pyarrow.parquet

    names = ("out.csv", "out.csv.gz", "out.ndjson", "out.parquet", "out.arrow")
    for name in names:
        assert shell.run("export", device, "-o", name).returncode == 0
    files = {name: (shell.folder / name).read_bytes() for name in names}
    rows = list(csv.DictReader(io.StringIO(files["out.csv"].decode())))
    assert sorted((row["sensor"], float(row["value"])) for row in rows) == sorted((row[1], float(row[2])) for row in history)
    assert gzip.decompress(files["out.csv.gz"]) == files["out.csv"]
    lines = [json.loads(line) for line in files["out.ndjson"].splitlines()]
    expected = [(row["sensor"], int(row["t_us"])) for row in rows]
    assert [(line["sensor"], line["t_us"]) for line in lines] == expected
    assert pyarrow.parquet.read_table(shell.folder / "out.parquet").num_rows == len(rows)
    with pyarrow.ipc.open_file(shell.folder / "out.arrow") as file:
        assert file.read_all().num_rows == len(rows)
    assert not list(shell.folder.glob(".out*"))

    again = shell.json("import", device, "out.csv")
    assert (again["stored"], again["duplicate"]) == (0, 600)
    other = f"{device}-copy"
    api.enrol(other)
    wrong = shell.run("import", other, "out.csv", "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["rejected"]) == (1, {"other_device": 600}), "the file names its device"
    assert shell.run("export", device, "--columns", "sensor,time,value,kind", "-o", "any.csv").returncode == 0
    assert shell.json("import", other, "any.csv")["stored"] == 600
    first, copy = (shell.json("readings", name, "--limit", "0")["readings"] for name in (device, other))
    assert first == copy


def test_windows_and_plots_of_history(shell: Shell, device: str, history: list[tuple[str, str, str]]) -> None:
    span = ("--from", "2026-01-31T12:00:00Z", "--to", "2026-01-31T12:10:00Z")
    body = shell.json("readings", device, "--sensor", "s0", "--window", "1m", "--agg", "count,min,max,sum", *span)
    points = body["series"][0]["points"]
    assert [point["count"] for point in points] == [20] * 10
    assert sum(point["sum"] for point in points) == sum(float(value) for _, sensor, value in history if sensor == "s0")
    plot = shell.run("readings", device, "--sensor", "s0", "--plot", "--utc", *span)
    assert plot.returncode == 0, plot.stderr
    assert f"{device} s0, UTC time" in plot.stdout
    assert "12:04" in plot.stdout or "12:05" in plot.stdout
    assert "\x1b" not in plot.stdout


def test_a_bad_line_is_named_and_the_rest_is_in(shell: Shell, device: str) -> None:
    (shell.folder / "bad.csv").write_text(
        "time,a,b\n2026-01-31T12:00:00Z,1,2\n2026-01-31T12:00:01Z,1,\nyesterday,3,4\n2026-01-31T12:0"
    )
    done = shell.run("import", device, "bad.csv")
    assert done.returncode == 1
    assert {line.split()[0] for line in done.stdout.splitlines() if line.startswith("   ")} == {"4", "5"}, done.stdout
    assert len(shell.json("readings", device)["readings"]) == 3


def test_new_readings_are_followed(shell: Shell, attached: str) -> None:
    command = [sys.executable, "-m", "simway_cli", "readings", attached, "--sensor", "cpu", "--follow", "--json"]
    with subprocess.Popen(command, env=shell.environ, cwd=shell.folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [json.loads(process.stdout.readline()) for _ in range(4)]
        process.terminate()
    times = [item["t_us"] for item in shown]
    stored = shell.json(
        "readings", attached, "--sensor", "cpu", "--from", str(times[0]), "--to", str(times[-1] + 1), "--limit", "0"
    )
    assert [item["t_us"] for item in stored["readings"]] == times, "none left out, none twice"


def test_a_switch_followed_there_and_back(shell: Shell, api: Api, attached: str) -> None:
    home = api.device(attached)["active_carrier"]["iccid"]
    target = other_profile(api.device(attached))
    done = shell.run("command", attached, "switch", "--provider", target["provider"], "--follow", "--wait", "80s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()][-1] == "VERIFIED"
    wait_for(lambda: api.device(attached)["active_carrier"]["iccid"] == target["iccid"], 60, "the new carrier is shown")
    again = shell.run("command", attached, "switch", "--iccid", target["iccid"])
    assert (again.returncode, "is the active one" in again.stderr) == (6, True)
    assert shell.run("command", attached, "switch", "--iccid", home, "--follow").returncode == 0
    wait_for(lambda: api.device(attached)["active_carrier"]["iccid"] == home, 60, "the first carrier is shown again")


def test_commands_of_a_device_that_is_away(shell: Shell, device: str) -> None:
    waiting = shell.run("command", device, "ping", "--follow", "--wait", "1s")
    assert (waiting.returncode, "still QUEUED" in waiting.stderr) == (8, True)
    queued = shell.json("command", device, "list")["commands"][0]
    assert shell.run("command", device, "cancel", queued["id"][:6]).returncode == 0
    ended = shell.run("command", device, "show", queued["id"][:6], "--follow")
    assert (ended.returncode, "CANCELLED" in ended.stdout) == (1, True)
    assert shell.run("command", device, "ping", "--expires-in", "1s", "--follow").returncode == 1


def test_the_books_are_open(shell: Shell, attached: str, device: str) -> None:
    ledger = shell.json("loss", attached)
    assert ledger["balanced"]
    fleet = shell.json("loss", "--limit", "0")
    assert fleet["totals"]["balanced"]
    assert attached in {item["device"] for item in fleet["devices"]}
    now_us = time.time_ns() // 1000
    for name, value in (("a.csv", 1), ("b.csv", 2)):
        (shell.folder / name).write_text(f"time,sensor,value\n{now_us},x,{value}\n")
    assert shell.run("import", device, "a.csv").returncode == 0
    assert shell.run("import", device, "b.csv").returncode == 1, "a conflict"
    letter = shell.json("dead-letters", "--device", device)["dead_letters"][0]
    assert letter["reason"] == "conflict"
    assert shell.json("dead-letters", "counts", "--device", device)["by_reason"] == {"conflict": 1}
    refused = shell.run("dead-letters", "replay", str(letter["id"]))
    assert (refused.returncode, "conflict" in refused.stdout) == (1, True)
    rights = [held for writer in shell.json("writers")["writers"] for held in writer["rights"]]
    assert {held["right"]["partition"] for held in rights} == set(range(24))
    (shell.folder / "right.json").write_text(json.dumps(rights[0]["right"] | {"number": 10**6}))
    assert shell.run("writers", "verify", "right.json").returncode == 1
    assert shell.run("audit", "verify").returncode == 0


def test_retention_is_set_and_set_back(shell: Shell) -> None:
    before = {tier["tier"]: tier["keep_s"] for tier in shell.json("retention")["tiers"]}
    assert set(before) == {"raw", "minute", "hour", "day"}
    assert shell.run("retention", "set", "hour=9y").returncode == 0
    shown = {tier["tier"]: tier for tier in shell.json("retention")["tiers"]}
    assert (shown["hour"]["keep_s"], shown["minute"]["keep_s"]) == (9 * 365 * 86400, before["minute"])
    assert shell.run("retention", "set", f"hour={before['hour']}s", "--yes").returncode == 0
    assert {tier["tier"]: tier["keep_s"] for tier in shell.json("retention")["tiers"]} == before


def test_a_revoked_device_and_back(shell: Shell, device: str) -> None:
    assert shell.json("devices", "revoke", device)["status"] == "revoked"
    refused = shell.run("command", device, "ping")
    assert (refused.returncode, "simway devices restore" in refused.stderr) == (6, True)
    assert shell.json("devices", "restore", device)["status"] == "active"


def test_who_is_not_let_in(shell: Shell) -> None:
    (shell.folder / "wrong").write_text("not the token")
    refused = shell.run("devices", "--token-file", "wrong")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "--token-file" in refused.stderr
    assert shell.run("health", "--token-file", "/nowhere").returncode == 0
