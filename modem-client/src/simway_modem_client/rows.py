"""Rows out of SQLite, untyped: the schema beside the query is their type."""

from __future__ import annotations

from typing import Any

import apsw


def fetch(connection: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of a query."""
    rows: list[Any] = connection.execute(sql, arguments).fetchall()
    return rows


def first(connection: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> Any:
    """The first row, or None."""
    return connection.execute(sql, arguments).fetchone()


def value(connection: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> Any:
    """The first column of the first row; the query must give one."""
    return first(connection, sql, arguments)[0]
