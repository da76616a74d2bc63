"""The parent process: owns the sockets and the cookie secrets, starts the workers and restarts those that die, answers for all.

One socket a worker, made here before the first worker starts, all on one port: a worker that is restarted gets the same socket,
so no flow moves because of it and what came meanwhile waits in the socket's buffer. Workers are new interpreters, not forks: the
log's threads and clients do not survive a fork. With one worker it is the same: a parent and its child.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import structlog
from prometheus_client import Metric
from simway_backbone import metrics
from simway_backbone.service import Service, StartError
from simway_protocol.udp.timing import COOKIE_PERIOD_US

from simway_udp_server import control
from simway_udp_server.control import Orders
from simway_udp_server.counts import counter_of, gauge
from simway_udp_server.settings import Settings
from simway_udp_server.sockets import inode_of, kernel_drops, open_sockets
from simway_udp_server.totals import Totals

LOOP_S = 0.2
RESTART_MIN_S, RESTART_MAX_S = 0.2, 5.0
STABLE_AFTER_S = 10.0
SILENT_AFTER_S = 5.0
"""A worker reports once a second; one that does not for this long is stuck, or starved of the processor."""
STOP_DEADLINE_S = 8.0
_OF_PARENT = ("simway_ready", "simway_health_check")
"""Of Simway's metrics in this process those that it sets itself; the others are the workers'."""
CANNOT_START = 2
"""A worker's exit status when restarting it would not help."""

_log = structlog.get_logger("udp-server")


class _Slot:
    """One worker's place: its socket for good, its process for now."""

    def __init__(self, index: int, udp: socket.socket) -> None:
        self.index, self.udp = index, udp
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self.started_s = self.start_at_s = self.heard_s = 0.0
        self.backoff_s = RESTART_MIN_S


class Parent:
    """The body of the service, in its main thread."""

    def __init__(self, settings: Settings, service: Service, command: Sequence[str] = ()) -> None:
        """``command``: what a worker process is (default: this interpreter and package); index and descriptors are added."""
        self._settings, self._service = settings, service
        self._command = [*(command or (sys.executable, "-m", "simway_udp_server", "worker"))]
        self._periods: list[tuple[int, bytes, bytes]] = []
        self._totals = Totals()
        self._selector = selectors.DefaultSelector()
        self._slots: list[_Slot] = []
        self._inodes: list[int] = []
        self._ends = 0
        self.port = 0

    def run(self) -> None:
        """Serves until the service stops. Raises ``StartError`` or ``SettingError`` when it cannot start as it is set up."""
        self._settings.master_secret()
        sockets = open_sockets(self._settings.udp_host, self._settings.udp_port, self._settings.udp_workers)
        self.port = sockets[0].getsockname()[1]
        self._slots = [_Slot(index, udp) for index, udp in enumerate(sockets)]
        self._inodes = [inode_of(udp) for udp in sockets]
        self._service.health.metrics = self._metrics
        self._service.defer(self._close)
        self._new_period()
        for slot in self._slots:
            self._start(slot)
        _log.info("listening", udp=f"{self._settings.udp_host}:{self.port}", workers=len(self._slots))
        while not self._service.stopping.is_set():
            self._turn()

    def _turn(self) -> None:
        for key, _ in self._selector.select(LOOP_S):
            self._read(key.data)
        now_us = time.time_ns() // 1_000
        if not 0 <= now_us - self._periods[-1][0] < COOKIE_PERIOD_US:  # below 0: the clock was set back
            self._new_period()
        for slot in self._slots:
            if slot.process is None and time.monotonic() >= slot.start_at_s:
                self._start(slot)
            elif slot.process is not None and slot.process.poll() is not None:
                self._ended(slot, slot.process.returncode)
            elif slot.process is not None and time.monotonic() - slot.heard_s > SILENT_AFTER_S:
                self._service.health.set(_name(slot), f"silent for more than {SILENT_AFTER_S:g} s")

    def _new_period(self) -> None:
        """The secrets of the next 30 s; those of the last 30 s stay alive. They are never on a disk."""
        self._periods = [*self._periods[-1:], (time.time_ns() // 1_000, os.urandom(32), os.urandom(32))]
        for slot in self._slots:
            if slot.control is not None:
                control.send_orders(slot.control, Orders(self._periods))

    # --- workers -------------------------------------------------------------------------------------------------------------

    def _start(self, slot: _Slot) -> None:
        ours, theirs = control.make_pair()
        with theirs:
            fds = (slot.udp.fileno(), theirs.fileno())
            slot.process = subprocess.Popen(
                [*self._command, str(slot.index), *map(str, fds)], pass_fds=fds, stdin=subprocess.DEVNULL, process_group=0
            )
        slot.control = ours
        slot.started_s = slot.heard_s = time.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, slot)
        control.send_orders(ours, Orders(self._periods))
        self._service.health.set(_name(slot), "starting")

    def _read(self, slot: _Slot) -> None:
        if slot.control is None:
            return
        try:
            report = control.read_report(slot.control)
        except BlockingIOError:
            return
        if report is None:
            self._hang_up(slot)
            return
        slot.heard_s = time.monotonic()
        self._totals.update(slot.index, report.families)
        self._service.health.set(_name(slot), "; ".join(report.problems) or None)

    def _ended(self, slot: _Slot, status: int) -> None:
        """A worker died: its counts stay, its sessions will attach anew, and another takes its place."""
        self._drain(slot)
        slot.process = None
        if status == CANNOT_START:
            raise StartError(f"worker {slot.index} cannot start; its message is above")
        lived_s = time.monotonic() - slot.started_s
        slot.backoff_s = RESTART_MIN_S if lived_s > STABLE_AFTER_S else min(slot.backoff_s * 2, RESTART_MAX_S)
        slot.start_at_s = time.monotonic() + slot.backoff_s
        self._totals.end(slot.index)
        self._ends += 1
        self._service.health.set(_name(slot), f"ended with status {status}; starts again")
        _log.error("a worker ended", worker=slot.index, status=status, restart_in_s=slot.backoff_s)

    def _drain(self, slot: _Slot) -> None:
        while slot.control is not None:
            try:
                report = control.read_report(slot.control)
            except BlockingIOError:
                break
            if report is None:
                break
            self._totals.update(slot.index, report.families)
        self._hang_up(slot)

    def _hang_up(self, slot: _Slot) -> None:
        if slot.control is not None:
            self._selector.unregister(slot.control)
            slot.control.close()
            slot.control = None

    # --- health and end ------------------------------------------------------------------------------------------------------

    def _metrics(self) -> bytes:
        """Prometheus text: the workers' sums, the kernel's drops, and this process."""
        return metrics.exposition(lambda: [*self._totals.collect(), *self._own_families()])

    def _own_families(self) -> list[Metric]:
        heard = sum(slot.process is not None and time.monotonic() - slot.heard_s <= SILENT_AFTER_S for slot in self._slots)
        return [
            counter_of(metrics.KERNEL_DROPS, kernel_drops(self._inodes)),
            gauge(metrics.WORKERS, heard),
            counter_of(metrics.WORKER_ENDS, self._ends),
            *(one for one in metrics.families("udp-server") if not one.name.startswith("simway_") or one.name in _OF_PARENT),
        ]

    def _close(self) -> None:
        """Tells the workers to end by hanging up, and kills those that do not."""
        for slot in self._slots:
            if slot.control is not None:
                slot.control.shutdown(socket.SHUT_WR)
        end_s = time.monotonic() + STOP_DEADLINE_S
        for slot in self._slots:
            if slot.process is not None:
                self._await_end(slot, slot.process, max(0.1, end_s - time.monotonic()))
            slot.udp.close()
        self._selector.close()

    def _await_end(self, slot: _Slot, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _log.error("a worker did not end", worker=slot.index)
            process.kill()
            process.wait()
        self._drain(slot)


def _name(slot: _Slot) -> str:
    return f"worker {slot.index}"
