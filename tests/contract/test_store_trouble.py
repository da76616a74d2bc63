"""A store in trouble, on SQLite and on a real PostgreSQL: a full disk, a database that refuses. Nothing is half done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from simway_flask_app.store.port import StoreError, StoreUnavailable
from simway_flask_app.store.sql import SqlStore, open_store
from simway_testing import postgres_server
from simway_testing.rollups import recomputed, rollups_of
from simway_testing.stores import ON_POSTGRES, T0_US, UplinkLog, uplink
from sqlalchemy import text

MANY = 6_000
TABLES = ("readings", "rollup_minute", "rollup_hour", "rollup_day", "latest", "epochs", "dead_letters")


@pytest.fixture
def own(url: str, tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path}/own.db" if url.startswith("sqlite") else postgres_server.database(url), pool_size=1)
    store.migrate()
    yield store
    store.close()


@contextmanager
def full(store: SqlStore, table: str) -> Iterator[None]:
    """No room: SQLite may not grow its file, PostgreSQL says so itself at the first row of a table."""
    if store.is_sqlite:
        with store.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        yield
        with store.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 4294967294")
        return
    with refusing(store, table, "53100", "could not extend file: No space left on device"):
        yield


@contextmanager
def refusing(store: SqlStore, table: str, code: str = "45000", message: str = "not today") -> Iterator[None]:
    """A database whose owner put a rule of their own on a table."""
    with store.transaction() as connection:
        if store.is_sqlite:
            connection.exec_driver_sql(
                f"CREATE TRIGGER trouble BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$"
            )
            connection.exec_driver_sql(f"CREATE TRIGGER trouble BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trouble()")
    yield
    with store.transaction() as connection:
        connection.exec_driver_sql("DROP TRIGGER trouble" if store.is_sqlite else "DROP FUNCTION trouble CASCADE")


def counts(store: SqlStore) -> dict[str, int]:
    with store.reading() as connection:
        return {table: int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()) for table in TABLES}


@pytest.mark.parametrize("table", ["readings", "rollup_minute", "latest", "epochs"])
def test_a_full_disk_is_waited_for_and_named(own: SqlStore, table: str) -> None:
    log = UplinkLog(own)
    log.store(uplink("before", 1, ("t", T0_US, 1.0)))
    before = counts(own)
    batch = uplink("demo", 1, *((f"s{n % 100}", T0_US + n // 100, float(n)) for n in range(MANY)))
    with full(own, table):
        with pytest.raises(StoreUnavailable, match=r"disk.* full.*make room"):
            log.store(batch)
        with pytest.raises(StoreUnavailable, match=r"disk.* full.*make room"):
            own.history_writer().store("demo", batch.readings, T0_US)
        assert counts(own) == before
    outcome = log.store(batch)
    assert len(outcome.readings) == MANY
    assert rollups_of(own) == recomputed(own)
    ledger = own.loss_ledger("demo")
    assert (ledger.sent, ledger.stored) == (MANY, MANY)


@pytest.mark.parametrize("table", ["rollup_day", "latest", "epochs"])
def test_a_database_that_refuses_is_named_and_nothing_is_half_done(own: SqlStore, table: str) -> None:
    log = UplinkLog(own)
    with refusing(own, table):
        with pytest.raises(StoreError, match="not today") as raised:
            log.store(uplink("demo", 1, ("t", T0_US, 1.0)))
        assert not isinstance(raised.value, StoreUnavailable)
        assert set(counts(own).values()) == {0}
    log.store(uplink("demo", 1, ("t", T0_US, 1.0)))
    assert own.loss_ledger("demo").stored == 1


def test_rows_that_the_database_will_not_have_go_aside_and_the_rest_is_stored(own: SqlStore) -> None:
    if own.is_sqlite:
        rule = "CREATE TRIGGER rule BEFORE INSERT ON readings WHEN NEW.num > 90 BEGIN SELECT RAISE(ABORT, 'too hot'); END"
        with own.transaction() as connection:
            connection.exec_driver_sql(rule)
    else:
        with own.transaction() as connection:
            connection.exec_driver_sql("ALTER TABLE readings ADD CONSTRAINT rule CHECK (num <= 90)")
    outcome = UplinkLog(own).store(uplink("demo", 1, *(("t", T0_US + n, float(n)) for n in range(100))))
    assert (len(outcome.readings), outcome.refused) == (91, 9)
    assert rollups_of(own) == recomputed(own)
    assert dict(own.loss_ledger("demo").rejected) == {"refused_by_store": 9}


@ON_POSTGRES
def test_a_connection_that_the_database_has_ended_is_replaced_without_a_word(own: SqlStore) -> None:
    other = open_store(own_url(own), pool_size=1)
    for _ in range(2):
        with own.reading() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with other.reading() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
        own.ping()
        with other.reading() as connection:
            assert connection.execute(text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}).scalar() == 0
    other.close()


def own_url(store: SqlStore) -> str:
    with store.reading() as connection:
        return connection.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
