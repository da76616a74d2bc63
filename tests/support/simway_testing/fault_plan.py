"""What is broken, when and for how long: a pure function of the seed.

A plan is a list of faults in order of their beginning. Each lasts ``for_s`` and is then undone: a killed process is started
again, a stopped one goes on, the disk has room again. Two faults may be on at the same time, but never two on one target.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

EMBEDDED, KAFKA = "embedded", "kafka"
PAIRS = (EMBEDDED, KAFKA)
SESSION_TIMEOUT_S = 6
"""Of the recorders' group; what is longer silent has lost its partitions."""
BEGIN_S = 2.0
APART_S = 1.0
"""Between two faults on one target, at least: as long as it takes until it does something."""

PATH = ("network", "udp-server", "broker", "log")
"""Where a fault keeps every reading from arriving."""
BREATH_S = 5.0
"""So long after the last such fault the next one begins, mostly: what never flows cannot be lost."""
BREATHLESS = 0.3
"""The share of those that do not wait."""

Quotas = dict[tuple[str, str], int]
"""How many faults of a kind, by (kind, target)."""

LASTS_S = {
    "kill": (0.2, 2.5), "restart": (0.0, 0.5), "stop": (2.0, 5.0), "full": (3.0, 6.0), "read-only": (3.0, 6.0),
    "locked": (5.5, 7.0), "cut": (3.0, 6.0), "storm": (4.0, 8.0), "rebind": (0.0, 0.0), "corrupt": (0.0, 0.0),
    "refused": (0.0, 0.0), "half-line": (0.0, 0.0),
}  # fmt: skip
SILENT_S = (SESSION_TIMEOUT_S + 1.5, SESSION_TIMEOUT_S + 5.0)
"""A recorder that is stopped is silent for longer than the session timeout."""
WORDS = {
    "kill": "kill -9, then started again", "restart": "SIGTERM, then started again", "stop": "SIGSTOP, then SIGCONT",
    "full": "its disk is full", "read-only": "refuses every write", "locked": "another process holds the write lock",
    "cut": "no datagram passes", "storm": "datagrams dropped, delayed, duplicated, reordered",
    "rebind": "every device has another address", "corrupt": "a record in the log that does not decode",
    "refused": "a reading in the log that the database refuses", "half-line": "a CSV file that ends within a line",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """``at_s`` counts from the first load on."""

    at_s: float
    kind: str
    target: str
    for_s: float

    def __str__(self) -> str:
        lasts = f", {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.target}: {self.kind}{lasts} ({WORDS[self.kind]})"


@dataclass(frozen=True, slots=True)
class Load:
    """Who sends. ``rate_hz``: how often a second each device that is fed on stdin measures."""

    fed: int
    imports: int
    rate_hz: float
    recorders: int

    @property
    def devices(self) -> list[str]:
        """All names: those fed on stdin first."""
        return [f"fed-{at}" for at in range(1, self.fed + 1)] + [f"csv-{at}" for at in range(1, self.imports + 1)]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a seed says. ``key``: for random decisions on the way, as those of the network."""

    seed: int
    pair: str
    short: bool
    load: Load
    faults: tuple[Fault, ...]

    @property
    def key(self) -> str:
        return f"{self.seed}/{self.pair}/{'short' if self.short else 'full'}"

    def count(self) -> Counter[str]:
        """How many faults of each kind."""
        return Counter(fault.kind for fault in self.faults)

    def again(self) -> str:
        """What to type for the same plan."""
        return f"make faults SEED={self.seed} PAIR={self.pair}" + (" SHORT=1" if self.short else "")


def plan_of(seed: int, pair: str, *, short: bool = False) -> Plan:
    """The plan of a seed. Pure."""
    load = Load(fed=7, imports=1, rate_hz=20.0, recorders=3) if short else Load(fed=13, imports=2, rate_hz=12.0, recorders=3)
    rng = random.Random(f"{seed}/{pair}/{'short' if short else 'full'}")
    wanted = [(kind, target) for (kind, target), count in sorted(quotas(pair, short).items()) for _ in range(count)]
    rng.shuffle(wanted)
    pause_s = (0.4, 1.6) if short else (1.0, 4.0)
    turns = itertools.count(rng.randrange(load.recorders))
    free_s: dict[str, float] = {}
    faults: list[Fault] = []
    at_s = path_free_s = BEGIN_S
    for kind, role in wanted:
        target = _target(rng, role, load, turns)
        at_s += rng.uniform(*pause_s)
        for_s = rng.uniform(*_lasts(kind, target))
        begin_s = max(at_s, free_s.get(target, 0.0))
        if target in PATH and for_s:
            if rng.random() >= BREATHLESS:
                begin_s = max(begin_s, path_free_s)
            path_free_s = max(path_free_s, begin_s + for_s + BREATH_S)
        free_s[target] = begin_s + for_s + APART_S
        faults.append(Fault(round(begin_s, 2), kind, target, round(for_s, 2)))
    return Plan(seed, pair, short, load, tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.target))))


def quotas(pair: str, short: bool) -> Quotas:
    """How many of each. A role that is no target by itself (``device``, ``recorder``) is drawn anew for each fault."""
    return dict(_SHORT | _SHORT_OF[pair] if short else _FULL | _FULL_OF[pair])


_FULL: Quotas = {
    ("kill", "udp-server"): 6, ("stop", "udp-server"): 4, ("restart", "udp-server"): 3,
    ("kill", "recorder"): 8, ("stop", "recorder"): 9, ("restart", "recorder"): 4,
    ("kill", "dispatcher"): 3, ("stop", "dispatcher"): 2, ("restart", "dispatcher"): 2,
    ("kill", "web"): 3, ("stop", "web"): 2, ("restart", "web"): 2,
    ("kill", "device"): 11, ("stop", "device"): 5, ("restart", "device"): 4, ("full", "outbox"): 5,
    ("cut", "network"): 5, ("storm", "network"): 6, ("rebind", "network"): 3,
    ("corrupt", "log"): 3, ("refused", "log"): 3, ("half-line", "csv"): 2,
}  # fmt: skip
_FULL_OF: dict[str, Quotas] = {
    EMBEDDED: {("full", "log"): 6, ("full", "database"): 4, ("locked", "database"): 5},
    KAFKA: {
        ("kill", "broker"): 5, ("stop", "broker"): 4, ("restart", "broker"): 3, ("full", "broker"): 2,
        ("kill", "database"): 5, ("stop", "database"): 4, ("restart", "database"): 3, ("read-only", "database"): 3,
    },
}  # fmt: skip
_SHORT: Quotas = {
    ("kill", "udp-server"): 1, ("kill", "recorder"): 1, ("stop", "recorder"): 1, ("kill", "dispatcher"): 1, ("kill", "web"): 1,
    ("kill", "device"): 2, ("stop", "device"): 1, ("full", "outbox"): 1, ("cut", "network"): 1, ("storm", "network"): 1,
    ("corrupt", "log"): 1, ("refused", "log"): 1,
}  # fmt: skip
_SHORT_OF: dict[str, Quotas] = {
    EMBEDDED: {("full", "log"): 1, ("full", "database"): 1, ("locked", "database"): 1, ("half-line", "csv"): 1},
    KAFKA: {("kill", "broker"): 1, ("kill", "database"): 1, ("read-only", "database"): 1},
}  # fmt: skip


def _target(rng: random.Random, role: str, load: Load, turns: Iterator[int]) -> str:
    """Recorders take turns, so that each has its share; others are drawn."""
    if role == "recorder":
        return f"recorder-{next(turns) % load.recorders + 1}"
    if role == "csv":
        return f"csv-{rng.randint(1, load.imports)}"
    if role == "outbox":
        return f"fed-{rng.randint(1, QUOTA_DEVICES)}"
    if role == "device":
        return rng.choice(load.devices)
    return role


def _lasts(kind: str, target: str) -> tuple[float, float]:
    return SILENT_S if kind == "stop" and target.startswith("recorder") else LASTS_S[kind]


QUOTA_DEVICES = 2
"""So many of the devices, the first ones, have their outbox on a disk of its own, which can be filled."""
