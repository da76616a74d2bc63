"""Devices under load: real modem clients, fed numbered readings, each with an outbox whose own record is read afterwards.

The outbox journals the numbers that were acknowledged, but not what they stood for. So its file gets a trigger before the first
start, which keeps each reading as it leaves: in the outbox's own transaction, whatever is killed.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
from simway_modem_client.entries import decode_value
from simway_modem_client.outbox import Outbox

from simway_testing.fault_checks import Journal, Left
from simway_testing.platform import Front, Process

SENSORS = ("n/whole", "n/half", "n/text", "n/late")
LATE_US = 3_600_000_000
ANCIENT_US = 60 * 86_400_000_000
ANCIENT_EVERY = 40
"""So often a reading is older than the platform keeps any: it is rejected by name, and booked so on both sides."""
TICK_S = 0.05
CSV_LINES = 300
CSV_REST_S = 4.0
_KEEP = """
CREATE TABLE kept(seq INTEGER PRIMARY KEY, sensor TEXT, t_us INTEGER, value BLOB, unit TEXT);
CREATE TRIGGER keep_what_leaves AFTER DELETE ON readings BEGIN
  INSERT INTO kept VALUES(old.seq, old.sensor, old.t_us, old.value, old.unit);
END;
"""


class Device:
    """One modem client. ``start`` again after a kill; what it is fed goes on where it was left."""

    def __init__(self, front: Front, name: str, *, command: str = "exec simway-modem run", **settings: str) -> None:
        self.name = name
        self.process: Process = front.modem(name, front.api.enrol(name), command=command, **settings)
        self.folder = Path(self.process.settings["MODEM_DIR"])
        self.outbox = self.folder / "outbox.db"
        self.wanted = False
        """Whether it is meant to run."""

    def prepare(self) -> None:
        """Makes its outbox, with the trigger. Once, before the first start."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        Outbox(self.outbox).close()
        with closing(apsw.Connection(str(self.outbox))) as connection:
            connection.execute(_KEEP)

    def start(self) -> None:
        self.wanted = True
        self.process.start()

    def tend(self) -> None:
        """Called now and then while it is not under a fault."""

    def wake(self) -> None:
        """Makes it run where it rests, so that a fault finds something to hit."""

    def settle(self) -> None:
        """Nothing new enters; what waits is still sent."""

    def acknowledged(self) -> int:
        """How many readings were acknowledged as logged so far, by the outbox itself."""
        with suppress(apsw.Error), closing(_reading(self.outbox)) as connection:
            return int(connection.execute("SELECT logged_total FROM meta").fetchall()[0][0])
        return 0

    def waiting(self) -> int:
        """How many readings and dropped ranges still wait for the server's word. Raises ``apsw.Error``."""
        with closing(_reading(self.outbox)) as connection:
            sql = "SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM dropped)"
            return int(connection.execute(sql).fetchall()[0][0])

    def unfinished(self) -> int:
        """How many files are still to be imported."""
        return 0

    def highest(self) -> int:
        """The highest number that the outbox has given."""
        with closing(_reading(self.outbox)) as connection:
            return int(connection.execute("SELECT next_seq - 1 FROM meta").fetchall()[0][0])

    def journal(self) -> Journal:
        """All that the device itself knows, once it rests."""
        with closing(_reading(self.outbox)) as connection:
            ((epoch, next_seq),) = connection.execute("SELECT epoch, next_seq FROM meta").fetchall()
            ranges = connection.execute("SELECT first, last, outcome FROM acknowledged ORDER BY first").fetchall()
            kept = connection.execute("SELECT seq, sensor, t_us, value, unit FROM kept ORDER BY seq").fetchall()
        left = {seq: Left(sensor, t_us, decode_value(value), unit) for seq, sensor, t_us, value, unit in kept}
        return Journal(self.name, epoch, next_seq - 1, [tuple(row) for row in ranges], left, frozenset(self._buried()))

    def _buried(self) -> Iterator[int]:
        letters = self.folder / "dead-letters.jsonl"
        if letters.exists():
            yield from (json.loads(line)["seq"] for line in letters.read_text().splitlines())


class Fed(Device):
    """Its source is ``stdin``: numbers in the order of their making, under four sensors, one an hour behind; some too old."""

    def __init__(self, front: Front, name: str, *, text: int = 0, burst: int = 1, **settings: str) -> None:
        """``text``: so long is the value of the sensor of text; ``burst``: how many readings it measures at a time."""
        super().__init__(front, name, SOURCE="stdin", **settings)
        self.burst = burst
        self._text, self._made, self._last_us = text, 0, 0
        self._pipe = -1
        self._turn = threading.Lock()

    def start(self) -> None:
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        self.wanted = True
        try:
            self.process.start(stdin=read_end)
        finally:
            os.close(read_end)
        with self._turn:
            self._close()
            self._pipe = write_end

    def feed(self, count: int) -> None:
        """Measures so many; what the pipe has no room for was never taken, as with a device that hangs."""
        with self._turn:
            if self._pipe < 0:
                return
            try:
                for _ in range(count):
                    os.write(self._pipe, self._line())
            except BlockingIOError:
                return
            except OSError:  # killed
                self._close()

    def waiting(self) -> int:
        return super().waiting() + self._unread_bytes()

    def _unread_bytes(self) -> int:
        with self._turn:
            if self._pipe < 0:
                return 0
            return int.from_bytes(fcntl.ioctl(self._pipe, _FIONREAD, bytes(4)), "little")

    def _close(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1

    def _line(self) -> bytes:
        self._made += 1
        self._last_us = t_us = max(self._last_us + 1, time.time_ns() // 1000)
        sensor = SENSORS[self._made % len(SENSORS)]
        value: Any = self._made
        if self._made % ANCIENT_EVERY == 0:
            sensor, t_us = "n/ancient", t_us - ANCIENT_US
        elif sensor == "n/half":
            value = self._made + 0.5
        elif sensor == "n/text":
            value = f"{self._made}".ljust(self._text, ".")
        elif sensor == "n/late":
            t_us -= LATE_US
        return json.dumps({"sensor_id": sensor, "timestamp": t_us, "value": value, "unit": "Cel"}).encode() + b"\n"


_FIONREAD = 0x541B


class Importing(Device):
    """Its source is ``csv``: one file after the other. A file whose import was killed is imported again from its first line."""

    def __init__(self, front: Front, name: str, **settings: str) -> None:
        self._file = front.directory / f"{name}.csv"
        super().__init__(front, name, command=f"exec simway-modem run --csv {self._file}", **settings)
        self._made, self._due_s = 0, 0.0
        self._settled = self._half = self._half_next = False
        self.complaints: list[str] = []

    def start(self) -> None:
        if not self._file.exists():
            self._write()
        super().start()

    def tend(self) -> None:
        """When a file is done: the next one, after a rest."""
        if self.process.running:
            return
        self._judge()
        if self._settled and not self._half_next:
            self.wanted = False
            return
        self._due_s = self._due_s or time.monotonic() + CSV_REST_S
        if time.monotonic() >= self._due_s:
            self.wake()

    def wake(self) -> None:
        if not self.process.running:
            self._judge()
            self._due_s = 0.0
            self._write()
            super().start()

    def settle(self) -> None:
        self._settled = True

    def unfinished(self) -> int:
        return int(self.wanted)

    def halve(self) -> None:
        """Its next file ends within a line."""
        self._half_next = True

    def _judge(self) -> None:
        """Once after each end."""
        if self._due_s or not self.wanted:
            return
        code, said = self.process.returncode, self.process.tail()
        if code != (3 if self._half else 0):
            self.complaints.append(f"{self.name}: an import ended with status {code}:\n{said[-1500:]}")
        elif self._half and "line skipped" not in said:
            self.complaints.append(f"{self.name}: half a line was not named:\n{said[-1500:]}")
        self._half = False

    def _write(self) -> None:
        now_us = time.time_ns() // 1000
        self._half, self._half_next = self._half_next, False
        lines = ["timestamp,pressure,level"]
        for at in range(CSV_LINES):
            self._made += 1
            lines.append(f"{now_us - (CSV_LINES - at) * 1_000_000},{self._made + 0.25},{self._made}")
        whole = "\n".join(lines) + "\n"
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(whole.encode() + (_HALF_LINE if self._half else b""))
        fresh.replace(self._file)


_HALF_LINE = b'1795312800000000,"17.'


class Feeder:
    """One thread that feeds all devices of its kind, each ``rate_hz`` times a second."""

    def __init__(self, devices: list[Fed], rate_hz: float) -> None:
        self._devices, self._rate_hz = devices, rate_hz
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; blocks until the thread is over."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        for device, owed in zip(itertools.cycle(self._devices), itertools.count(), strict=False):
            if owed % len(self._devices) == 0 and self._ending.wait(1.0 / self._rate_hz):
                return
            device.feed(device.burst)


def _reading(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(2000)
    return connection
