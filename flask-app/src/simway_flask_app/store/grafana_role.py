"""The database role that Grafana reads with: it sees the views, and nothing else (design, section 9). PostgreSQL only."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import StoreError

ROLE = "simway_grafana"
STATEMENT_TIMEOUT = "30s"


def ensure(database: Database, password: str) -> None:
    """Makes the role, or sets its password, and grants it the views. Raises ``StoreError`` when the user may not make roles."""
    with database.write() as connection:
        driver: Any = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        role = sql.Identifier(ROLE)
        exists = driver.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone()
        verb = sql.SQL("ALTER" if exists else "CREATE")
        try:
            driver.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(password)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(
                f"the database user may not make the role {ROLE}: give it CREATEROLE, or make the role as an administrator"
            ) from error
        driver.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role))
        driver.execute(sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(role, sql.Literal(STATEMENT_TIMEOUT)))
        driver.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role))
        driver.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        for view in _views(connection):
            driver.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(view), role))


def _views(connection: Connection) -> list[str]:
    found = connection.exec_driver_sql("SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY viewname")
    return [row[0] for row in found]
