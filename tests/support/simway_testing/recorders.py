"""Several recorders on one log and one store, as processes and as threads, and uplinks for them on every partition."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from pathlib import Path

import apsw
from simway_backbone import open_log, sqlite
from simway_flask_app.recorder import TOPIC, Recorder
from simway_flask_app.rights import Right, WriterKey
from simway_flask_app.store.sql import open_store
from simway_protocol.identity import partition_of
from simway_protocol.messages import Uplink, UplinkBatch, encode
from simway_protocol.readings import Reading

from simway_testing.platform import Process
from simway_testing.ports import free_port
from simway_testing.stores import EPOCH, T0_US
from simway_testing.waiting import wait_for

SESSION_S = 6
PARTITIONS = frozenset(range(24))
WAIT_S = 90.0
POOL = 25


def device_of(partition: int) -> str:
    """A new device whose uplinks go to this partition."""
    house = uuid.uuid4().hex
    return next(name for number in itertools.count() if partition_of(name := f"{house}-{number}") == partition)


class RecorderProcess:
    """A recorder as it runs anywhere, which can be stopped as SIGSTOP does."""

    def __init__(self, house: House, name: str) -> None:
        port = free_port()
        settings = {
            "LOG_URL": house.log_url, "STORE_URL": house.store_url, "RECORDER_METRICS_PORT": str(port),
            "GROUP_SESSION_TIMEOUT_S": str(SESSION_S), "RAW_RETENTION_DAYS": "3650",
        }  # fmt: skip
        command = "exec python -m simway_flask_app recorder"
        self.house = house
        self.process = Process(name, command, settings, house.folder / f"{name}.log", f"http://127.0.0.1:{port}/health/ready")
        self.process.start()

    @property
    def rights(self) -> dict[int, Right]:
        """What is in its name, by partition."""
        return self.house.rights(lambda pid: pid == self.process.pid)

    def freeze(self) -> None:
        """Stops it; where the log or the store is in SQLite, not while it holds their locks: nobody could go on."""
        for _ in range(200):
            os.kill(self.process.pid, signal.SIGSTOP)
            if not any(is_locked(path) for path in self.house.sqlite_files()):
                return
            self.wake()
        raise AssertionError("it is always amid a transaction")

    def wake(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        if self.process.running:
            self.wake()
        self.process.stop()


class House:
    """A log, a store, and the recorders between them; all end with ``close``."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.folder, self.store_url, self.log_url = folder, store_url, f"sqlite:///{folder / 'log'}"
        self._stack = ExitStack()
        self.store = open_store(store_url, pool_size=POOL)
        self._stack.callback(self.store.close)
        self.store.migrate()
        self.log = open_log(self.log_url, client_id="house")
        self._stack.callback(self.log.close)
        self.log.ensure_topics()
        self.devices = {partition: device_of(partition) for partition in PARTITIONS}
        self.sent = dict.fromkeys(PARTITIONS, 0)
        self._stopping, self._threads = threading.Event(), list[threading.Thread]()
        self._stack.callback(self._join_threads)

    def close(self) -> None:
        self._stack.close()

    def sqlite_files(self) -> list[Path]:
        files = [self.folder / "log" / "groups.db"]
        return [*files, Path(self.store_url.removeprefix("sqlite:///"))] if self.store.is_sqlite else files

    def process(self, name: str) -> RecorderProcess:
        made = RecorderProcess(self, name)
        self._stack.callback(made.end)
        return made

    def thread(self) -> Recorder:
        recorder = Recorder(
            self.log, self.store.uplink_writer(), self.store.write_rights(WriterKey.make()), stopping=self._stopping,
            session_timeout_s=SESSION_S,
        )  # fmt: skip
        self._threads.append(threading.Thread(target=recorder.run, daemon=True))
        self._threads[-1].start()
        return recorder

    def rights(self, of: Callable[[int], bool]) -> dict[int, Right]:
        """By partition, of the writers whose process id suits."""
        states = [state for state in self.store.writers() if of(state.pid)]
        return {right.partition: right for state in states for right in state.rights}

    def send(self, partitions: Iterable[int] = PARTITIONS) -> None:
        """One reading into each partition."""
        appended = []
        for partition in partitions:
            self.sent[partition] += 1
            seq = self.sent[partition]
            uplink = Uplink(self.devices[partition], "udp", T0_US, EPOCH, seq, [Reading("t", T0_US + seq, float(seq))])
            appended.append(self.log.append(TOPIC, partition, [(None, encode(UplinkBatch([uplink])))]))
        for future in appended:
            future.result(WAIT_S)

    def await_stored(self, partitions: Collection[int] = PARTITIONS) -> None:
        """Until all that was sent into ``partitions`` up to now is in the store."""
        sent, missing = dict(self.sent), dict[int, int]()

        def complete() -> bool:
            missing.clear()
            missing.update({p: n for p in partitions if (n := sent[p] - self._stored(p)) > 0})
            return not missing

        wait_for(complete, WAIT_S, lambda: f"everything stored; missing by partition: {missing}")

    def assert_each_once(self) -> None:
        """Each reading is in the store once, and none was ever handed to it twice."""
        for partition, device in self.devices.items():
            sent = self.sent[partition]
            if sent:
                ledger = self.store.loss_ledger(device)
                counted = (ledger.sent, ledger.stored, ledger.duplicate, ledger.missing, ledger.redelivered)
                assert counted == (sent, sent, 0, 0, 0), device
                values = [reading.value for reading in self.store.readings(device, limit=5_000).readings]
                assert values == [float(seq) for seq in range(1, sent + 1)]

    def _join_threads(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def _stored(self, partition: int) -> int:
        return self.store.loss_ledger(self.devices[partition]).stored


def is_locked(path: Path) -> bool:
    """True when somebody is amid a writing transaction on an SQLite file."""
    db = sqlite.connect(path, create=False, busy_timeout_s=0.2)
    try:
        with sqlite.immediate(db):
            return False
    except apsw.BusyError:
        return True
    finally:
        db.close()
