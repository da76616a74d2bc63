"""The schema of the store, step by step (Alembic). ``init`` runs them; services only check that the newest has been run."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from sqlalchemy import Connection, inspect, text

from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import SchemaMismatch

_LOCK = 0x53494D57
"""Key of the advisory lock on PostgreSQL: two inits at once take turns."""


def revisions() -> list[str]:
    """The revisions that this code knows, the newest last: the numbers that the files in ``versions`` begin with."""
    names = (entry.name for entry in files(__name__).joinpath("versions").iterdir())
    return sorted(name.split("_", 1)[0] for name in names if name.endswith(".py") and name[0].isdigit())


def upgrade(database: Database) -> bool:
    """Brings the schema to the newest revision; True when something changed.

    Raises ``SchemaMismatch`` when it is newer than this code.
    """
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = _current(connection)
        _refuse_unknown(current)
        if current == revisions()[-1]:
            return False
        _run(connection)
        return True


def check(database: Database) -> None:
    """Raises ``SchemaMismatch``, saying what to run, unless the schema is exactly what this code knows."""
    with database.read() as connection:
        current = _current(connection)
    _refuse_unknown(current)
    if current != revisions()[-1]:
        have = f"at revision {current}" if current else "empty"
        raise SchemaMismatch(
            f"the store's schema is {have}, this code needs {revisions()[-1]}: "
            "run 'python -m simway_flask_app init' with the same settings"
        )


def _run(connection: Connection) -> None:
    from alembic import command  # takes a second to import, and only init needs it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "simway_flask_app.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _refuse_unknown(current: str | None) -> None:
    if current is not None and current not in revisions():
        raise SchemaMismatch(
            f"the store's schema is at revision {current}, which this code does not know: a newer release made it. "
            "Run that release, or restore a backup from before it"
        )


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: Any = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
