"""Members of a log's group that can be stopped, woken and killed: in processes of their own, or in threads of this one.

``python -m simway_testing.group_members URL TOPIC GROUP NAME SESSION_S START``: reads until it is told to end, and says on stdout
what it was given, what it lost and what it read, one JSON array a line. START: the first offset of each partition, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simway_backbone import open_log
from simway_backbone.lease_member import LeaseMember
from simway_backbone.leases import Turn
from simway_backbone.log import GroupReader, Log, LogUnavailable

from simway_testing import REPOSITORY

POLL_S = 0.1
END_S = 20.0


@dataclass(frozen=True)
class Event:
    """``what``: begin, lost or read; ``values``: the partitions, or the values of the records. ``t_s``: monotonic."""

    t_s: float
    what: str
    values: list[Any]


Tell = Callable[[str, list[Any]], None]


def read_on(log: Log, topic: str, group: str, name: str, session_s: float, start: dict[int, int], tell: Tell) -> GroupReader:
    """A group reader that tells what happens to it."""

    def begin(partitions: frozenset[int]) -> dict[int, int]:
        tell("begin", sorted(partitions))
        return {partition: start[partition] for partition in partitions}

    return log.group_reader(
        topic, group, member=name, begin=begin, lost=lambda gone: tell("lost", sorted(gone)), session_timeout_s=session_s
    )


def poll_on(reader: GroupReader, tell: Tell) -> None:
    """One poll; an outage of the log is waited for."""
    try:
        found = reader.poll(POLL_S)
    except LogUnavailable:
        return
    if found:
        tell("read", [record.value.decode() for record in found])


class Member:
    """What happened to a member. What it has now follows from that."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def assigned(self) -> frozenset[int]:
        held: set[int] = set()
        for event in list(self.events):
            if event.what == "begin":
                held |= set(event.values)
            elif event.what == "lost":
                held -= set(event.values)
        return frozenset(held)

    def has_read(self, value: str) -> bool:
        return any(value in event.values for event in list(self.events) if event.what == "read")


class ThreadMember(Member):
    """A member in a thread. Stopping it needs a membership that is kept in this process, by leases."""

    def __init__(self, log: Log, topic: str, group: str, name: str, session_s: float, start: dict[int, int]) -> None:
        super().__init__()
        self._awake, self._ending = threading.Event(), threading.Event()
        self._awake.set()
        self._reader = read_on(log, topic, group, name, session_s, start, self._tell)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As SIGSTOP: neither thread goes on."""
        membership: Any = self._reader._membership  # type: ignore[attr-defined]
        assert isinstance(membership, LeaseMember)
        if not isinstance(membership._table, _Gate):
            membership._table = _Gate(membership._table, self._awake)
        self._awake.clear()

    kill = stop

    def wake(self) -> None:
        self._awake.set()

    def ask_to_end(self) -> None:
        """As ``end``, without waiting for it."""
        self._ending.set()
        self._awake.set()

    def end(self) -> None:
        """Leaves in order."""
        self.ask_to_end()
        self._thread.join(END_S)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._awake.wait()
            poll_on(self._reader, self._tell)
        self._reader.close()

    def _tell(self, what: str, values: list[Any]) -> None:
        self.events.append(Event(time.monotonic(), what, values))


class _Gate:
    """A lease table that nobody comes to while asleep."""

    def __init__(self, table: Any, awake: threading.Event) -> None:
        self._table, self._awake = table, awake

    def turn(self, member: str, session_s: float, let_go: frozenset[int]) -> Turn:
        self._awake.wait()
        turn: Turn = self._table.turn(member, session_s, let_go)
        return turn

    def leave(self, member: str) -> None:
        self._awake.wait()
        self._table.leave(member)


class ProcessMember(Member):
    """A member in a process."""

    def __init__(self, url: str, topic: str, group: str, name: str, session_s: float, start: dict[int, int]) -> None:
        super().__init__()
        arguments = [url, topic, group, name, str(session_s), json.dumps(start)]
        command = [sys.executable, "-m", "simway_testing.group_members", *arguments]
        env = os.environ | {"PYTHONPATH": str(REPOSITORY / "tests" / "support")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(END_S)
        self._listener.join(END_S)

    def end(self) -> None:
        """Leaves in order; whatever became of it, no process is left."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(END_S)
        finally:
            self.process.kill()
            self._listener.join(END_S)
            self.process.stdout.close()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.append(Event(*json.loads(line)))


def main() -> None:
    """One member, until stdin ends."""
    url, topic, group, name, session_s, start = sys.argv[1:]
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()

    def tell(what: str, values: list[Any]) -> None:
        print(json.dumps([time.monotonic(), what, values]), flush=True)

    log = open_log(url, client_id=name)
    positions = {int(partition): offset for partition, offset in json.loads(start).items()}
    reader = read_on(log, topic, group, name, float(session_s), positions, tell)
    while not ending.is_set():
        poll_on(reader, tell)
    reader.close()
    log.close()


if __name__ == "__main__":
    main()
