"""The store on SQLite and PostgreSQL: one class for the web and the dispatcher, and the recorder's writer beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from sqlalchemy import Connection, text

from simway_flask_app.rights import WriterKey
from simway_flask_app.store import grafana_role, migrations, trail
from simway_flask_app.store.alarms import Alarms
from simway_flask_app.store.charts import Charts
from simway_flask_app.store.commands import Commands
from simway_flask_app.store.engine import APPLICATION, Database
from simway_flask_app.store.export import Exports
from simway_flask_app.store.history import HistoryWriter
from simway_flask_app.store.imports import Imports
from simway_flask_app.store.letters import DeadLetters
from simway_flask_app.store.loss import Loss
from simway_flask_app.store.news import News, news_of
from simway_flask_app.store.readings import Readings
from simway_flask_app.store.registry import Registry
from simway_flask_app.store.retention import Retention
from simway_flask_app.store.tiers import Tiers
from simway_flask_app.store.trail import AuditTrail
from simway_flask_app.store.twins import Twins
from simway_flask_app.store.uplinks import UplinkWriter
from simway_flask_app.store.windows import Windows
from simway_flask_app.store.writers import WriteRights, Writers


class SqlStore(
    Registry, Readings, Windows, Charts, Exports, Imports, Commands, Twins, Alarms, AuditTrail, Loss, DeadLetters, Writers, Tiers
):
    """Keeps ``port.WebStore``. Opening it connects to nothing; the schema is looked at by ``check_schema`` alone."""

    def __init__(self, url: str, *, pool_size: int = 5, name: str = APPLICATION) -> None:
        self._database = Database(url, pool_size=pool_size, name=name)

    @property
    def is_sqlite(self) -> bool:
        """True for the embedded database."""
        return self._database.is_sqlite

    def ping(self) -> None:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            connection.execute(text("SELECT 1"))

    def check_schema(self) -> None:
        """Raises ``SchemaMismatch``, saying what to run, unless the schema is the one this code knows."""
        migrations.check(self._database)

    def migrate(self) -> bool:
        """Brings the schema up to date; True when that changed something. Raises ``SchemaMismatch`` when it is newer."""
        return migrations.upgrade(self._database)

    def ensure_grafana_role(self, password: str) -> None:
        """Makes the role that Grafana reads with (PostgreSQL only). Raises ``StoreError`` when the user may not."""
        grafana_role.ensure(self._database, password)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A writing transaction, for the modules of the store that take a connection."""
        with self._database.write() as connection:
            yield connection

    @contextmanager
    def deciding(self) -> Iterator[Connection]:
        """A writing transaction for decisions of the dispatcher, which need not tell it: it takes its turn in the audit trail
        first, so that none waits for another."""
        with trail.deciding(self._database, tell=False) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading, for the same."""
        with self._database.read() as connection:
            yield connection

    def news(self) -> News:
        """Tells when something may have been decided."""
        return news_of(self._database)

    def uplink_writer(self) -> UplinkWriter:
        """The recorder's way in."""
        return UplinkWriter(self._database)

    def write_rights(self, key: WriterKey, *, now_us: Callable[[], int] | None = None) -> WriteRights:
        """What a recorder may write, once it was granted. ``now_us``: a clock in the place of the store's, for tests."""
        return WriteRights(self._database, key, now_us=now_us)

    def retention_job(self, raw_keep_s: int, *, stopping: Event, now_us: Callable[[], int]) -> Retention:
        """What makes room; ``raw_keep_s``: how long raw readings are kept unless a person said otherwise."""
        return Retention(self._database, raw_keep_s, stopping=stopping, now_us=now_us)

    def history_writer(self) -> HistoryWriter:
        """The way in of readings of the past."""
        return HistoryWriter(self._database)

    def close(self) -> None:
        """See ``port.WebStore``."""
        self._database.close()


def open_store(url: str, *, pool_size: int = 5, name: str = APPLICATION) -> SqlStore:
    """A store by its URL: ``sqlite:///path`` or ``postgresql://user:password@host:port/database``.

    ``name``: what PostgreSQL calls the connections.
    """
    return SqlStore(url, pool_size=pool_size, name=name)
