"""A modem client that is fed numbered readings on standard input, and what its own outbox says became of them."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from simway_testing.platform import Front, Process
from simway_testing.waiting import wait_for

SENSOR = "n"
PAUSE_S = 0.02
LINES_A_PAUSE = 4


class FedModem:
    """A device whose source is ``stdin``; a thread writes some 200 readings a second: 1, 2, 3, ... each with its own time."""

    def __init__(self, front: Front, device: str, **settings: str) -> None:
        self.device, self.api = device, front.api
        self.process: Process = front.modem(device, front.api.enrol(device), SOURCE="stdin", **settings)
        self.outbox = Path(self.process.settings["MODEM_DIR"]) / "outbox.db"
        self.fed = 0
        self._feeding = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the client (again) and goes on feeding where the last one was left."""
        read_end, write_end = os.pipe()
        try:
            self.process.start(stdin=read_end)
        finally:
            os.close(read_end)
        self._feeding.set()
        self._thread = threading.Thread(target=self._feed, args=(write_end,), daemon=True)
        self._thread.start()

    def kill(self) -> None:
        self.process.kill()
        self._end_feed()

    def rest(self) -> None:
        """Feeds no more; the client goes on to send what waits, without end of input."""
        self._feeding.clear()

    def _end_feed(self) -> None:
        self._feeding.clear()
        if self._thread is not None:
            self._thread.join()

    def _feed(self, write_end: int) -> None:
        with open(write_end, "wb", buffering=0) as pipe:
            while self.process.running:
                try:
                    if self._feeding.is_set():
                        pipe.write(self._lines())
                except BrokenPipeError:
                    return
                time.sleep(PAUSE_S)

    def _lines(self) -> bytes:
        lines = []
        for _ in range(LINES_A_PAUSE):
            self.fed += 1
            lines.append(json.dumps({"sensor_id": SENSOR, "timestamp": time.time_ns() // 1000, "value": self.fed}))
        return ("\n".join(lines) + "\n").encode()

    # --- what the device itself knows ----------------------------------------------------------------------------------

    def _query(self, sql: str) -> list[tuple[int, int, str]]:
        with closing(sqlite3.connect(f"file:{self.outbox}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(sql).fetchall()

    def acknowledged(self) -> int:
        """How many readings the server acknowledged, by the outbox's own journal."""
        if not self.outbox.exists():
            return 0
        try:
            ranges = self._query("SELECT first, last, outcome FROM acknowledged")
        except sqlite3.OperationalError:  # not made yet
            return 0
        assert {outcome for _, _, outcome in ranges} <= {"logged"}, ranges
        return sum(last - first + 1 for first, last, _ in ranges)

    def settled(self) -> int:
        """Rests until the last reading fed is stored and the outbox is empty; how many it ever held, all acknowledged."""
        self.rest()
        wait_for(lambda: self.fed in self.stored()[-1:], 90, lambda: f"reading {self.fed} is stored\n{self.process.tail()}")
        wait_for(lambda: not self._query("SELECT 1, 1, '' FROM readings LIMIT 1"), 60, "an empty outbox")
        return self.acknowledged()

    # --- what the platform says ----------------------------------------------------------------------------------------

    def stored(self) -> list[int]:
        """The values in the store, in order of their time."""
        return [row["value"] for row in self.api.readings(self.device, sensor=SENSOR)]
