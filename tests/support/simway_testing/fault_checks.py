"""Whether anything was lost: devices' own records, the store and the ledger, held against each other. Pure.

An acknowledgement is what the device's own outbox journaled. Of every reading that it journaled as logged, the row with its time
and value must be in the store, once; rollups must say what the rows say; the ledger must balance and agree with both sides.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simway_testing.rollups import Window

Range = tuple[int, int, str]
NAMED_MAX = 5
"""So many of a kind are named one by one."""


class Left(NamedTuple):
    """A reading that left an outbox."""

    sensor: str
    t_us: int
    value: Any
    unit: str | None


class Stored(NamedTuple):
    """A row of the store. ``num``: None where the value is no number."""

    sensor: str
    t_us: int
    value: Any
    unit: str | None
    num: float | None


NAMES = {
    "full device": ("fed-", r"outbox cannot be written.*(full|I/O)"),
    "full log": ("", r"log.*(is full|I/O error)"),
    "full database": ("recorder-", r"store.*(full|I/O error)"),
    "full broker": ("", r"Kafka at .* does not answer"),
    "kill broker": ("", r"Kafka at .* does not answer"),
    "kill database": ("recorder-", r"store is away.*database is not usable"),
    "locked database": ("recorder-", r"store is away.*locked"),
    "read-only database": ("recorder-", r"store is away.*read-only"),
}
"""What must be named by whom, by fault and role: the beginning of the process's name, and how it says so."""
SURELY_MET = 3
"""So often a fault is injected before nobody can have slept through all of them."""


def unnamed(faults: Mapping[str, int], logs: Mapping[str, str]) -> list[str]:
    """Faults that no process spoke of. ``logs``: the output of each, by name."""
    return [
        f"{count} times {fault}, and nobody says {pattern!r}"
        for fault, count in sorted(faults.items())
        if count >= SURELY_MET and fault in NAMES
        for begin, pattern in [NAMES[fault]]
        if not any(re.search(pattern, text) for name, text in logs.items() if name.startswith(begin))
    ]


@dataclass(frozen=True)
class Journal:
    """What a device recorded: ``highest`` number given, ranges by outcome, the readings that left, by number, and the numbers in
    its own file of dead letters.
    """

    device: str
    epoch: str
    highest: int
    ranges: Sequence[Range]
    left: Mapping[int, Left]
    buried: frozenset[int] = frozenset()

    def numbers(self, outcome: str) -> Iterable[int]:
        """All numbers that were acknowledged so."""
        return (number for first, last, told in self.ranges if told == outcome for number in range(first, last + 1))


@dataclass(frozen=True)
class Found:
    """What the platform has of a device. ``rollups``: by bucket length in us, then by (sensor, bucket start)."""

    rows: Sequence[Stored]
    ledger: Mapping[str, Any]
    rollups: Mapping[int, Mapping[tuple[str, int], Window]] = field(default_factory=dict)


@dataclass
class Sums:
    """Over all devices, in readings."""

    devices: int = 0
    acknowledged: int = 0
    stored: int = 0
    lost: int = 0
    twice: int = 0
    dropped: int = 0
    rejected: int = 0
    duplicate: int = 0
    buckets: int = 0
    unbalanced: int = 0
    complaints: list[str] = field(default_factory=list)

    def add(self, journal: Journal, found: Found) -> None:
        """Holds one device's record against what the platform has."""
        self.devices += 1
        self.stored += len(found.rows)
        self.buckets += sum(map(len, found.rollups.values()))
        self._compare_rows(journal, found)
        self._compare_rollups(journal.device, found)
        wrong = ledger_complaints(journal, found)
        self.unbalanced += bool(wrong)
        self.complaints += [f"{journal.device}: {words}" for words in wrong]

    def _compare_rows(self, journal: Journal, found: Found) -> None:
        held = {(row.sensor, row.t_us): (row.value, row.unit) for row in found.rows}
        numbers = list(journal.numbers("logged"))
        gone = [journal.left[number] for number in journal.numbers("dropped") if number in journal.left]
        self.acknowledged += len(numbers)
        self.dropped += len(gone)
        self.rejected += len(list(journal.numbers("rejected")))
        self.duplicate += int(found.ledger["duplicate"])
        sent = [journal.left.get(number) for number in numbers]
        lost = [number for number, left in zip(numbers, sent, strict=True) if left is None or not _holds(held, left)]
        self.lost += len(lost)
        if lost:
            self.complaints.append(
                f"{journal.device}: {len(lost)} acknowledged readings are not in the store: "
                + ", ".join(f"{number} {journal.left.get(number)}" for number in lost[:NAMED_MAX])
            )
        twice = Counter((row.sensor, row.value) for row in found.rows if row.sensor.startswith("n/"))
        again = {key: times for key, times in twice.items() if times > 1}
        made = {(left.sensor, left.t_us) for left in (*filter(None, sent), *gone)}
        unknown = [row for row in found.rows if (row.sensor, row.t_us) not in made]
        self.twice += sum(times - 1 for times in again.values()) + len(unknown)
        if again:
            self.complaints.append(f"{journal.device}: stored more than once: {dict(list(again.items())[:NAMED_MAX])}")
        if unknown:
            self.complaints.append(f"{journal.device}: {len(unknown)} rows that it never sent: {unknown[:NAMED_MAX]}")

    def _compare_rollups(self, device: str, found: Found) -> None:
        wrong = [words for length_us, told in found.rollups.items() for words in rollup_complaints(found.rows, told, length_us)]
        if wrong:
            self.complaints.append(
                f"{device}: {len(wrong)} buckets say otherwise than their rows: {'; '.join(wrong[:NAMED_MAX])}"
            )


def _holds(held: Mapping[tuple[str, int], tuple[Any, str | None]], left: Left) -> bool:
    value, unit = held.get((left.sensor, left.t_us), (None, None))
    return value == left.value and unit == left.unit


def ledger_complaints(journal: Journal, found: Found) -> list[str]:
    """What the ledger of a device that rests says otherwise than its own balance, its outbox or the store."""
    ledger, wrong = found.ledger, []
    if not balanced(ledger):
        wrong.append(f"the ledger does not balance: {_short(ledger)}")
    dropped = len(list(journal.numbers("dropped")))
    logged = len(list(journal.numbers("logged")))
    rejected = len(list(journal.numbers("rejected")))
    for words, told, known in (
        ("missing in the ledger", ledger["missing"], 0),
        ("sent by the ledger, numbers given by the outbox", ledger["sent"], journal.highest),
        ("acknowledged, dropped and rejected by the outbox, numbers given", logged + dropped + rejected, journal.highest),
        ("stored by the ledger, rows in the store", ledger["stored"], len(found.rows)),
        ("conflicts in the ledger", ledger["conflict"], 0),
    ):
        if told != known:
            wrong.append(f"{words}: {told} and {known}")
    if unburied := set(journal.numbers("rejected")) - journal.buried:
        wrong.append(f"rejected, but not in its own dead letters: {sorted(unburied)[:NAMED_MAX]}")
    stored, refused = ledger["stored"] + ledger["duplicate"] - logged, sum(ledger["rejected"].values()) - rejected
    if min(stored, refused) < 0 or ledger["dropped"] != dropped - stored - refused:
        wrong.append(
            f"dropped: {ledger['dropped']} by the ledger; {dropped} by the outbox, of which arrived all the same: {stored} that "
            f"were stored, {refused} that were rejected"
        )
    return wrong


def balanced(ledger: Mapping[str, Any]) -> bool:
    """Whether everything sent is accounted for."""
    booked = sum(int(ledger[name]) for name in ("stored", "duplicate", "conflict", "dropped", "missing"))
    return int(ledger["sent"]) == booked + sum(ledger["rejected"].values())


def _short(ledger: Mapping[str, Any]) -> dict[str, Any]:
    return {name: ledger[name] for name in ("sent", "stored", "duplicate", "conflict", "rejected", "dropped", "missing")}


def recompute(rows: Iterable[Stored], length_us: int) -> dict[tuple[str, int], list[Stored]]:
    """The numeric rows of each bucket, in order of time."""
    buckets: defaultdict[tuple[str, int], list[Stored]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.t_us):
        if row.num is not None:
            buckets[(row.sensor, row.t_us - row.t_us % length_us)].append(row)
    return buckets


def rollup_complaints(rows: Sequence[Stored], told: Mapping[tuple[str, int], Window], length_us: int) -> list[str]:
    """Where a rollup says otherwise than its rows."""
    known, name = recompute(rows, length_us), f"rollup of {length_us // 1_000_000} s"
    wrong = [f"{name}: {key} is {'missing' if key in known else 'there without rows'}" for key in known.keys() ^ told.keys()]
    wrong += [
        f"{name}: {key} says {told[key]}, its {len(known[key])} rows say otherwise"
        for key in known.keys() & told.keys()
        if not _says(told[key], known[key])
    ]
    return wrong


def _says(bucket: Window, rows: Sequence[Stored]) -> bool:
    numbers = {row.t_us: float(row.num) for row in rows if row.num is not None}
    values = list(numbers.values())
    return (
        bucket.count == len(rows)
        and math.isclose(bucket.sum, math.fsum(values), rel_tol=1e-9, abs_tol=1e-6)
        and (bucket.min, bucket.max) == (min(values), max(values))
        and (numbers.get(bucket.min_us), numbers.get(bucket.max_us)) == (bucket.min, bucket.max)
        and (bucket.first, bucket.first_us) == (values[0], rows[0].t_us)
        and (bucket.last, bucket.last_us) == (values[-1], rows[-1].t_us)
    )
