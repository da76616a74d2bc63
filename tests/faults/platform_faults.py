"""``make faults``: the real platform under load, with faults injected by a seeded plan; one line of totals at the end.

    python tests/faults/platform_faults.py                            both pairs, the seed that belongs to them
    python tests/faults/platform_faults.py --seed 7 --pair kafka      one plan
    python tests/faults/platform_faults.py --short                    what make test runs
    python tests/faults/platform_faults.py --seed 7 --plan            shows what would be done

Ends with 1 when anything was lost, counted twice, out of balance, or not as it must be; docs/faults.md says how to read it.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from simway_testing import REPOSITORY, Unavailable, scratch, strict
from simway_testing.fault_disk import RLIMIT, private_mounts
from simway_testing.fault_house import House, open_house
from simway_testing.fault_plan import PAIRS, Plan, plan_of
from simway_testing.fault_run import Result, Run

SEED = 5
EVIDENCE = REPOSITORY / "var" / "faults"


@dataclass
class Totals:
    """Over all plans that ran."""

    faults: Counter[str] = field(default_factory=Counter)
    results: list[Result] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def line(self, seconds: float) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        skipped = f"; not run: {', '.join(self.skipped)}" if self.skipped else ""
        stale, count = sum(result.stale for result in self.results), self._sum
        return (
            f"faults: {self.faults.total()} faults ({kinds}); {count('devices')} devices, {count('acknowledged')} readings "
            f"acknowledged, {count('lost')} of them lost, {count('twice')} counted twice; {count('dropped')} dropped at devices "
            f"and {count('rejected')} rejected by name, accounted for; ledgers out of balance: {count('unbalanced')}; "
            f"written by stale recorders: {stale}; {len(self.broken)} broken, {seconds:.0f} s{skipped}"
        )

    def _sum(self, name: str) -> int:
        return sum(int(getattr(result.sums, name)) for result in self.results)


def run(plan: Plan, way: str, totals: Totals) -> None:
    """Runs a plan, and keeps its evidence where it broke."""
    begin_s = time.monotonic()
    say(f"\n{plan.again()}: {len(plan.faults)} faults; a full disk is {way}")
    with scratch(f"faults-{plan.pair}") as directory, open_house(plan, directory, way) as house:
        runner, broken = Run(house, say), ""
        try:
            runner.go()
        except Exception:
            broken = traceback.format_exc(limit=-4)
        result = runner.result
        totals.faults += result.faults
        totals.results.append(result)
        complaints = [*filter(None, [broken]), *result.all_complaints()]
        if complaints:
            where = _keep(house, plan, directory, complaints)
            totals.broken += complaints
            say("\n".join(f"BROKEN: {words}" for words in complaints))
            say(f"seed {plan.seed} broke; again: {plan.again()}; logs, outboxes and complaints lie in {where}")
        say(_told(result, time.monotonic() - begin_s))


def _told(result: Result, seconds: float) -> str:
    sums, datagrams = result.sums, result.datagrams
    return (
        f"{sums.stored} rows and {sums.buckets} rollups compared, {sums.duplicate} duplicates; ledgers looked at "
        f"{result.ledgers_seen} times under faults; {result.moves} moves of recorders held against their rights, "
        f"{result.refused_stale} refused for a right that was gone; {datagrams['passed']} datagrams passed, "
        f"{datagrams['dropped']} dropped, {datagrams['duplicated']} duplicated; "
        f"at rest after {result.settled_s:.1f} s; {seconds:.0f} s in all"
    )


def _keep(house: House, plan: Plan, directory: Path, complaints: list[str]) -> Path:
    """Copies everything that tells what happened; the disks of this process are gone with it."""
    where = EVIDENCE / f"{plan.pair}-{plan.seed}"
    shutil.rmtree(where, ignore_errors=True)
    house.close()
    shutil.copytree(directory, where, ignore=shutil.ignore_patterns("ballast", "*.sock"))
    (where / "complaints.txt").write_text("\n\n".join(complaints))
    (where / "plan.txt").write_text("\n".join(f"{fault.at_s:8.2f} s  {fault}" for fault in plan.faults))
    return where


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--pair", choices=PAIRS, action="append", help="default: both")
    parser.add_argument("--short", action="store_true", help="few faults, under two minutes for both pairs")
    parser.add_argument("--no-mounts", action="store_true", help="full disks by RLIMIT_FSIZE, as where no mounts may be made")
    parser.add_argument("--plan", action="store_true", help="shows the plan and ends")
    asked = parser.parse_args()
    plans = [plan_of(asked.seed, pair, short=asked.short) for pair in asked.pair or PAIRS]
    if asked.plan:
        say("\n".join(f"{plan.pair:<9} {fault.at_s:8.2f} s  {fault}" for plan in plans for fault in plan.faults))
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("ended by a signal"))
    begin_s, way, totals = time.monotonic(), RLIMIT if asked.no_mounts else private_mounts(), Totals()
    for plan in plans:
        try:
            run(plan, way, totals)
        except Unavailable as missing:
            totals.skipped.append(f"{plan.pair} ({str(missing).splitlines()[0]})")
            totals.broken += [str(missing)] if strict() else []
    say(totals.line(time.monotonic() - begin_s))
    return int(bool(totals.broken) or not totals.results)


if __name__ == "__main__":
    sys.exit(main())
