"""One run of a plan: the load, the faults at their times, the rest afterwards, and what came of it."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import apsw
import requests

from simway_testing import fault_fence
from simway_testing.fault_acts import Acts
from simway_testing.fault_checks import Sums, balanced, unnamed
from simway_testing.fault_device import Importing
from simway_testing.fault_evidence import found_of
from simway_testing.fault_house import House
from simway_testing.fault_input import DEVICE as BAD_INPUT_DEVICE
from simway_testing.fault_input import meet_newer_schema
from simway_testing.fault_plan import KAFKA, Fault
from simway_testing.waiting import wait_for

READY_WITHIN_S = 90.0
SENT_WITHIN_S = 240.0
STORED_WITHIN_S = 120.0
LEDGER_LOOK_S = 0.4
TEND_EVERY_S = 0.2
CALM_AFTER_S = 2.0
DEFERRED_S = 0.5
LATE_MAX_S = 0.5
STALE = "the right to write partitions"
"""What a recorder logs whose right was taken."""
COMPLAINTS_MAX = 40

Say = Callable[[str], None]


@dataclass
class Result:
    """What came of a run. ``ledgers_seen``: looks at a ledger under faults; ``settled_s``: until all was stored.

    ``moves``: of positions, each held against the right in its transaction; ``stale``: those by another than its holder;
    ``refused_stale``: how often a recorder found its right gone, and began anew.
    """

    sums: Sums = field(default_factory=Sums)
    faults: Counter[str] = field(default_factory=Counter)
    ledgers_seen: int = 0
    datagrams: Counter[str] = field(default_factory=Counter)
    settled_s: float = 0.0
    moves: int = 0
    stale: int = 0
    refused_stale: int = 0
    complaints: list[str] = field(default_factory=list)

    def all_complaints(self) -> list[str]:
        """Of the run and of the comparison."""
        return [*self.complaints, *self.sums.complaints][:COMPLAINTS_MAX]


class Run:
    """``go`` does all. ``say``: takes a line of progress."""

    def __init__(self, house: House, say: Say) -> None:
        self._house, self._say = house, say
        self.result = Result()
        self._acts = Acts(house)
        self._begun_s = 0.0
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._watch_ledgers, name="ledgers", daemon=True)

    def go(self) -> Result:
        """Starts the house, breaks it, lets it rest, compares. Raises ``AssertionError`` where it does not even come to rest."""
        house = self._house
        self._say(f"starting {house.plan.pair}: {len(house.plan.load.devices)} devices, {house.plan.load.recorders} recorders")
        house.start()
        house.api.enrol(BAD_INPUT_DEVICE)
        self._watch.start()
        try:
            self._break()
            self._settle()
            self._ending.set()
            self._watch.join()
            self._acts.bad_input.close()
            self._compare()
            self.result.complaints += meet_newer_schema(house, "recorder-1")
        finally:
            self._ending.set()
            self._acts.close()  # ends the threads that started servers, and so those servers
        return self.result

    # --- while faults are on -------------------------------------------------------------------------------------------

    def _break(self) -> None:
        """Faults begin in the plan's order and at its distances; an act that takes long moves all that come after it."""
        order, clock, self._begun_s = itertools.count(), _Clock(), time.monotonic()
        due = [(fault.at_s, next(order), True, fault) for fault in self._house.plan.faults]
        heapq.heapify(due)
        while due:
            at_s, _, begins, fault = heapq.heappop(due)
            self._tend_until(clock, at_s)
            if not begins:
                self._guarded(self._acts.end, fault)
                self._tend_while(lambda fault=fault: fault.target in self._acts.under_fault)
            elif fault.target in self._acts.under_fault:
                heapq.heappush(due, (at_s + DEFERRED_S, next(order), True, fault))
            else:
                self._tell(fault)
                self._guarded(self._acts.begin, fault)
                heapq.heappush(due, (at_s + fault.for_s, next(order), False, fault))
            clock.hold_at_most(at_s + LATE_MAX_S)
        self._tend_until(clock, clock.now_s() + CALM_AFTER_S)
        wait_for(lambda: not self._acts.under_fault, READY_WITHIN_S, lambda: f"undone: {self._acts.under_fault}")

    def _tell(self, fault: Fault) -> None:
        self.result.faults[f"{fault.kind} {_role(fault.target)}"] += 1
        number, count = self.result.faults.total(), len(self._house.plan.faults)
        wall_s = time.monotonic() - self._begun_s
        self._say(f"{number:>4}/{count} {wall_s:>6.1f} s  {self._house.acknowledged():>7} acknowledged  {fault}")

    def _guarded(self, act: Callable[[Fault], None], fault: Fault) -> None:
        try:
            act(fault)
        except AssertionError as error:
            self._complain(f"{fault}: {error}")

    def _tend_until(self, clock: _Clock, end_s: float) -> None:
        while (left_s := end_s - clock.now_s()) > 0:
            self._tend()
            time.sleep(min(left_s, TEND_EVERY_S))

    def _tend_while(self, condition: Callable[[], bool]) -> None:
        """A server comes back in its own time; what is on stays on meanwhile."""
        while condition():
            self._tend()
            time.sleep(TEND_EVERY_S)

    def _tend(self) -> None:
        """What a supervisor does: nothing, unless something ended that nobody ended, which is a complaint."""
        for name, process in self._house.processes.items():
            if name not in self._acts.under_fault and not process.running:
                self._complain(f"{name} ended by itself with status {process.returncode}:\n{process.tail()[-2500:]}")
                process.start()
        for name, device in self._house.devices.items():
            if name in self._acts.under_fault:
                continue
            device.tend()
            if not device.process.running and not isinstance(device, Importing):
                self._complain(
                    f"{name} ended by itself with status {device.process.returncode}:\n{device.process.tail()[-2500:]}"
                )
                device.start()

    def _watch_ledgers(self) -> None:
        """Looks at one ledger after the other: each must balance at every moment."""
        rng = random.Random(self._house.plan.key)
        while not self._ending.wait(LEDGER_LOOK_S):
            name = rng.choice(self._house.plan.load.devices)
            try:
                ledger = self._house.api.loss(name)
            except (requests.RequestException, AssertionError):
                continue
            self.result.ledgers_seen += 1
            if not balanced(ledger):
                self._complain(f"{name}: the ledger did not balance for a moment: {ledger}")

    # --- afterwards ----------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        house, begin_s = self._house, time.monotonic()
        self._say(f"all faults are over; {house.acknowledged()} acknowledged, waiting for the rest")
        house.stop_feeding()
        for device in house.devices.values():
            device.settle()
        for name, process in house.processes.items():
            wait_for(process.ready, READY_WITHIN_S, lambda name=name, process=process: f"{name} is ready:\n{process.tail()}")
        wait_for(self._acts.bad_input.settled, READY_WITHIN_S, "the log takes the bad input")
        wait_for(self._all_sent, SENT_WITHIN_S, lambda: f"empty outboxes: {self._waiting()}")
        for device in house.devices.values():
            device.process.stop()
        wait_for(self._all_stored, STORED_WITHIN_S, lambda: f"what was sent is stored, and bad input named: {self._behind()}")
        self.result.settled_s = time.monotonic() - begin_s
        self._say(f"at rest after {self.result.settled_s:.1f} s; comparing")

    def _all_sent(self) -> bool:
        self._tend_imports()
        return not self._waiting()

    def _tend_imports(self) -> None:
        for device in self._house.devices.values():
            device.tend()

    def _waiting(self) -> dict[str, int]:
        """By device: what it has still to send."""
        waiting: dict[str, int] = {}
        for name, device in self._house.devices.items():
            try:
                left = device.waiting() + device.unfinished()
            except apsw.Error:
                left = 1
            if left:
                waiting[name] = left
        return waiting

    def _all_stored(self) -> bool:
        """Looks at the store only when the ledgers are there, and not often: all of it is read."""
        if self._behind():
            time.sleep(TEND_EVERY_S)
            return False
        _, letters, strange = found_of(self._house)
        return not self._acts.bad_input.complaints(letters, strange)

    def _behind(self) -> dict[str, tuple[int, int, int]]:
        """By device: numbers given by its outbox, sent and missing by the ledger, where these disagree."""
        behind = {}
        for name, device in self._house.devices.items():
            ledger, highest = self._house.api.loss(name), device.highest()
            if ledger["sent"] != highest or ledger["missing"]:
                behind[name] = (highest, ledger["sent"], ledger["missing"])
        return behind

    def _compare(self) -> None:
        house, result = self._house, self.result
        result.complaints += self._acts.complaints
        found, letters, strange = found_of(house)
        for name, device in house.devices.items():
            result.sums.add(device.journal(), found[name])
            if isinstance(device, Importing):
                result.complaints += device.complaints
        result.complaints += self._acts.bad_input.complaints(letters, strange)
        known = {"corrupt_record", "refused_by_store", "too_old"}
        if others := Counter(letter.reason for letter in letters if letter.reason not in known):
            result.complaints.append(f"dead letters that nobody asked for: {dict(others)}")
        result.datagrams = house.proxy.counts
        logs = {name: process.log.read_text(errors="replace") for name, process in house.running_processes().items()}
        result.refused_stale = sum(text.count(STALE) for text in logs.values())
        result.complaints += unnamed(result.faults, logs)
        if house.plan.pair == KAFKA:
            moves, writes = fault_fence.seen(house.store_url)
            result.moves = len(moves)
            wrong = fault_fence.complaints(moves, writes)
            result.stale += len(wrong)
            result.complaints += wrong

    def _complain(self, words: str) -> None:
        self._say(f"BROKEN: {words}")
        self.result.complaints.append(words)


class _Clock:
    """Seconds of the plan, which stand still while something takes too long."""

    def __init__(self) -> None:
        self._begin_s = time.monotonic()

    def now_s(self) -> float:
        return time.monotonic() - self._begin_s

    def hold_at_most(self, at_s: float) -> None:
        """What is later than this by now did not pass."""
        self._begin_s = max(self._begin_s, time.monotonic() - at_s)


def _role(target: str) -> str:
    """``recorder`` of ``recorder-2``, ``device`` of ``fed-3``."""
    name = target.partition("-")[0] if target[-1].isdigit() else target
    return "device" if name in ("fed", "csv") else name
