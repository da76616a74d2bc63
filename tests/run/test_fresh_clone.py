"""``make run`` as somebody new types it: in a fresh copy of the repository, with nothing set up, on ports of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from simway_testing import REPOSITORY, scratch
from simway_testing.platform import free_port
from simway_testing.waiting import wait_for

pytestmark = pytest.mark.xdist_group("run")

STARTED_WITHIN_S = 300
STOPPED_WITHIN_S = 60
LINE_WITHIN_S = 60
PORTS = (
    "WEB_PORT", "UDP_METRICS_PORT", "RECORDER_METRICS_PORT", "DISPATCHER_METRICS_PORT", "MODEM_METRICS_PORT", "WEB_METRICS_PORT",
)  # fmt: skip


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """The files that git knows or would know, and nothing else."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    with scratch("clone") as directory:
        for name in filter(None, listed.stdout.split("\0")):
            source, target = REPOSITORY / name, directory / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        yield directory


class MakeRun:
    """``make run`` in ``folder``, as a terminal would have it: a process group of its own, output in a file."""

    def __init__(self, folder: Path, **settings: str) -> None:
        caches = {"UV_CACHE_DIR": str(REPOSITORY / "var/cache/uv"), "PIP_CACHE_DIR": str(REPOSITORY / "var/cache/pip")}
        self.output = folder.with_name(f"{folder.name}.out")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                ["make", "-s", "run"], cwd=folder, env=os.environ | caches | settings, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def greeting(self) -> str:
        """What it prints once it runs."""

        def printed() -> bool:
            assert self.process.poll() is None, self.text()
            return "Ctrl-C ends it" in self.text()

        wait_for(printed, STARTED_WITHIN_S, lambda: f"the greeting of make run:\n{self.text()}")
        return self.text().split("Simway is running", 1)[1]

    def family(self) -> list[psutil.Process]:
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def interrupt(self) -> int:
        """Ctrl-C: SIGINT to the whole process group. The exit code of make."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOPPED_WITHIN_S)

    def sweep(self) -> None:
        if self.process.poll() is None:
            for member in self.family():
                member.kill()
        self.output.unlink()


@pytest.fixture
def settings() -> dict[str, str]:
    return {name: str(free_port()) for name in PORTS} | {"UDP_PORT": str(free_port(socket.SOCK_DGRAM))}


def pasted(line: str, folder: Path) -> dict[str, object]:
    """What a curl line of the greeting gives in a shell, in the folder where ``make run`` was typed."""
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=LINE_WITHIN_S, check=True)
    parsed = json.loads(done.stdout)
    assert isinstance(parsed, dict)
    return parsed


@pytest.mark.timeout(900)
def test_make_run_from_nothing_twice(clone: Path, settings: dict[str, str]) -> None:
    untouched = {path.name for path in clone.iterdir()}
    first = MakeRun(clone, **settings)
    try:
        lines = re.findall(r"^curl .*$", first.greeting(), re.MULTILINE)
        assert len(lines) == 2, first.greeting()
        assert pasted(lines[0], clone)["readings"], first.text()
        assert pasted(lines[1], clone)["state"] == "QUEUED", first.text()
        assert (clone / "var/admin.token").stat().st_mode & 0o777 == 0o600
        oldest = f"{lines[0].removesuffix('/latest')}?limit=1"
        before, token, family = pasted(oldest, clone), (clone / "var/admin.token").read_text(), first.family()
        first.interrupt()
        alive = psutil.wait_procs(family, timeout=STOPPED_WITHIN_S)[1]
        assert not alive
    finally:
        first.sweep()

    second = MakeRun(clone, **settings)
    try:
        second.greeting()
        assert (clone / "var/admin.token").read_text() == token
        assert pasted(oldest, clone)["readings"] == before["readings"]
        second.interrupt()
    finally:
        second.sweep()
    made = {path.name for path in clone.iterdir()} - untouched
    assert made == {"var"}, "all that a run makes lies in var/"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "kind"), [("WEB_PORT", socket.SOCK_STREAM), ("UDP_PORT", socket.SOCK_DGRAM)])
def test_a_taken_port_is_named_with_its_setting(
    clone: Path, settings: dict[str, str], name: str, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", int(settings[name])))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        refused = MakeRun(clone, **settings)
        try:
            assert refused.process.wait(STARTED_WITHIN_S) != 0
            assert settings[name] in refused.text()
            assert name in refused.text()
            assert "Traceback" not in refused.text()
        finally:
            refused.sweep()
