"""docs/real-sim.md, typed in word for word: its commands on the virtual SIM behind a real pcscd, and what it says they print."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from simway_testing import REPOSITORY, Unavailable, pcscd, scratch, unavailable
from simway_testing.waiting import wait_for

PAGE = REPOSITORY / "docs" / "real-sim.md"
COMMAND_S = 90
ANYTHING = "..."
VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\d{10,}"), "NUMBER"),
    (re.compile(r"\d{4}\.\.\d{4}"), "SHORTENED"),
    (re.compile(r"\(\d+\.\d ms\)"), "(DURATION)"),
)


class Typed(NamedTuple):
    """A command of the page and the lines below it, ``...`` standing for any."""

    command: str
    printed: list[str]


def typed_on_the_page() -> Iterator[Typed]:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for block in blocks:
        assert block.startswith("$ "), block
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = part.rstrip("\n").split("\n")
            yield Typed(command, printed)


def plain(line: str) -> str:
    """Without what differs from card to card and run to run."""
    for pattern, name in VARIES:
        line = pattern.sub(name, line)
    return line.rstrip()


def fits(printed: list[str], said: list[str]) -> bool:
    """Whether the page's lines are those that were printed."""
    pattern = "".join(r"(?:.*\n)*?" if line == ANYTHING else re.escape(plain(line)) + r"\n" for line in printed)
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in said)) is not None


class Shell:
    """One bash, as a person has it open: what one command sets, the next one sees."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._directory = directory
        self._count = 0
        command = ["bash", "--noprofile", "--norc"]
        self._process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.PIPE, text=True)

    def type(self, command: str) -> tuple[int, list[str]]:
        """Exit status and output of a command."""
        self._count += 1
        said, status = self._directory / f"said.{self._count}", self._directory / f"status.{self._count}"
        assert self._process.stdin
        self._process.stdin.write(f"{{ {command}\n}} >{said} 2>&1; echo $? >{status}.new; mv {status}.new {status}\n")
        self._process.stdin.flush()
        wait_for(status.exists, COMMAND_S, f"{command} ended")
        return int(status.read_text()), said.read_text().splitlines()

    def close(self) -> None:
        self._process.communicate("kill $(jobs -p); wait\n", timeout=COMMAND_S)


@pytest.fixture
def shell() -> Iterator[tuple[Shell, pcscd.Pcscd]]:
    """A pcscd of its own: the virtual SIM of the page wants an empty first reader."""
    try:
        with scratch("real-sim") as directory, pcscd.running(directory) as service:
            (directory / "var").mkdir()
            (directory / "var" / "venv").symlink_to(sys.prefix)
            opened = Shell(directory, {"PATH": "/usr/bin:/bin", **service.environment})
            try:
                yield opened, service
            finally:
                opened.close()
    except Unavailable as missing:
        unavailable(str(missing))


@pytest.mark.timeout(300)
def test_every_command_of_the_page_does_what_the_page_says(shell: tuple[Shell, pcscd.Pcscd]) -> None:
    opened, service = shell
    count = 0
    for command, printed in typed_on_the_page():
        code, said = opened.type(command.replace("--vpcd", f"--vpcd 127.0.0.1:{service.readers[0].port}"))
        if command.endswith("&"):
            seen = lambda: any("yes" in line for line in opened.type("simway-modem sim readers")[1])  # noqa: E731
            wait_for(seen, COMMAND_S, "the card is in its reader")
            continue
        count += 1
        refused = any(line.startswith("error: ") for line in printed)
        assert (code != 0) == refused, (command, code, said)
        assert fits(printed, said), f"{command}\n--- the page says\n{chr(10).join(printed)}\n--- it says\n{chr(10).join(said)}"
    assert count >= 10


def test_no_command_of_the_page_is_outside_of_what_is_run() -> None:
    """Fenced blocks are console blocks; in running text stand names of commands and settings, never a whole session."""
    fences = re.findall(r"^```(\w*)$", PAGE.read_text(), re.MULTILINE)
    assert set(fences) == {"console", ""}
    assert fences.count("console") == fences.count("")


def test_lines_are_compared_by_what_they_say() -> None:
    assert fits(["a 8999901184225141784", "...", "< 6106  (0.3 ms)"], ["a 8999902480243833587", "x", "y", "< 6106  (12.4 ms)"])
    assert fits(["..."], [])
    assert not fits(["a"], ["a", "b"])
    assert not fits(["a", "..."], ["b", "a"])
    assert not fits(["a"], [])
