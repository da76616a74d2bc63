"""SQLAlchemy's SQLite dialect over apsw: ``sqlite+apsw:///path`` (see ``simway_backbone.sqlite_dbapi`` for why)."""

from __future__ import annotations

from typing import Any, cast

from simway_backbone import sqlite_dbapi
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.pool import Pool, QueuePool


class ApswDialect(SQLiteDialect):
    """The stock SQLite dialect, with another driver. A pooled connection passes between threads, one at a time."""

    driver = "apsw"
    default_paramstyle = "qmark"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> DBAPIModule:
        """The PEP 249 module."""
        module: Any = sqlite_dbapi
        return cast(DBAPIModule, module)

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:  # noqa: ARG003
        """Connections are kept: opening one costs several pragmas."""
        return QueuePool

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:  # noqa: ARG002
        return sqlite_dbapi.sqlite_version_info

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """The path is the URL's database."""
        return [url.database or ":memory:"], dict(url.query)

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:  # noqa: ARG002
        """True when the connection was closed below."""
        return isinstance(e, sqlite_dbapi.ProgrammingError) and sqlite_dbapi.CLOSED in str(e)


def register() -> None:
    """Makes ``sqlite+apsw`` known to ``create_engine``."""
    registry.register("sqlite.apsw", __name__, "ApswDialect")
