"""``make test``: everything that can fail, in one go and with one summary at the end.

Each stage is a program of its own, so that one stage's broker and platform never meet another's. Arguments name the stages
to run (all without any): check unit applet contract card switch e2e faults platform.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import applet
import system_packages
from junit import Counts, counts
from local import ROOT, VAR

UNIT = ("protocol", "backbone", "ingest", "udp-server", "flask-app", "modem-client", "virtual-sim", "cli", "bench", "tests/repo")
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadgroup")
"""Tests of one platform stay together, in their order; two platforms run side by side."""


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


def pytest(stage: str, *arguments: str) -> Callable[[], Result]:
    """A stage that is one pytest run."""

    def run() -> Result:
        report = VAR / "test" / f"{stage}.xml"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        begin = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        return Result(stage, time.monotonic() - begin, counts(report), code == 0)

    return run


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
    "unit": pytest("unit", "-n", "2", *(folder for folder in UNIT if (ROOT / folder).is_dir())),
    "applet": java_card,
    "contract": pytest("contract", "-n", "4", "--dist", "loadfile", "tests/contract", "--ignore-glob=*/test_card*"),
    "card": pytest("card", "-n", "2", *sorted(str(path) for path in (ROOT / "tests" / "contract").glob("test_card*.py"))),
    "switch": program("switch", "tests/faults/switch_faults.py"),
    "e2e": pytest("e2e", *SIDE_BY_SIDE, "tests/e2e", "tests/run", "tests/observability"),
    "faults": pytest("faults", *SIDE_BY_SIDE, "tests/faults"),
    "platform": program("platform", "tests/faults/platform_faults.py", "--short"),
}


def main() -> None:
    chosen = sys.argv[1:] or list(STAGES)
    if unknown := set(chosen) - set(STAGES):
        sys.exit(f"simway: no such stage: {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    absent = system_packages.ensure()
    results = []
    for stage in chosen:
        print(f"\n--- {stage}", flush=True)
        results.append(STAGES[stage]())
    print(f"\n--- make test, {sum(result.seconds for result in results):.0f} s")
    print("\n".join(result.line() for result in results))
    for need in absent:
        print(f"  not on this machine, so its tests were skipped: {need}")
    print(Counts(*map(sum, zip(*(result.counts for result in results), strict=True))).line(), flush=True)
    sys.exit(0 if all(result.ok for result in results) else 1)


if __name__ == "__main__":
    main()
