"""The schema of the store, step by step (Alembic). ``init`` runs them; services only check that the newest has been run."""

from __future__ import annotations

from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import SchemaMismatch

_LOCK = 0x53494D57
"""Key of the advisory lock on PostgreSQL: two inits at once take turns."""


def head() -> str:
    """The newest revision that this code knows."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def upgrade(database: Database) -> bool:
    """Brings the schema to ``head``; True when something changed. Raises ``SchemaMismatch`` when it is newer than this code."""
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = _current(connection)
        if current == head():
            return False
        _refuse_unknown(current)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return True


def check(database: Database) -> None:
    """Raises ``SchemaMismatch``, saying what to run, unless the schema is exactly what this code knows."""
    with database.read() as connection:
        current = _current(connection)
    _refuse_unknown(current)
    if current != head():
        have = f"at revision {current}" if current else "empty"
        raise SchemaMismatch(
            f"the store's schema is {have}, this code needs {head()}: "
            "run 'python -m simway_flask_app init' with the same settings"
        )


def _refuse_unknown(current: str | None) -> None:
    if current is None:
        return
    try:
        _scripts().get_revision(current)
    except CommandError as error:
        raise SchemaMismatch(
            f"the store's schema is at revision {current}, which this code does not know: a newer release made it. "
            "Run that release, or restore a backup from before it"
        ) from error


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: Any = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "simway_flask_app.store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
