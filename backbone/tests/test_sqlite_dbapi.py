"""The DB-API face of apsw: PEP 249, and a whole SQLAlchemy engine with Alembic on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from simway_backbone import sqlite, sqlite_dbapi


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite_dbapi.Connection]:
    connection = sqlite_dbapi.connect(str(tmp_path / "a.db"))
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE, c)")
    connection.commit()
    yield connection
    connection.close()


def test_rows_description_and_counts(connection: sqlite_dbapi.Connection) -> None:
    cursor = connection.executemany("INSERT INTO t (b, c) VALUES (?, ?)", [("x", 1.5), ("y", b"\x00"), ("z", None)])
    assert (cursor.rowcount, cursor.lastrowid) == (3, 3)
    cursor = connection.execute("SELECT a, b AS bee, c FROM t WHERE a > :least ORDER BY a", {"least": 1})
    assert cursor.description is not None
    assert [column[0] for column in cursor.description] == ["a", "bee", "c"]
    assert cursor.fetchone() == (2, "y", b"\x00")
    assert cursor.fetchmany(5) == [(3, "z", None)]
    assert cursor.fetchone() is None
    assert connection.execute("UPDATE t SET c = 0 WHERE a > 1").rowcount == 2


def test_an_empty_result_still_has_a_description(connection: sqlite_dbapi.Connection) -> None:
    cursor = connection.execute("SELECT a FROM t")
    assert cursor.description is not None
    assert cursor.description[0][0] == "a"
    assert cursor.fetchall() == []
    assert connection.execute("INSERT INTO t (b) VALUES ('x')").description is None


def test_insert_returning(connection: sqlite_dbapi.Connection) -> None:
    cursor = connection.execute("INSERT INTO t (b) VALUES ('x') RETURNING a, b")
    assert cursor.fetchall() == [(1, "x")]
    assert cursor.rowcount == 1


def test_a_write_begins_and_rollback_undoes_ddl_too(connection: sqlite_dbapi.Connection) -> None:
    connection.execute("SELECT * FROM t")
    assert not connection.in_transaction
    connection.execute("/* note */ CREATE TABLE u (a)")
    assert connection.in_transaction
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'u'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("  -- why\n insert into t values (1)", "change"),
        ("WITH n AS (SELECT 1) SELECT * FROM n", "read"),
        ("WITH n AS (SELECT 1) UPDATE t SET a = 1", "change"),
        ("PRAGMA table_info(t)", "beside"),
        ("ALTER TABLE t ADD d", "write"),
        ("SAVEPOINT s", "write"),
        ("", "beside"),
    ],
)
def test_kinds(statement: str, kind: str) -> None:
    assert sqlite_dbapi._kind(statement) == kind


def test_isolation_levels(connection: sqlite_dbapi.Connection) -> None:
    connection.isolation_level = None
    connection.execute("INSERT INTO t (b) VALUES ('auto')")
    assert not connection.in_transaction
    connection.isolation_level = "DEFERRED"
    connection.execute("SELECT 1")
    assert connection.in_transaction
    connection.commit()


@pytest.mark.parametrize(
    ("statement", "parameters", "error"),
    [
        ("INSERT INTO t (a) VALUES (1), (1)", (), sqlite_dbapi.IntegrityError),
        ("SELEC 1", (), sqlite_dbapi.OperationalError),
        ("SELECT ?", (), sqlite_dbapi.ProgrammingError),
        ("SELECT ?", (object(),), sqlite_dbapi.ProgrammingError),
        ("SELECT ?", (2**70,), sqlite_dbapi.DataError),
    ],
)
def test_errors(connection: sqlite_dbapi.Connection, statement: str, parameters: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        connection.execute(statement, parameters)


def test_a_closed_connection_reads_as_lost(connection: sqlite_dbapi.Connection) -> None:
    connection.close()
    connection.close()
    with pytest.raises(sqlite_dbapi.ProgrammingError, match="closed database"):
        connection.cursor()


def test_another_thread_may_go_on_with_a_connection(connection: sqlite_dbapi.Connection) -> None:
    thread = threading.Thread(target=lambda: (connection.execute("INSERT INTO t (b) VALUES ('x')"), connection.commit()))
    thread.start()
    thread.join()
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_a_busy_database_is_an_operational_error(connection: sqlite_dbapi.Connection, tmp_path: Path) -> None:
    connection.execute("INSERT INTO t (b) VALUES ('x')")
    other = sqlite_dbapi.connect(str(tmp_path / "a.db"), timeout=0.01)
    with pytest.raises(sqlite_dbapi.OperationalError, match="locked"):
        other.execute("INSERT INTO t (b) VALUES ('y')")
    other.close()


def test_sqlalchemy_and_alembic_run_on_it(tmp_path: Path) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    alembic_migration = pytest.importorskip("alembic.runtime.migration")
    alembic_operations = pytest.importorskip("alembic.operations")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'b.db'}", module=sqlite_dbapi)
    metadata = sqlalchemy.MetaData()
    things = sqlalchemy.Table(
        "things",
        metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String, unique=True),
        sqlalchemy.Column("data", sqlalchemy.LargeBinary),
    )
    metadata.create_all(engine)
    with engine.begin() as transaction:
        transaction.execute(things.insert(), [{"name": "a", "data": b"1"}, {"name": "b", "data": b"2"}])
        key = transaction.execute(things.insert().values(name="c", data=b"3")).inserted_primary_key
        assert key == (3,)
        with pytest.raises(sqlalchemy.exc.IntegrityError), transaction.begin_nested():
            transaction.execute(things.insert().values(name="c"))
    with engine.begin() as transaction:
        assert transaction.execute(sqlalchemy.select(things.c.data).order_by(things.c.id)).scalars().all() == [b"1", b"2", b"3"]
        context = alembic_migration.MigrationContext.configure(transaction)
        alembic_operations.Operations(context).add_column("things", sqlalchemy.Column("more", sqlalchemy.Text))
    assert [column["name"] for column in sqlalchemy.inspect(engine).get_columns("things")] == ["id", "name", "data", "more"]
    engine.dispose()


def test_an_old_library_is_refused() -> None:
    with pytest.raises(sqlite.SqliteUnusable, match=r"3\.51\.1.*WAL-reset.*3\.51\.3"):
        sqlite.check_version("3.51.1")


def test_connect_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(sqlite.SqliteUnusable, match="folder exists"):
        sqlite.connect(tmp_path / "nowhere" / "a.db")
    (tmp_path / "text").write_text("not a database, but long enough to be looked at " * 50)
    with pytest.raises(sqlite.SqliteUnusable, match="not an SQLite database"):
        sqlite.connect(tmp_path / "text")


def test_immediate_commits_or_rolls_back(tmp_path: Path) -> None:
    database = sqlite.connect(tmp_path / "a.db")
    assert database.pragma("journal_mode") == "wal"
    assert database.pragma("synchronous") == 2
    with sqlite.immediate(database):
        database.execute("CREATE TABLE t (a)")
    with pytest.raises(apsw.SQLError), sqlite.immediate(database):
        database.execute("INSERT INTO t VALUES (1); SELEC")
    assert database.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
