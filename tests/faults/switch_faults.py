"""``make faults-switch``: carrier switches with faults injected, each from its seed, in simulated time; one line of totals.

    python tests/faults/switch_faults.py                   the runs that belong to the tests
    python tests/faults/switch_faults.py --seed 731        one run, told in full
    python tests/faults/switch_faults.py --first 2000 --runs 5000
    python tests/faults/switch_faults.py --all             a power cut at each step for every coverage, too: minutes

Ends with 1 when something broke, and prints the seeds that show it again.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import structlog
from simway_testing.switch_checks import complaints
from simway_testing.switch_plans import EVERY_STEP, EVERY_STEP_RUNS, RUNS, plan_of
from simway_testing.switch_run import Ended, House, Plan

PROCESSES = min(2, os.cpu_count() or 1)
COLLECT_EVERY = 50
SHOWN_MAX = 20
_NO_LOG = structlog.make_filtering_bound_logger(logging.CRITICAL)


@dataclass
class Totals:
    """Sums over runs. ``broken``: the run's own words for each that broke."""

    runs: int = 0
    cuts: int = 0
    kills: int = 0
    states: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, ended: Ended) -> None:
        kills = ended.where.count("platform killed")
        self.kills += kills
        self.cuts += len(ended.where) - kills
        self.states[ended.state.state] += 1

    def merge(self, other: Totals) -> None:
        self.runs += other.runs
        self.cuts += other.cuts
        self.kills += other.kills
        self.states += other.states
        self.broken += other.broken

    def line(self, seconds: float) -> str:
        states = ", ".join(f"{times} {state}" for state, times in sorted(self.states.items()))
        return (
            f"faults-switch: {self.runs} switches ({states}), {self.cuts} power cuts, {self.kills} kills of the platform: "
            f"{len(self.broken)} broken, {seconds:.0f} s"
        )


def run_all(plans: Iterable[Plan]) -> Totals:
    """Runs them one after the other."""
    totals, house = Totals(), House()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for plan in plans:
            totals.runs += 1
            if totals.runs % COLLECT_EVERY == 0:
                gc.collect()
            try:
                ended = house.run(plan)
            except Exception:
                totals.broken.append(f"{_again(plan)}\n{traceback.format_exc(limit=-6)}")
                house.close()
                house = House()
                continue
            totals.add(ended)
            if wrong := complaints(ended):
                hit = f"; hit: {', '.join(ended.where)}" if ended.where else ""
                totals.broken.append(f"{_again(plan)}{hit}\n  " + "\n  ".join(wrong))
    finally:
        house.close()
    return totals


def _again(plan: Plan) -> str:
    return f"BROKEN: make faults-switch SEED={plan.seed}  ({plan})"


def tell(seed: int) -> int:
    """One run in full."""
    house = House()
    try:
        plan = plan_of(seed)
        print(f"seed {seed}: {plan}")
        ended = house.run(plan)
    finally:
        house.close()
    print(f"hit: {', '.join(ended.where) or 'nothing'}; the card had enabled {' -> '.join(ended.enabled)}; target {ended.target}")
    for line in ended.history:
        print(f"  {line.state:<12} {line.actor:<10} {line.event} {line.reason}")
    told = next((line.evidence for line in reversed(ended.history) if "timings_ms" in line.evidence), {})
    print(json.dumps(told, indent=1))
    wrong = complaints(ended)
    print("\n".join(f"BROKEN: {words}" for words in wrong) or "as it must be")
    return int(bool(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, help="one run, told in full")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--all", action="store_true", help="a power cut at each step for every coverage, too")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=_NO_LOG)
    if asked.seed is not None:
        return tell(asked.seed)
    begin_s = time.monotonic()
    seeds = [*range(asked.first, asked.first + asked.runs), *range(EVERY_STEP, EVERY_STEP + EVERY_STEP_RUNS * asked.all)]
    plans = [plan_of(seed) for seed in seeds]
    totals = Totals()
    with multiprocessing.get_context("spawn").Pool(PROCESSES, initializer=_quiet) as pool:
        for part in pool.imap_unordered(run_all, [plans[at::PROCESSES] for at in range(PROCESSES)]):
            totals.merge(part)
    print("\n".join(totals.broken[:SHOWN_MAX]), end="\n" if totals.broken else "")
    print(totals.line(time.monotonic() - begin_s), flush=True)
    return int(bool(totals.broken))


def _quiet() -> None:
    structlog.configure(wrapper_class=_NO_LOG)


if __name__ == "__main__":
    sys.exit(main())
