"""``make test``: everything that can fail, in one go and with one summary at the end.

Each stage is a program of its own, so that one stage's broker and platform never meet another's. Arguments name the stages
to run (all without any): check unit applet contract card switch e2e faults platform.

The stages ``BESIDE`` only compute, and the tests in front of them often wait: they run one after the other behind those, on what
processor time these leave, and show their output whole. Nothing runs beside the stages ``ALONE``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import applet
import system_packages
from junit import Counts, counts
from local import ROOT, VAR

MEMORY = Path("/dev/shm")
MEMORY_BYTES = 1 << 30
"""What the tests of one stage leave room in; they need a third of it."""
GIVES_WAY = 10
"""The niceness of stages that run beside others."""
BESIDE = ("check", "applet", "switch")
ALONE = ("e2e", "faults", "platform")
UNIT = ("protocol", "backbone", "ingest", "udp-server", "flask-app", "modem-client", "virtual-sim", "cli", "bench", "tests/repo")
SIDE_BY_SIDE = ("--dist", "loadgroup")
"""Tests of one platform stay together, in their order; platforms run side by side, for most of their time is waiting."""

FILE_BY_FILE = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
SLOW = ("test_log_groups", "test_log_kafka", "test_writers_asleep", "test_loss", "test_log")
"""Files of the contract that wait or compute for long: begun last, they would be waited for alone."""
CONTRACT = sorted((ROOT / "tests" / "contract").glob("test_*.py"), key=lambda path: (path.stem not in SLOW, path.name))
CARDS = [path for path in CONTRACT if path.stem.startswith("test_card")]


@dataclass(frozen=True, slots=True)
class Result:
    """How a stage went. ``seconds``: wall clock."""

    stage: str
    seconds: float
    counts: Counts
    ok: bool

    def line(self) -> str:
        passed, failed, skipped = self.counts
        tests = f"{passed:>5} passed {failed:>3} failed {skipped:>3} skipped"
        return f"  {self.stage:<9} {tests}  {self.seconds:>6.1f} s  {'ok' if self.ok else 'FAILED'}"


def check() -> Result:
    """``make check``, counted as one test."""
    begin = time.monotonic()
    ok = subprocess.run(["make", "-s", "check"], cwd=ROOT, check=False).returncode == 0
    return Result("check", time.monotonic() - begin, Counts(int(ok), int(not ok), 0), ok)


def pytest(stage: str, *arguments: str | Path, in_memory: bool = False, shares: bool = False) -> Callable[[], Result]:
    """A stage that is one pytest run.

    ``in_memory``: the tests' folders lie there where there is room, as no test of the stage is about what a disk keeps.
    ``shares``: its workers use one broker and one database server, instead of each its own.
    """

    def run() -> Result:
        report = VAR / "test" / f"{stage}.xml"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        begin = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *map(str, arguments)]
        with _memory() if in_memory else nullcontext() as folder, _servers(folder) if shares else nullcontext({}) as settings:
            command += [f"--basetemp={folder}/tests"] if folder else []
            code = subprocess.run(command, cwd=ROOT, env=os.environ | settings, check=False).returncode
        return Result(stage, time.monotonic() - begin, counts(report), code == 0)

    return run


@contextmanager
def _memory() -> Iterator[Path | None]:
    """A folder in memory, removed at the end; None where there is no room."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="simway-test-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _servers(folder: Path | None) -> Iterator[dict[str, str]]:
    """The settings by which tests find the servers that all of them share; none for one that cannot be had or is given.

    The broker's data lie in ``folder``: a broker syncs several files for each partition that it makes.
    """
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from simway_testing import Unavailable, kafka_server, postgres_server, scratch

    with ExitStack() as stack:
        settings = {}
        for name, running in (("kafka", kafka_server.running), ("postgres", postgres_server.running)):
            variable = f"SIMWAY_TEST_{name.upper()}_URL"
            if os.environ.get(variable):
                continue
            try:
                place = scratch(name, folder if name == "kafka" else None)
                settings[variable] = stack.enter_context(running(stack.enter_context(place)))
            except Unavailable as missing:
                print(f"{name}: {missing}", flush=True)
        yield settings


def program(stage: str, path: str, *arguments: str) -> Callable[[], Result]:
    """A stage that is one program with a line of its own, counted as one test."""

    def run() -> Result:
        begin = time.monotonic()
        ok = subprocess.run([sys.executable, path, *arguments], cwd=ROOT, check=False).returncode == 0
        return Result(stage, time.monotonic() - begin, Counts(int(ok), int(not ok), 0), ok)

    return run


def java_card() -> Result:
    """Maven's build and tests of the Java Card applet, counted as it counts; one skipped test without Java."""
    begin = time.monotonic()
    if not applet.have_java():
        return Result("applet", 0.0, Counts(0, 0, 1), True)
    ok = applet.test() == 0
    found = [counts(report) for report in applet.BUILT.glob(applet.REPORTS)]
    passed, failed, skipped = map(sum, zip(*found, strict=True)) if found else (0, 0, 0)
    return Result("applet", time.monotonic() - begin, Counts(passed, failed or int(not ok), skipped), ok)


STAGES: dict[str, Callable[[], Result]] = {
    "check": check,
    "unit": pytest("unit", "-n", "3", "--dist", "worksteal", *UNIT, in_memory=True),
    "applet": java_card,
    "contract": pytest("contract", *FILE_BY_FILE, *(path for path in CONTRACT if path not in CARDS), shares=True, in_memory=True),
    "card": pytest("card", "-n", "3", *CARDS, in_memory=True),
    "switch": program("switch", "tests/faults/switch_faults.py"),
    "e2e": pytest("e2e", "-n", "3", *SIDE_BY_SIDE, "tests/e2e", "tests/run", "tests/observability"),
    "faults": pytest("faults", "-n", "2", *SIDE_BY_SIDE, "tests/faults"),
    "platform": program("platform", "tests/faults/platform_faults.py", "--short"),
}


def run_all(chosen: Sequence[str]) -> list[Result]:
    """The stages' results, in the order in which they were told."""
    front = [stage for stage in chosen if stage not in BESIDE + ALONE]
    behind = [stage for stage in chosen if stage in BESIDE and front]
    with ProcessPoolExecutor(1) as process:
        asides = [process.submit(_aside, stage) for stage in behind]
        results = [_told(stage) for stage in front]
        for stage, aside in zip(behind, asides, strict=True):
            print(f"\n--- {stage}", flush=True)
            result, said = aside.result()
            print(said, end="", flush=True)
            results.append(result)
    return results + [_told(stage) for stage in chosen if stage not in front + behind]


def _told(stage: str) -> Result:
    print(f"\n--- {stage}", flush=True)
    return STAGES[stage]()


def _aside(stage: str) -> tuple[Result, str]:
    """A stage in a process of its own that gives way to those in front; how it went, and all that it said."""
    os.setpriority(os.PRIO_PROCESS, 0, GIVES_WAY)
    log = VAR / "test" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        result = STAGES[stage]()
    return result, log.read_text()


def main() -> None:
    chosen = sys.argv[1:] or list(STAGES)
    if unknown := set(chosen) - set(STAGES):
        sys.exit(f"simway: no such stage: {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    absent = system_packages.ensure()
    begin = time.monotonic()
    results = run_all(chosen)
    print(f"\n--- make test, {time.monotonic() - begin:.0f} s")
    print("\n".join(result.line() for result in results))
    for need in absent:
        print(f"  not on this machine, so its tests were skipped: {need}")
    print(Counts(*map(sum, zip(*(result.counts for result in results), strict=True))).line(), flush=True)
    sys.exit(0 if all(result.ok for result in results) else 1)


if __name__ == "__main__":
    main()
