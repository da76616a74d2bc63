"""What each kind of fault does, and how it is undone: two functions a kind. Nothing here heals more than was broken."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

import apsw
import psutil
import psycopg
from sqlalchemy import make_url

from simway_testing.fault_device import Importing
from simway_testing.fault_house import House, send
from simway_testing.fault_input import BadInput
from simway_testing.fault_plan import Fault
from simway_testing.fault_proxy import Proxy
from simway_testing.fault_weather import CALM, CUT, storm
from simway_testing.pairs import Server

LOCK_WITHIN_S = 20.0


class Acts:
    """Begins and ends faults in a house. ``under_fault``: the targets that are broken now, and are left alone by supervision."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rng = random.Random(f"acts/{house.plan.key}")
        self._lock: apsw.Connection | None = None
        self.bad_input = BadInput(house)
        self.under_fault: set[str] = set()
        self.complaints: list[str] = []
        self._servers = ThreadPoolExecutor(len(house.servers) or 1)
        """Its threads live as long as the run: a server ends with the thread that started it."""

    def begin(self, fault: Fault) -> None:
        """Breaks it. Raises ``AssertionError`` where something does not even break as it should."""
        self.under_fault.add(fault.target)
        if device := self._house.devices.get(fault.target):
            device.wake()
        begin, _ = self._of(fault)
        begin(fault)

    def end(self, fault: Fault) -> None:
        """Undoes it, as a supervisor, an operator with a full disk, or time would. A server comes back in a thread of its own."""
        _, end = self._of(fault)
        if fault.target in self._house.servers:
            self._servers.submit(self._end, end, fault).add_done_callback(self._note)
        else:
            self._end(end, fault)

    def _note(self, future: Future[None]) -> None:
        if error := future.exception():
            self.complaints.append(f"a server did not come back: {error}")

    def _end(self, end: Callable[[Fault], None], fault: Fault) -> None:
        try:
            end(fault)
        finally:
            self.under_fault.discard(fault.target)

    def close(self) -> None:
        """Undoes what may still be on."""
        self.bad_input.close()
        self._servers.shutdown(cancel_futures=True)
        self._unlock()
        for disk in self._house.disks.values():
            with suppress(OSError):
                disk.free()

    def _of(self, fault: Fault) -> tuple[Callable[[Fault], None], Callable[[Fault], None]]:
        if fault.target in self._house.servers:
            return self._on_server(fault.kind)
        return {
            "kill": (self._kill, self._start), "restart": (self._stop, self._start), "stop": (self._halt, self._go_on),
            "full": (self._fill, self._free), "locked": (self._take_lock, lambda _: self._unlock()),
            "cut": (lambda _: self._set_weather(cut=True), lambda _: self._calm()),
            "storm": (lambda _: self._set_weather(cut=False), lambda _: self._calm()),
            "rebind": (lambda _: self._proxy.rebind(), _nothing),
            "corrupt": (lambda _: self.bad_input.add_corrupt(), _nothing),
            "refused": (lambda _: self.bad_input.add_refused(), _nothing),
            "half-line": (self._halve, _nothing),
        }[fault.kind]  # fmt: skip

    def _on_server(self, kind: str) -> tuple[Callable[[Fault], None], Callable[[Fault], None]]:
        return {
            "kill": (lambda fault: self._server(fault).kill(), lambda fault: self._server(fault).start()),
            "restart": (lambda fault: self._server(fault).close(), lambda fault: self._server(fault).start()),
            "stop": (lambda fault: send(self._server(fault).process.pid, signal.SIGSTOP),
                     lambda fault: send(self._server(fault).process.pid, signal.SIGCONT)),
            "full": (self._fill, self._free_server),
            "read-only": (lambda _: self._refuse_writes(True), lambda _: self._refuse_writes(False)),
        }[kind]  # fmt: skip

    @property
    def _proxy(self) -> Proxy:
        return self._house.proxy

    def _server(self, fault: Fault) -> Server:
        return self._house.servers[fault.target]

    # --- processes -----------------------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        with suppress(psutil.NoSuchProcess):  # an import that was done just then
            self._house.running_processes()[fault.target].kill()

    def _stop(self, fault: Fault) -> None:
        process = self._house.running_processes()[fault.target]
        process.stop()

    def _start(self, fault: Fault) -> None:
        device = self._house.devices.get(fault.target)
        (device or self._house.processes[fault.target]).start()

    def _halt(self, fault: Fault) -> None:
        send(self._house.running_processes()[fault.target].pid, signal.SIGSTOP)

    def _go_on(self, fault: Fault) -> None:
        send(self._house.running_processes()[fault.target].pid, signal.SIGCONT)

    # --- disks and databases -------------------------------------------------------------------------------------------

    def _fill(self, fault: Fault) -> None:
        """Write-ahead logs give up the room that they would else write over, so that the next commit needs some."""
        disk = self._house.disks[fault.target]
        for path in disk.folder.glob("*.db"):
            with suppress(apsw.Error), closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
                connection.set_busy_timeout(1000)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        disk.fill()

    def _free(self, fault: Fault) -> None:
        self._house.disks[fault.target].free()

    def _free_server(self, fault: Fault) -> None:
        """A broker whose disk is full ends itself: it is started again, as its supervisor would."""
        self._free(fault)
        self._server(fault).kill()
        self._server(fault).start()

    def _refuse_writes(self, refuse: bool) -> None:
        """Every transaction that begins from now on is read-only, or no longer."""
        url = make_url(self._house.store_url).render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if refuse else 'off'}")  # type: ignore[arg-type]
            connection.execute("SELECT pg_reload_conf()")

    def _take_lock(self, _fault: Fault) -> None:
        """Another process writes, and does not come to an end."""
        path = self._house.store_url.removeprefix("sqlite:///")
        self._lock = apsw.Connection(path)
        self._lock.set_busy_timeout(int(LOCK_WITHIN_S * 1000))
        self._lock.execute("BEGIN IMMEDIATE")

    def _unlock(self) -> None:
        if self._lock is not None:
            with closing(self._lock):
                self._lock.execute("ROLLBACK")
            self._lock = None

    # --- network and input ---------------------------------------------------------------------------------------------

    def _set_weather(self, *, cut: bool) -> None:
        self._proxy.weather = CUT if cut else storm(self._rng)

    def _calm(self) -> None:
        self._proxy.weather = CALM

    def _halve(self, fault: Fault) -> None:
        device = self._house.devices[fault.target]
        assert isinstance(device, Importing)
        device.halve()


def _nothing(_fault: Fault) -> None:
    """It was over at once."""
