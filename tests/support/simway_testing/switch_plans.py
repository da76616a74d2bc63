"""Which switch goes wrong how, by its seed. One number says all of it, so that any run can be had again.

* seeds below ``EACH_WRITE``: a power cut at each write, of journal and card memory, for every coverage;
* seeds below ``EACH_STEP``: a power cut at each step, the coverages in turn;
* seeds below ``DIES``: the previous carrier dies during the switch, the fallback is good; a power cut here and there;
* seeds from ``EVERY_STEP``: a power cut at each step for every coverage; they take minutes, and are run by ``--all`` only;
* all others: a draw of coverage, a fault of the card, several power cuts, a kill of the platform.
"""

from __future__ import annotations

import random

from simway_testing.switch_run import COVERAGES, FAULTS, Plan

WRITES = 24
"""More than any switch makes that is cut once."""
STEPS = 480
EACH_WRITE = len(COVERAGES) * WRITES
EACH_STEP = EACH_WRITE + STEPS
PLATFORM_STEPS = 60
DIES = EACH_STEP + len(COVERAGES) * 12
RUNS = DIES + 318
"""Those that belong to the tests."""
EVERY_STEP = 10_000_000
EVERY_STEP_RUNS = len(COVERAGES) * STEPS


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    names = list(COVERAGES)
    if seed < EACH_WRITE:
        return Plan(seed, names[seed % len(names)], cuts=(1 + seed // len(names),), counts_writes=True)
    if seed < EACH_STEP:
        step = 1 + seed - EACH_WRITE
        return Plan(seed, names[step % len(names)], cuts=(step,), card_keeps_power=step // len(names) % 4 == 0)
    if seed < DIES:
        at, coverage = divmod(seed - EACH_STEP, len(names))
        cuts = () if not at else (3 * at,) if at % 2 else (40 * at,)
        return Plan(seed, names[coverage], cuts=cuts, counts_writes=at % 2 == 1, previous_dies=True)
    if seed >= EVERY_STEP:
        step, coverage = divmod(seed - EVERY_STEP, len(names))
        return Plan(seed, names[coverage], cuts=(1 + step,))
    return _drawn(seed)


def _drawn(seed: int) -> Plan:
    rng = random.Random(f"switch {seed}")
    cuts = rng.choices((0, 1, 2, 5), (25, 50, 20, 5))[0]
    return Plan(
        seed,
        coverage=rng.choice(list(COVERAGES)),
        fault=rng.choice(list(FAULTS)),
        cuts=tuple(rng.randint(1, 300 if number == 0 else 90) for number in range(cuts)),
        kill=rng.randint(1, PLATFORM_STEPS) if rng.random() < 0.4 else 0,
        card_keeps_power=rng.random() < 0.3,
        dispatches_singly=rng.random() < 0.3,
    )
