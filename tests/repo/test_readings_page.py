"""docs/readings.md, typed in word for word: its commands against a web process of their own, and what it says they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from simway_flask_app.csv_records import RECORD_MAX_BYTES
from simway_flask_app.imports import BATCH_READINGS
from simway_flask_app.store.scan import PAGE_ROWS
from simway_flask_app.store.windows import ROWS_MAX, WINDOWS_MAX
from simway_flask_app.web import limits
from simway_testing import REPOSITORY
from simway_testing.platform import base_environment
from simway_testing.ports import free_port
from simway_testing.waiting import wait_for

PAGE = REPOSITORY / "docs" / "readings.md"
PORT = ":8000/"


def typed_on_the_page() -> Iterator[tuple[str, list[str]]]:
    """Each command and the lines below it, ``...`` standing for any."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        assert block.startswith("$ "), block
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = part.rstrip("\n").split("\n")
            yield command, printed


def fits(printed: list[str], said: str) -> bool:
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\r?\n" for line in printed)
    return re.fullmatch(pattern, said) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder as ``make run`` leaves it, and the port that its web process answers at."""
    port = free_port()
    environment = base_environment() | {"WEB_PORT": str(port), "WEB_METRICS_PORT": str(free_port())}
    command = [sys.executable, "-m", "simway_flask_app"]
    subprocess.run([*command, "init"], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=60)
    (tmp_path / "var" / "venv").symlink_to(sys.prefix)
    with (tmp_path / "web.log").open("wb") as log:
        process = subprocess.Popen([*command, "web"], cwd=tmp_path, env=environment, stdout=log, stderr=log)

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/api/v1/health", timeout=2).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    try:
        wait_for(answers, 60, (tmp_path / "web.log").read_text)
        yield tmp_path, port
    finally:
        process.terminate()
        process.wait(30)


def test_every_command_of_the_page_prints_what_the_page_says(folder: tuple[Path, int]) -> None:
    directory, port = folder
    typed = list(typed_on_the_page())
    assert len(typed) >= 12
    marks = "".join(f"{command}\necho '--- {number}'\n" for number, (command, _) in enumerate(typed))
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e"], input=marks.replace(PORT, f":{port}/"), cwd=directory, text=True,
        capture_output=True, timeout=60, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.split(r"^--- \d+\n", done.stdout, flags=re.MULTILINE)
    for (command, printed), lines in zip(typed, said, strict=False):
        assert fits(printed, lines), f"{command}\n--- the page says\n{chr(10).join(printed)}\n--- it says\n{lines}"


def test_the_limits_on_the_page_are_the_codes() -> None:
    page = PAGE.read_text()
    for text in (
        f"{limits.IMPORT_MAX_BYTES // 2**20} MiB", f"{RECORD_MAX_BYTES // 1024} KiB", f"{BATCH_READINGS:,} readings",
        f"{WINDOWS_MAX:,} windows", f"{ROWS_MAX:,} rows", f"page of {PAGE_ROWS:,}", f"first {limits.IMPORT_BAD_LISTED} of",
    ):  # fmt: skip
        assert text in page.replace("\n", " "), text
    assert limits.TRANSFERS_MAX == 4
