"""The connection to the database: from a URL to transactions, with the drivers' errors turned into the port's."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import psycopg
from simway_backbone import sqlite_dbapi
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, TimeoutError

from simway_flask_app.store import dialect
from simway_flask_app.store.port import StoreError, StoreUnavailable

APPLICATION = "simway"
_CONNECT_TIMEOUT_S = 5
_POOL_TIMEOUT_S = 10
_LOCK_TIMEOUT_S = 10
"""So long does a decision wait for another one; then it is told that the database is busy."""
_IDLE_TIMEOUT_S = 30
"""A transaction that does nothing for so long is ended: whoever began it hangs, and everybody else waits for its locks."""
_POSTGRES_ARGUMENTS = {
    "connect_timeout": _CONNECT_TIMEOUT_S, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": f"-c timezone=UTC -c lock_timeout={_LOCK_TIMEOUT_S}s -c idle_in_transaction_session_timeout={_IDLE_TIMEOUT_S}s",
}  # fmt: skip
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, sqlite_dbapi.OperationalError)
"""Errors of the drivers that say nothing about what was asked: the database is away, busy, full or shutting down."""

_FOR_MUCH = ("PRAGMA temp_store = MEMORY", "PRAGMA cache_size = -16000")
"""Not for every connection: the sorting that a migration does would be in memory, too. The cache is in KiB."""
_SQLITE_CODE = 0xFF
"""What of an extended result code is the code."""


class Database:
    """An engine, and the two kinds of transaction that are run on it."""

    def __init__(self, url: str, *, pool_size: int = 5, name: str = APPLICATION) -> None:
        """``url``: ``sqlite:///path`` or ``postgresql://user:password@host:port/database``. Connects at first use.

        ``name``: what PostgreSQL calls the connections (``application_name``).
        """
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = _sqlite(parsed, pool_size) if self.is_sqlite else _postgres(parsed, pool_size, name)
        self._reading = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; each statement sees the newest committed state.

        No transaction is opened: on PostgreSQL each would cost two more round trips than the statement itself.
        """
        with errors(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection for reading; all statements see the state of one moment."""
        with errors(), self.engine.connect() as connection:
            begin = "BEGIN" if self.is_sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            connection.exec_driver_sql(begin)
            yield connection

    @contextmanager
    def write(self, *, much: bool = False) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, undone by an exception.

        On SQLite it holds the write lock from the start, so what is read may be written. ``much``: into many pages; SQLite then
        keeps in memory, not in a file, what a savepoint in it would bring back (a fifth of the time of such a transaction).
        """
        with errors(), self.engine.connect() as connection:
            if self.is_sqlite:
                for pragma in _FOR_MUCH if much else ():
                    connection.exec_driver_sql(pragma)
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def close(self) -> None:
        """Closes the pooled connections."""
        self.engine.dispose()


@contextmanager
def errors() -> Iterator[None]:
    """Turns what the drivers and the pool raise into ``StoreUnavailable`` (passing) or ``StoreError`` (ours)."""
    try:
        yield
    except TimeoutError as error:
        raise StoreUnavailable("no connection to the database was free in time") from error
    except DBAPIError as error:
        raise _told(error.orig or error, lost=error.connection_invalidated) from error
    except apsw.Error as error:
        raise _told(sqlite_dbapi.translated(error)) from error
    except (psycopg.Error, sqlite_dbapi.Error) as error:
        raise _told(error) from error


def _told(error: BaseException, *, lost: bool = False) -> StoreError:
    if _is_full(error):
        return StoreUnavailable(f"the disk of the database is full ({_first_line(error)}); make room, or shorten retention")
    if lost or is_passing(error):
        return StoreUnavailable(f"the database is not usable now: {_first_line(error)}")
    return StoreError(_first_line(error))


def _is_full(error: BaseException) -> bool:
    if isinstance(error, sqlite_dbapi.Error):
        return error.sqlite_code & _SQLITE_CODE == apsw.SQLITE_FULL
    return isinstance(error, psycopg.errors.DiskFull)


def is_passing(error: BaseException) -> bool:
    """True when trying the same again later may succeed."""
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return True
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction | psycopg.errors.DiskFull):
        return True
    return isinstance(error, _PASSING)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _sqlite(url: URL, pool_size: int) -> Engine:
    dialect.register()
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    return create_engine(url.set(drivername="sqlite+apsw"), pool_size=pool_size, max_overflow=10, pool_timeout=_POOL_TIMEOUT_S)


def _postgres(url: URL, pool_size: int, name: str) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"), pool_size=pool_size, max_overflow=10, pool_timeout=_POOL_TIMEOUT_S,
        connect_args=_POSTGRES_ARGUMENTS | {"application_name": name},
    )  # fmt: skip
    event.listen(engine, "checkout", _replace_if_ended)
    return engine


def _replace_if_ended(connection: Any, *_: object) -> None:
    """Raises ``InvalidatePoolError``, on which the pool connects anew, where the server has ended a pooled connection.

    A server that ends one says so, so its socket has something to read, as none has otherwise: one look without a round trip,
    where SQLAlchemy's ``pool_pre_ping`` sends a statement ahead of every other.
    """
    if not connection.closed and not _has_news(connection.fileno()):
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise InvalidatePoolError(str(error)) from error


def _has_news(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
