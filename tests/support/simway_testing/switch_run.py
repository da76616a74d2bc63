"""One carrier switch with something going wrong, from its seed; and what must be true of it afterwards, whatever went wrong."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simway_flask_app.store.port import Command, HistoryRow
from simway_modem_client import link as link_module
from simway_modem_client.journal import CommandRecord
from simway_modem_client.outbox import Outbox
from simway_protocol.identity import derive_device_key
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.faults import NO_FAULTS, Faults, Trouble
from simway_virtual_sim.radio import VirtualRadio
from simway_virtual_sim.radio_coverage import Carrier, Coverage, Flapping

from simway_testing.switch_device import CardMemory, CardSlot, Device, Fuse, PowerCut, SimulatedTime, server_socket
from simway_testing.switch_platform import MASTER, Killed, Platform

START_US = 1_790_000_000_000_000
DEADLINE_S = 30
RTT_HALF_US = 20_000
PATIENCE_S = 3_600.0
OUTBOX_POLL_S = 1.0
"""The simulated clock need not stop four times a second for readings that never come."""

COVERAGES = {
    "good": Carrier(),
    "none": Carrier(coverage="none"),
    "no_data": Carrier(coverage="no_data"),
    "denied": Carrier(coverage="denied"),
    "flapping": Carrier(flapping=Flapping(period_s=9, up_s=4)),
    "slow": Carrier(attach_delay_s=12),
    "lossy": Carrier(loss=0.3),
}
OVER = ("VERIFIED", "ROLLED_BACK", "FAILED", "CANCELLED", "EXPIRED", "UNKNOWN")
NEVER = frozenset({"none", "no_data", "denied"})
"""Over these the server cannot be reached, so no switch to them is ever verified."""
FAULTS = {
    "no": NO_FAULTS,
    "response_lost": Faults(lose_response_after_enable=1),
    "cat_busy": Faults(cat_busy_times=2),
    "cat_busy_for_ever": Faults(cat_busy_times=10_000),
    "iccid_refused": Faults(refuse_iccid=True),
    "refresh_refused": Faults(refuse_refresh=True),
    "no_reset": Faults(no_reset_after_refresh=True),
    "slow": Faults(slow_ms=300),
    "card_cut_before_write": Faults(power_cut_before_write=1),
    "card_cut_after_write": Faults(power_cut_after_write=1),
    "pulled_early": Faults(pull_after_apdus=95, pulled_ms=9_000),
    "pulled": Faults(pull_after_apdus=125, pulled_ms=9_000),
    "pulled_for_long": Faults(pull_after_apdus=125, pulled_ms=50_000),
}


@dataclass(frozen=True)
class Plan:
    """What goes wrong. ``cuts``: at which step, counted from the last start, the device's power fails, in turn.

    ``kill``: at which step the platform is killed, 0 for never. ``card_keeps_power``: only the program dies.
    """

    seed: int
    coverage: str
    fault: str = "no"
    cuts: tuple[int, ...] = ()
    kill: int = 0
    card_keeps_power: bool = False
    counts_writes: bool = False
    """The cuts count writes only, of journal and card memory."""
    dispatches_singly: bool = False
    """The dispatcher gets to read one event at a time, as it does when they come a little apart."""
    previous_dies: bool = False
    """Once the card shows another profile the previous carrier has no coverage any more."""

    def __str__(self) -> str:
        counted = "write" if self.counts_writes else "step"
        shown = [f"coverage {self.coverage}", f"fault {self.fault}", *(f"power cut at {counted} {at}" for at in self.cuts)]
        shown += [f"platform killed at step {self.kill}"] * bool(self.kill) + ["the card keeps its power"] * self.card_keeps_power
        shown += ["events come one by one"] * self.dispatches_singly + ["the previous carrier dies"] * self.previous_dies
        return ", ".join(shown)


@dataclass
class Ended:
    """How it went. ``enabled``: the profiles in the order in which they were; ``where``: what the power cuts hit.

    ``steps``: of the device, since its last start; ``platform_steps``: of the platform.
    """

    plan: Plan
    previous: str
    target: str
    target_plmn: str
    fallback: str
    active: str
    enabled: list[str]
    state: Command
    history: list[HistoryRow]
    inventory_active: str
    journal: CommandRecord | None
    journal_is_open: bool
    where: list[str]
    steps: int
    platform_steps: int


class Stuck(Exception):
    """It does not end."""


class House:
    """What many runs share: the platform, an outbox without readings, a folder in memory."""

    def __init__(self) -> None:
        fast = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="simway-switch-", dir=fast if fast.is_dir() else None))
        self.socket = server_socket()
        self.platform = Platform(self.folder, self.socket)
        self.outbox = Outbox(self.folder / "outbox.db")
        self.runs = 0
        link_module.OUTBOX_POLL_S = OUTBOX_POLL_S

    def run(self, plan: Plan) -> Ended:
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        folder.mkdir()
        try:
            return Run(self, plan, folder, f"device-{self.runs}").whole()
        finally:
            shutil.rmtree(folder)

    def close(self) -> None:
        self.platform.close()
        self.outbox.close()
        self.socket.close()
        shutil.rmtree(self.folder)


class Run:
    """One device and one switch."""

    def __init__(self, house: House, plan: Plan, folder: Path, name: str) -> None:
        self.plan, self.platform, self.name = plan, house.platform, name
        self.random = random.Random(plan.seed)
        self.now_us = START_US + house.runs * 1_000_000_000_000
        SimulatedTime(lambda: self.now_us).use()
        self.fuse = Fuse(only_writes=plan.counts_writes)
        self.where: list[str] = []
        self.memory = CardMemory(new_card(self.random.randbytes), derive_device_key(MASTER, name, 1), self.fuse)
        state = self.memory.state
        self.previous, target = state.enabled, state.profiles[1]
        self.target, self.plmn, self.fallback = target.iccid, target.imsi[:5], state.profiles[2].iccid
        carriers = {self.target: COVERAGES[plan.coverage]}
        self.coverage = Coverage(carriers=carriers, seed=plan.seed)
        self.later_coverage = Coverage(carriers=carriers | {self.previous: COVERAGES["none"]}, seed=plan.seed)
        trouble = Trouble(FAULTS[plan.fault], sleep=self.sleep, clock_s=lambda: self.now_us / 1e6)
        slot = CardSlot(self.memory, trouble, cycles_power=not plan.card_keeps_power)
        self.device = Device(
            name, folder, house.socket.getsockname(), house.outbox, slot, self.fuse, self._radio, lambda: self.now_us, self.sleep,
            self.random,
        )  # fmt: skip

    def whole(self) -> Ended:
        self.platform.begin(self.name, lambda: self.now_us, self.random, singly=self.plan.dispatches_singly)
        self.device.boot()
        try:
            self.until(lambda: self.device.journal.reported_inventory, 60)
            command = self.platform.switch(self.name, self.target, DEADLINE_S)
            self._arm(0)
            self.platform.passed, self.platform.kill_at = 0, self.plan.kill
            self.until(lambda: self._is_over(command), PATIENCE_S)
            self.fuse.armed = False
            return self._ended(command)
        finally:
            self.fuse.armed = False
            if self.device.is_on:
                self.device.off(card_too=True)

    def until(self, is_over: Callable[[], object], within_s: float) -> None:
        end_us = self.now_us + int(within_s * 1e6)
        while not is_over():
            if self.now_us > end_us:
                raise Stuck(f"not over after {within_s:g} s: {self.device.link.state}, {self.where}")
            self._round()

    def sleep(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)

    # --- inside ----------------------------------------------------------------------------------------------------------

    def _radio(self) -> VirtualRadio:
        return VirtualRadio(self._coverage, clock_s=lambda: self.now_us / 1e6, rng=random.Random(self.plan.seed))

    def _coverage(self) -> Coverage:
        return self.later_coverage if self.plan.previous_dies and len(self.memory.enabled) > 1 else self.coverage

    def _arm(self, cut: int) -> None:
        self.fuse.at = self.plan.cuts[cut] if cut < len(self.plan.cuts) else 0
        self.fuse.passed, self.fuse.armed = 0, True

    def _round(self) -> None:
        """Everybody works once; then the clock goes on to whatever comes next."""
        moved = self._powered(self.device.work)
        moved |= self._served()
        moved |= self._powered(self.device.hear)
        if moved:
            self.now_us += RTT_HALF_US
            return
        wait_us = int(self.device.link.next_wait_s() * 1e6)
        next_us = self.platform.next_us()
        if next_us is not None:
            wait_us = min(wait_us, next_us - self.now_us)
        self.now_us += max(wait_us, 1_000)

    def _served(self) -> bool:
        try:
            return self.platform.work()
        except Killed:
            self.where.append("platform killed")
            self.sleep(self.random.choice((0.1, 2.0, 8.0)))
            self.platform.start()
            return True

    def _powered(self, work: Callable[[], bool]) -> bool:
        try:
            return work()
        except PowerCut as cut:
            self._lose_power(cut)
            return True

    def _lose_power(self, cut: PowerCut) -> None:
        while True:
            self.where.append(str(cut))
            self.device.off(card_too=not self.plan.card_keeps_power)
            self.sleep(self.random.choice((0.2, 3.0, 40.0, 200.0)))
            self._arm(len(self.where))
            try:
                return self.device.boot()
            except PowerCut as again:
                cut = again

    def _is_over(self, command: Command) -> bool:
        journal = self.device.journal
        if journal.open_switch() is not None or journal.unsettled() or not self.device.link.endpoint.attached:
            return False
        if self.platform.state(self.name, command).state not in OVER:
            return False
        return self._inventory_active() == self.memory.state.enabled

    def _inventory_active(self) -> str:
        known = self.platform.store.device(self.name).inventory
        return known.active_iccid if known is not None else ""

    def _ended(self, command: Command) -> Ended:
        journal = self.device.journal
        return Ended(
            self.plan, self.previous, self.target, self.plmn, self.fallback, self.memory.state.enabled, self.memory.enabled,
            self.platform.state(self.name, command), self.platform.history(command), self._inventory_active(),
            journal.command(bytes.fromhex(command.command_id)), journal.open_switch() is not None, self.where, self.fuse.passed,
            self.platform.passed,
        )  # fmt: skip
