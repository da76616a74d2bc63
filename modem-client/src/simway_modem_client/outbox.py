"""The durable outbox: readings wait here until the server has them in its log (design, sections 2 and 5).

Rules that keep it honest:

* an id is assigned once, in the transaction that stores the reading: ``(epoch, sequence)``, sequences from 1 without gaps;
* a reading leaves only on the server's word (logged, or rejected for good), or when the outbox is full: then the oldest go, and
  their numbers stay as dropped ranges until the server has acknowledged *those*;
* what was acknowledged is kept as ranges, so that the device's own record can be held against the store;
* one thread writes, and whatever piled up meanwhile goes into its next transaction (group commit); several processes may share
  a file, since every count is read inside the transaction.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import apsw
import structlog
from simway_backbone import sqlite
from simway_protocol.messages import Range, RejectedRange
from simway_protocol.readings import Reading

from simway_modem_client import ranges, rows
from simway_modem_client.deadletter import DeadLetterFile
from simway_modem_client.entries import Entry, decode_value
from simway_modem_client.outbox_store import OutboxStore

MAX_BYTES_DEFAULT = 64 * 1024 * 1024
PENDING_MAX = 20_000
"""Readings that wait for the next commit; a source that is faster than the disk waits at this point."""
WRITE_RETRY_S = 1.0
"""After a commit failed (disk full, file locked) the same transaction is tried again."""
ROOM_POLL_S = 0.2
"""How often a waiting import looks whether another process made room."""

log = structlog.get_logger(__name__)


class OutboxClosed(Exception):
    """The outbox is closing: what was being put has not entered."""


class Stored(NamedTuple):
    """A reading with its sequence number."""

    seq: int
    reading: Reading


@dataclass(frozen=True)
class OutboxStats:
    """Counts over the life of the file. ``waiting_bytes`` is held against ``max_bytes``.

    ``dropped_waiting``: numbers given up that the server has not acknowledged yet.
    """

    epoch: str
    next_seq: int
    waiting: int
    waiting_bytes: int
    max_bytes: int
    dropped_waiting: int
    dropped_total: int
    rejected_total: int
    logged_total: int
    oldest_t_us: int | None


@dataclass
class _Work:
    """What the writer's next transaction does."""

    entries: list[Entry] = field(default_factory=list)
    logged: list[tuple[str, Range]] = field(default_factory=list)
    rejected: list[tuple[str, RejectedRange]] = field(default_factory=list)


class Outbox:
    """Thread-safe. ``on_commit`` is called in the writer's thread after each transaction that stored readings."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES_DEFAULT,
        dead_letters: DeadLetterFile | None = None,
        random: Callable[[int], bytes] = os.urandom,
        on_commit: Callable[[], None] = lambda: None,
        set_aside: bool = True,
    ) -> None:
        """``set_aside``: a file that is no database any more makes room for a new one. Raises ``SqliteUnusable``."""
        self.path = path
        self._max_bytes = max_bytes
        self.on_commit = on_commit
        opened = _open(path) if set_aside else sqlite.connect(path)
        self._store = OutboxStore(opened, random, dead_letters or DeadLetterFile(path.with_name("dead-letters.jsonl")))
        self._reader = sqlite.connect(path)
        self._reading = threading.Lock()
        self.epoch = self._store.epoch
        self._changed = threading.Condition()
        self._work = _Work()
        self._waiting_bytes = self._store.waiting_bytes()
        self._pending_bytes = 0
        self._asked = self._done = 0
        self._told_dropped = self._dropped = self._store.dropped_total()
        self._closing = False
        self.trouble: str | None = None
        self._writer = threading.Thread(target=self._write, name="outbox-writer", daemon=True)
        self._writer.start()

    # --- sources -----------------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry], *, wait_for_room: bool = False) -> int:
        """Hands readings to the writer; ``flush`` waits until they are on the disk. Returns how many readings the full outbox
        gave up since the last call, so that the source knows.

        Blocks while the writer is more than ``PENDING_MAX`` behind; with ``wait_for_room`` also until they fit without anything
        being dropped. Raises ``OutboxClosed`` when closed meanwhile.
        """
        size = sum(entry.size_bytes for entry in entries)
        with self._changed:
            while not self._closing and len(self._work.entries) >= PENDING_MAX:
                self._changed.wait()
            while wait_for_room and not self._closing and not self._has_room(size):
                if not self._changed.wait(ROOM_POLL_S):
                    self._waiting_bytes = self.stats().waiting_bytes
            if self._closing:
                raise OutboxClosed
            self._work.entries.extend(entries)
            self._pending_bytes += size
            self._ask()
            told, self._told_dropped = self._told_dropped, self._dropped
            return self._dropped - told

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Waits until everything asked for before is on the disk; False when that took longer than ``timeout_s``."""
        with self._changed:
            target = self._asked
            return self._changed.wait_for(lambda: self._done >= target, timeout_s)

    # --- the link ----------------------------------------------------------------------------------------------------

    def read(self, from_seq: int, limit: int) -> list[Stored]:
        """Up to ``limit`` readings from a sequence number on, in order. There may be gaps: dropped, or acknowledged before."""
        with self._reading:
            found = rows.fetch(
                self._reader,
                "SELECT seq, sensor, t_us, value, unit FROM readings WHERE seq >= ? ORDER BY seq LIMIT ?",
                (from_seq, limit),
            )
        return [Stored(seq, Reading(sensor, t_us, decode_value(value), unit)) for seq, sensor, t_us, value, unit in found]

    def dropped(self) -> list[Range]:
        """The dropped ranges that the server has not acknowledged yet."""
        with self._reading:
            return rows.fetch(self._reader, "SELECT first, last FROM dropped ORDER BY first")

    def version(self) -> int:
        """Changes whenever anything was committed to the file, by whatever process. Cheap."""
        with self._reading:
            return int(rows.value(self._reader, "PRAGMA data_version"))

    def acknowledge(self, epoch: str, logged: Iterable[Range], rejected: Iterable[RejectedRange] = ()) -> None:
        """The server's word: delete what is logged, move what is rejected to the dead letters; with the next commit."""
        with self._changed:
            self._work.logged.extend((epoch, part) for part in logged)
            self._work.rejected.extend((epoch, part) for part in rejected)
            self._ask()

    # --- for people and tests ----------------------------------------------------------------------------------------

    def acknowledged(self) -> list[RejectedRange]:
        """The journal of what the server acknowledged: (first, last, ``logged`` | ``dropped`` | ``rejected``).

        A number under ``dropped`` may be in the store all the same: it may have been on its way when the outbox gave it up.
        """
        with self._reading:
            return rows.fetch(self._reader, "SELECT first, last, outcome FROM acknowledged ORDER BY first")

    def stats(self) -> OutboxStats:
        """Counts as of the last commit, whoever made it."""
        with self._reading:
            return read_stats(self._reader, self._max_bytes)

    def is_empty(self) -> bool:
        """Nothing waits any more: no reading and no dropped range."""
        with self._reading:
            sql = "SELECT EXISTS(SELECT 1 FROM readings) OR EXISTS(SELECT 1 FROM dropped)"
            return not rows.value(self._reader, sql)

    def interrupt(self) -> None:
        """Wakes sources that wait for room: their ``put`` raises ``OutboxClosed``. What was put before is still written."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Writes what is pending and closes the file."""
        self.interrupt()
        self._writer.join()
        with self._reading:
            self._reader.close()
        self._store.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- the writer --------------------------------------------------------------------------------------------------

    def _has_room(self, size: int) -> bool:
        used = self._waiting_bytes + self._pending_bytes
        return used + size <= self._max_bytes or used == 0

    def _ask(self) -> None:
        self._asked += 1
        self._changed.notify_all()

    def _write(self) -> None:
        try:
            self._write_until_closed()
        except BaseException as error:
            self.trouble = f"the outbox's writer ended: {error!r}; restart the modem client"
            self.interrupt()
            raise

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._done < self._asked)
                if self._done == self._asked:
                    return
                work, asked, self._work = self._work, self._asked, _Work()
            if not self._commit(work):
                return
            with self._changed:
                self._pending_bytes -= sum(entry.size_bytes for entry in work.entries)
                self._done = asked
                self._changed.notify_all()
            if work.entries:
                self.on_commit()

    def _commit(self, work: _Work) -> bool:
        """True when committed; False when the outbox closed while the disk still refused."""
        while True:
            try:
                waiting_bytes, dropped = self._store.apply(
                    work.entries, work.logged, work.rejected, max_bytes=self._max_bytes, now_us=time.time_ns() // 1000
                )
            except (apsw.Error, OSError) as error:
                self.trouble = f"the outbox {self.path} cannot be written: {error}"
                log.error("outbox cannot be written; trying again", path=str(self.path), error=str(error))
                with self._changed:
                    if self._closing or self._changed.wait_for(lambda: self._closing, WRITE_RETRY_S):
                        return False
                continue
            self.trouble = None
            with self._changed:
                self._waiting_bytes, self._dropped = waiting_bytes, dropped
            return True


def read_stats(connection: apsw.Connection, max_bytes: int) -> OutboxStats:
    """The counts of an outbox file, over any connection to it."""
    columns = "epoch, next_seq, bytes, dropped_total, rejected_total, logged_total"
    with connection:  # one snapshot
        meta = rows.first(connection, f"SELECT {columns} FROM meta")
        oldest = rows.first(connection, "SELECT t_us FROM readings ORDER BY seq LIMIT 1")
        dropped = rows.fetch(connection, "SELECT first, last FROM dropped")
    epoch, next_seq, waiting_bytes, dropped_total, rejected_total, logged_total = meta
    return OutboxStats(
        epoch=epoch, next_seq=next_seq, waiting=next_seq - 1 - dropped_total - rejected_total - logged_total,
        waiting_bytes=waiting_bytes, max_bytes=max_bytes, dropped_waiting=ranges.total(dropped), dropped_total=dropped_total,
        rejected_total=rejected_total, logged_total=logged_total, oldest_t_us=oldest[0] if oldest else None,
    )  # fmt: skip


def _open(path: Path) -> apsw.Connection:
    """Opens the file; one that is no database any more is set aside, since a device in the field must go on."""
    try:
        return sqlite.connect(path)
    except sqlite.SqliteUnusable as error:
        if not isinstance(error.__cause__, apsw.NotADBError):
            raise
        aside = path.with_name(f"{path.name}.broken-{int(time.time())}")
        path.replace(aside)
        log.error("the outbox file is damaged; set aside, starting a new one with a new epoch", aside=str(aside))
        return sqlite.connect(path)
