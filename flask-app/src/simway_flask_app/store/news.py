"""Whether something was decided in the store since the last look, without asking what: so that who acts on it need not ask often.

News that is lost costs time, never more: whoever waits for it also looks now and then without.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import apsw
from simway_backbone import sqlite

from simway_flask_app.store.engine import Database, errors
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.store.trail import CHANNEL

LOOK_S = 0.005
"""Between two looks at an SQLite file, each a few microseconds."""


class News(Protocol):
    """Of one thread. Connects at the first ``wait``, and again after an error."""

    def wait(self, timeout_s: float) -> bool:
        """True as soon as something may have been decided since the last call, and at first; False after ``timeout_s``.

        Blocks that long. Raises ``StoreUnavailable``.
        """

    def close(self) -> None:
        """Frees the connection."""


class PostgresNews:
    """By LISTEN; whoever takes its turn in the audit trail notifies, in the same statement (``trail.lock``)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None

    def wait(self, timeout_s: float) -> bool:
        """See ``News``."""
        try:
            with errors():
                if self._connection is None:
                    self._connect()
                    return True
                return bool(list(self._connection.notifies(timeout=timeout_s, stop_after=1)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See ``News``."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> None:
        pooled = self._database.engine.raw_connection()
        self._connection = pooled.driver_connection
        pooled.detach()
        self._connection.autocommit = True
        self._connection.execute(f"LISTEN {CHANNEL}")


class SqliteNews:
    """By ``PRAGMA data_version``, which changes with every commit of another connection, whatever it wrote."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._version = -1

    def wait(self, timeout_s: float) -> bool:
        """See ``News``."""
        deadline_s = time.monotonic() + timeout_s
        try:
            with errors():
                self._connection = self._connection or sqlite.connect(self._path, create=False)
                while not self._is_new(self._connection):
                    if (left_s := deadline_s - time.monotonic()) <= 0:
                        return False
                    time.sleep(min(LOOK_S, left_s))
                return True
        except sqlite.SqliteUnusable as error:
            raise StoreUnavailable(str(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See ``News``."""
        connection, self._connection, self._version = self._connection, None, -1
        if connection is not None:
            connection.close()

    def _is_new(self, connection: apsw.Connection) -> bool:
        before, self._version = self._version, int(sqlite.value(connection, "PRAGMA data_version"))
        return before != self._version


def news_of(database: Database) -> News:
    """The database's own way."""
    return SqliteNews(str(database.engine.url.database)) if database.is_sqlite else PostgresNews(database)
