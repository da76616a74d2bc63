"""Groups of the embedded log: ``groups.db`` in its folder, one row of JSON for each group (``leases.Group``).

Nothing in it has to outlive a power cut: a lease is worth a session timeout. So a commit does not wait for the disk.

A member that died is not missed for a session: while it lives it holds a lock (flock) on a file of its own in ``groups/``, which
the kernel releases when the process ends, however it ends. One that is stopped keeps its lock, and is missed by its silence.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import msgspec
import structlog

from simway_backbone import sqlite
from simway_backbone.embedded_segments import readable_errors
from simway_backbone.leases import Group, Turn, leave, take_turn

FILE = "groups.db"
LOCKS = "groups"
BUSY_TIMEOUT_S = 2.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID"
_SAVE = "INSERT INTO groups VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state"

_log = structlog.get_logger("log")
_decoder = msgspec.json.Decoder(Group)


class EmbeddedLeases:
    """See ``LeaseTable``. One thread uses it. Whoever is stopped amid a turn holds the others' turns up, but nobody's reading."""

    def __init__(self, folder: Path, topic: str, group: str, partitions: int, clock_s: Callable[[], float] = time.monotonic):
        self._path, self._name, self._partitions, self._clock_s = folder / FILE, f"{topic}/{group}", partitions, clock_s
        self._locks = folder / LOCKS
        self._lock: int | None = None
        self._db: apsw.Connection | None = None

    def turn(self, member: str, session_s: float, let_go: frozenset[int]) -> Turn:
        """See ``LeaseTable``."""
        with readable_errors(self._locks):
            self._show_life(member)
        with self._state() as group:
            self._remove_dead(group, member)
            return take_turn(group, member, self._clock_s(), session_s, self._partitions, let_go)

    def leave(self, member: str) -> None:
        """See ``LeaseTable``."""
        with self._state() as group:
            leave(group, member)
        self._close()
        if self._lock is not None:
            self._lock_file(member).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _show_life(self, member: str) -> None:
        """Takes this member's lock before anybody knows of it."""
        if self._lock is None:
            self._locks.mkdir(exist_ok=True)
            lock = os.open(self._lock_file(member), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._lock = lock

    def _remove_dead(self, group: Group, member: str) -> None:
        for name in group.members.keys() - {member}:
            if is_free(self._lock_file(name)):
                leave(group, name)
                self._lock_file(name).unlink(missing_ok=True)

    def _lock_file(self, member: str) -> Path:
        return self._locks / hashlib.sha256(f"{self._name}/{member}".encode()).hexdigest()[:32]

    @contextmanager
    def _state(self) -> Iterator[Group]:
        try:
            with readable_errors(self._path):
                db = self._db = self._db or self._open()
                with sqlite.immediate(db):
                    found = sqlite.value(db, "SELECT state FROM groups WHERE name = ?", (self._name,))
                    group = self._decoded(found)
                    yield group
                    db.execute(_SAVE, (self._name, msgspec.json.encode(group).decode()))
        except BaseException:
            self._close()
            raise

    def _decoded(self, state: str | None) -> Group:
        """What cannot be read is begun anew: all members join again at their next turn."""
        try:
            return _decoder.decode(state) if state else Group()
        except msgspec.MsgspecError as error:
            _log.error("the state of a group cannot be read; beginning anew", file=str(self._path), error=str(error))
            return Group()

    def _open(self) -> apsw.Connection:
        db = sqlite.connect(self._path, busy_timeout_s=BUSY_TIMEOUT_S)
        db.pragma("synchronous", 1)  # NORMAL
        db.execute(_SCHEMA)
        return db

    def _close(self) -> None:
        db, self._db = self._db, None
        if db:
            with suppress(apsw.Error, OSError):
                db.close(True)


def is_free(path: Path) -> bool:
    """True when a lock file is there and nobody holds its lock."""
    try:
        lock = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
