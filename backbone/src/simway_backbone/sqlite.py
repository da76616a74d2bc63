"""The one way to open SQLite here: ``apsw``, which carries its own library (design, section 3).

SQLite 3.7.0 to 3.51.2 can lose or corrupt commits when several connections write and checkpoint (the "WAL-reset" bug), so
``connect`` refuses a library older than 3.51.3, whoever linked it. Each connection is in WAL mode with synchronous=FULL: what
COMMIT returned from is on the disk. A transaction that writes begins with BEGIN IMMEDIATE (``immediate``): a read that turns
into a write fails at once with BUSY_SNAPSHOT, whatever the busy timeout. Keep reads short: an open one keeps the WAL growing.

A connection does not survive a fork, and one thread uses it at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

VERSION_MIN = (3, 51, 3)
BUSY_TIMEOUT_S = 5.0
MEMORY = ":memory:"


class SqliteUnusable(Exception):
    """SQLite cannot be used here: too old a library, or a file that cannot be opened. The text says what to do."""


def check_version(version: str | None = None) -> None:
    """Raises ``SqliteUnusable`` when the SQLite library (by default the one apsw carries) has the WAL-reset bug."""
    version = version or apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < VERSION_MIN:
        needed = ".".join(map(str, VERSION_MIN))
        raise SqliteUnusable(
            f"SQLite {version} can lose commits when several processes write (the WAL-reset bug); "
            f"{needed} or newer is needed: install a newer apsw wheel (pip install -U apsw)"
        )


def connect(
    path: str | Path,
    *,
    read_only: bool = False,
    create: bool = True,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    page_size_bytes: int | None = None,
    vfs: str | None = None,
) -> apsw.Connection:
    """Opens a database file in WAL mode with synchronous=FULL and foreign keys checked. Blocks on the disk.

    ``path`` may be ``:memory:`` (which has no WAL). ``page_size_bytes`` counts only for a file that is made now. The folder
    of the file must exist. Raises ``SqliteUnusable`` when the library is too old or the file cannot be opened.
    """
    check_version()
    name = str(path)
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    if create and not read_only:
        flags |= apsw.SQLITE_OPEN_CREATE
    is_new = name != MEMORY and not os.path.exists(name)
    try:
        connection = apsw.Connection(name, flags=flags, vfs=vfs)
    except (apsw.CantOpenError, apsw.PermissionsError) as error:
        raise SqliteUnusable(f"cannot open {name}: {error}; check that its folder exists and may be written") from error
    try:
        connection.set_busy_timeout(int(busy_timeout_s * 1000))
        if page_size_bytes and is_new:
            connection.pragma("page_size", page_size_bytes)
        if name != MEMORY and not read_only:
            _use_wal(connection, busy_timeout_s)
        connection.pragma("synchronous", 2)  # FULL
        connection.pragma("foreign_keys", True)
        if is_new and not read_only:
            sync_folder(Path(name).parent)
    except apsw.NotADBError as error:
        connection.close()
        raise SqliteUnusable(f"{name} is not an SQLite database: {error}; move it away or name another file") from error
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def immediate(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """A transaction that may write: BEGIN IMMEDIATE, then COMMIT (durable when this returns), or ROLLBACK on any error.

    Waits up to the busy timeout for other writers, then raises ``apsw.BusyError``.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def rows(connection: apsw.Connection, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
    """All rows of a query, as tuples; no read stays open."""
    return connection.execute(sql, bindings).fetchall()


def value(connection: apsw.Connection, sql: str, bindings: Sequence[Any] = ()) -> Any:
    """The first column of the first row, or None when there is none."""
    found = connection.execute(sql, bindings).fetchall()
    return found[0][0] if found else None


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable (fsync of the folder): a new file could else vanish with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _use_wal(connection: apsw.Connection, wait_s: float) -> None:
    """Switching to WAL needs the file alone for a moment, and SQLite does not always call the busy handler for it."""
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            mode = connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise SqliteUnusable(f"{connection.filename} cannot use WAL (journal mode {mode}): put it on a local disk")
        return
