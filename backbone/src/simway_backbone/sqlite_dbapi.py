"""A DB-API 2.0 (PEP 249) face of apsw, as much as SQLAlchemy's SQLite dialect and Alembic call.

Why not the ``sqlite3`` module: it uses the system's library, which mostly has the WAL-reset bug (see ``sqlite``), and two SQLite
libraries on one file in one process break each other's locks.

Transactions, by ``Connection.isolation_level``:

* ``""`` (default): reads before the first write stand alone; the first statement that writes (DDL too) begins a transaction
  with BEGIN IMMEDIATE, which ``commit`` or ``rollback`` ends;
* ``"DEFERRED"``: the first statement of any kind begins: several reads see one state;
* ``"IMMEDIATE"``: the same with BEGIN IMMEDIATE: what is read may be written;
* ``None``: autocommit; only an explicit BEGIN begins.

``execute`` fetches all rows at once: no read stays open behind a forgotten cursor. Threads may pass a connection on (a pool), not
use it at the same time.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import apsw

from simway_backbone import sqlite

apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"
sqlite_version = apsw.sqlite_lib_version()
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))
version = apsw.apsw_version()

Date, Time, Timestamp = datetime.date, datetime.time, datetime.datetime
Binary = memoryview
STRING, BINARY, NUMBER, DATETIME, ROWID = "TEXT", "BLOB", "NUMERIC", "TIMESTAMP", "INTEGER"


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802, RUF100 (PEP 249's name)
    """A date from seconds since 1970."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802, RUF100 (PEP 249's name)
    """A time of day from seconds since 1970."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802, RUF100 (PEP 249's name)
    """A timestamp from seconds since 1970."""
    return Timestamp(*time.localtime(ticks)[:6])


class Warning(Exception):  # noqa: A001, RUF100 (PEP 249's name)
    """PEP 249; never raised here."""


class Error(Exception):
    """Base of all errors of PEP 249. ``sqlite_code``: the extended result code, or 0."""

    sqlite_code: int = 0


class InterfaceError(Error):
    """Wrong use of this module."""


class DatabaseError(Error):
    """The database failed."""


class DataError(DatabaseError):
    """A value does not fit."""


class OperationalError(DatabaseError):
    """Busy, full, unreadable, or wrong SQL (as ``sqlite3`` has it)."""


class IntegrityError(DatabaseError):
    """A constraint does not hold."""


class InternalError(DatabaseError):
    """SQLite contradicts itself."""


class ProgrammingError(DatabaseError):
    """Closed connection, wrong number of parameters, wrong thread."""


class NotSupportedError(DatabaseError):
    """Not offered."""


_ERRORS: dict[type[BaseException], type[Error]] = {
    apsw.ConstraintError: IntegrityError,
    apsw.MismatchError: IntegrityError,
    apsw.TooBigError: DataError,
    apsw.RangeError: DataError,
    apsw.CorruptError: DatabaseError,
    apsw.NotADBError: DatabaseError,
    apsw.InternalError: InternalError,
    apsw.BindingsError: ProgrammingError,
    apsw.MisuseError: ProgrammingError,
    apsw.ThreadingViolationError: ProgrammingError,
    apsw.ConnectionClosedError: ProgrammingError,
    apsw.CursorClosedError: ProgrammingError,
}
CLOSED = "Cannot operate on a closed database."
"""The text that SQLAlchemy's dialect takes for a lost connection."""


def translated(error: apsw.Error) -> Error:
    """An error of apsw as one of this module, for whoever works on ``Connection.apsw`` itself."""
    made = _ERRORS.get(type(error), OperationalError)(str(error))
    made.sqlite_code = getattr(error, "extendedresult", 0)
    return made


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except apsw.ConnectionClosedError as error:
        raise ProgrammingError(CLOSED) from error
    except apsw.Error as error:
        raise translated(error) from error
    except sqlite.SqliteUnusable as error:
        raise OperationalError(str(error)) from error
    except OverflowError as error:
        raise DataError(str(error)) from error
    except TypeError as error:  # apsw's word for a parameter that SQLite has no type for
        raise ProgrammingError(str(error)) from error


_SKIPPED = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|;)+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
_READS = frozenset({"SELECT", "VALUES", "EXPLAIN"})
_BESIDE = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "PRAGMA", "VACUUM", "ATTACH", "DETACH", ""})
"""Statements that never begin a transaction by themselves."""


@lru_cache(maxsize=1000)
def _kind(statement: str) -> str:
    """``change`` (a row count is known), ``write``, ``read`` or ``beside``, by the first word of a statement."""
    skipped = _SKIPPED.match(statement)
    word = _WORD.match(statement, skipped.end() if skipped else 0)
    first = word.group().upper() if word else ""
    if first == "WITH":
        return "change" if _CHANGES & set(_WORD.findall(statement.upper())) else "read"
    if first in _CHANGES:
        return "change"
    if first in _READS:
        return "read"
    return "beside" if first in _BESIDE else "write"


class Cursor:
    """PEP 249 cursor. All rows of the last ``execute`` are in memory."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._rows: list[Any] = []
        self._next = 0
        self._closed = False

    def execute(self, operation: str, parameters: Any = ()) -> Cursor:
        """Runs a statement to its end; ``parameters``: a sequence for ``?``, or a mapping for ``:name``."""
        kind = self._begin(operation)
        database = self.connection.apsw
        with _errors():
            cursor = database.cursor()
            columns: list[Any] = []

            def note_columns(traced: apsw.Cursor, _sql: str, _bindings: object) -> bool:
                columns.append(traced.get_description())  # apsw knows them only while the statement runs
                return True

            cursor.exec_trace = note_columns
            self._rows = cursor.execute(operation, parameters or None).fetchall()
            cursor.close()
            if columns and columns[-1]:
                self.description = tuple((name, kind_, None, None, None, None, None) for name, kind_ in columns[-1])
            if kind == "change":
                self.rowcount = database.changes()
                self.lastrowid = database.last_insert_rowid()
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Any]) -> Cursor:
        """Runs a statement once for each set of parameters. ``rowcount`` counts rows that triggers changed, too."""
        kind = self._begin(operation)
        database = self.connection.apsw
        with _errors():
            before = database.total_changes()
            cursor = database.cursor()
            self._rows = cursor.executemany(operation, seq_of_parameters).fetchall()
            cursor.close()
            if kind == "change":
                self.rowcount = database.total_changes() - before
                self.lastrowid = database.last_insert_rowid()
        return self

    def executescript(self, script: str) -> Cursor:
        """Runs several statements, in autocommit unless a transaction is open."""
        self._reset()
        with _errors():
            self.connection.apsw.execute(script).fetchall()
        return self

    def fetchone(self) -> Any:
        """The next row, or None."""
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next ``size`` rows (``arraysize`` when not given)."""
        first, self._next = self._next, self._next + (self.arraysize if size is None else size)
        return self._rows[first : self._next]

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        rows = self._rows[self._next :] if self._next else self._rows
        self._rows, self._next = [], 0
        return rows

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def close(self) -> None:
        """Drops the rows."""
        self._rows, self._next, self._closed = [], 0, True

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """PEP 249; nothing to do."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249; nothing to do."""

    def _reset(self) -> None:
        if self._closed:
            raise ProgrammingError("Cannot operate on a closed cursor.")
        self._rows, self._next = [], 0
        self.description, self.rowcount = None, -1

    def _begin(self, operation: str) -> str:
        self._reset()
        kind = _kind(operation)
        self.connection._begin_for(kind)
        return kind


class Connection:
    """PEP 249 connection. ``apsw``: the connection below, for what this face does not offer (bulk inserts, streaming)."""

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, database: apsw.Connection, isolation_level: str | None = "") -> None:
        self.apsw = database
        self.isolation_level = isolation_level

    @property
    def in_transaction(self) -> bool:
        """True between BEGIN and its end."""
        with _errors():
            return self.apsw.in_transaction

    @property
    def total_changes(self) -> int:
        """Rows changed since the connection was opened."""
        with _errors():
            return self.apsw.total_changes()

    def cursor(self) -> Cursor:
        """A new cursor."""
        with _errors():
            self.apsw.in_transaction  # noqa: B018 (raises on a closed connection)
        return Cursor(self)

    def execute(self, operation: str, parameters: Any = ()) -> Cursor:
        """A new cursor that has run ``operation``."""
        return self.cursor().execute(operation, parameters)

    def executemany(self, operation: str, seq_of_parameters: Iterable[Any]) -> Cursor:
        """A new cursor that has run ``operation`` for each set of parameters."""
        return self.cursor().executemany(operation, seq_of_parameters)

    def executescript(self, script: str) -> Cursor:
        """A new cursor that has run a script."""
        return self.cursor().executescript(script)

    def commit(self) -> None:
        """Ends the transaction, if one is open; what it wrote is on the disk when this returns."""
        if self.in_transaction:
            with _errors():
                self.apsw.execute("COMMIT")

    def rollback(self) -> None:
        """Undoes the transaction, if one is open."""
        if self.in_transaction:
            with _errors():
                self.apsw.execute("ROLLBACK")

    def close(self) -> None:
        """Undoes an open transaction and closes; a second call does nothing."""
        with _errors():
            self.apsw.close(True)

    def create_function(self, name: str, narg: int, func: Callable[..., Any] | None, *, deterministic: bool = False) -> None:
        """Makes a Python function callable in SQL, as ``sqlite3`` does."""
        with _errors():
            self.apsw.create_scalar_function(name, func, narg, deterministic=deterministic)

    def interrupt(self) -> None:
        """Stops what another thread runs on this connection."""
        with _errors():
            self.apsw.interrupt()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def _begin_for(self, kind: str) -> None:
        level = self.isolation_level
        if level is None or kind == "beside" or (level == "" and kind == "read") or self.in_transaction:
            return
        with _errors():
            self.apsw.execute(f"BEGIN {level or 'IMMEDIATE'}")


_LEVELS = ("", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", None)


def connect(
    database: str, timeout: float = sqlite.BUSY_TIMEOUT_S, isolation_level: str | None = "", **_unused: Any
) -> Connection:
    """Opens a database file, as ``sqlite.connect`` does; ``timeout``: seconds to wait for other writers.

    Arguments of ``sqlite3.connect`` that mean nothing here (``check_same_thread``, ``cached_statements``, ...) are ignored.
    """
    if isolation_level not in _LEVELS:
        raise InterfaceError(f"isolation_level must be one of {_LEVELS}, not {isolation_level!r}")
    with _errors():
        return Connection(sqlite.connect(database, busy_timeout_s=timeout), isolation_level)
