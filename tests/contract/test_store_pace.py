"""The store on both databases: what it looks for at every idle round, how long it waits, and an upgrade of what was before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from simway_flask_app.dispatcher import LOOK
from simway_flask_app.store import commands, engine, migrations, trail
from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import StoreError, StoreUnavailable
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.trail import Signer
from simway_testing import postgres_server
from simway_testing.stores import T0_US, new_command
from simway_testing.waiting import wait_for
from sqlalchemy import Connection, Executable, event, text

SIGNER = Signer.of(bytes(range(32)))
ALPHA, BETA = "8949000000000000011", "8949000000000000029"
OVER = 5_000
"""Commands that are over: enough that a planner would not read them all to find the few that are open."""


def own_url(url: str, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/own.db" if url.startswith("sqlite") else postgres_server.database(url)


@pytest.fixture
def fresh(url: str, tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(own_url(url, tmp_path))
    store.migrate()
    yield store
    store.close()


# --- the idle round ------------------------------------------------------------------------------------------------------


def much(store: SqlStore) -> None:
    store.add_device("demo", name="", now_us=T0_US)
    made = store.add_command(new_command("demo"), now_us=T0_US)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE commands SET state = 'EXECUTED', counter = 1")
        columns = [row[0] for row in connection.execute(text("SELECT * FROM commands LIMIT 0")).cursor.description]  # type: ignore[union-attr]
        copied = ", ".join("'c' || n.n" if name == "command_id" else name for name in columns)
        connection.execute(
            text(
                f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {OVER}) "
                f"INSERT INTO commands ({', '.join(columns)}) SELECT {copied} FROM commands, n WHERE command_id = :known"
            ),
            {"known": made.command_id},
        )
        connection.exec_driver_sql("ANALYZE")


def plan(store: SqlStore, connection: Connection, statement: str, parameters: object) -> str:
    words = "EXPLAIN QUERY PLAN" if store.is_sqlite else "EXPLAIN"
    return "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(f"{words} {statement}", parameters))  # type: ignore[arg-type]


def plans_of(store: SqlStore, *questions: Executable) -> str:
    with store.reading() as connection:
        asked: list[tuple[str, object]] = []
        event.listen(connection, "before_cursor_execute", lambda _c, _u, sql, given, _x, _m: asked.append((sql, given)))
        for question in questions:
            connection.execute(question, {"now_us": T0_US, "late_us": T0_US})
        return "\n".join(plan(store, connection, *one) for one in list(asked))


def no_scan(found: str) -> None:
    lines = [line for line in found.splitlines() if "commands" in line]
    assert lines
    scans = [line for line in lines if "Seq Scan" in line or ("SCAN commands" in line and "INDEX" not in line)]
    assert not scans, found


def test_an_idle_round_never_reads_all_commands(fresh: SqlStore) -> None:
    much(fresh)
    no_scan(plans_of(fresh, LOOK))


def test_nor_does_the_search_for_what_is_to_be_done(fresh: SqlStore) -> None:
    much(fresh)
    with fresh.transaction() as connection:
        asked: list[tuple[str, object]] = []
        event.listen(connection, "before_cursor_execute", lambda _c, _u, sql, given, _x, _m: asked.append((sql, given)))
        commands.to_cancel(connection, 10)
        commands.to_seal(connection, 10)
        commands.overdue(connection, T0_US, T0_US, 10)
        for one in asked.copy():
            no_scan(plan(fresh, connection, *one))


# --- waiting -------------------------------------------------------------------------------------------------------------


def test_a_stuck_writer_stops_nobody_for_good(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if url.startswith("sqlite"):
        database = Database(own_url(url, tmp_path))
        with database.read() as connection:
            assert 0 < connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() <= 10_000
        database.close()
        return
    own = own_url(url, tmp_path)
    assert {"lock_timeout=10s", "idle_in_transaction_session_timeout=30s"} <= set(engine._POSTGRES_ARGUMENTS["options"].split())
    short = engine._POSTGRES_ARGUMENTS["options"].replace("=10s", "=100ms").replace("=30s", "=1s")
    monkeypatch.setitem(engine._POSTGRES_ARGUMENTS, "options", short)
    store = open_store(own)
    store.migrate()
    stuck = store.deciding()
    stuck.__enter__().exec_driver_sql("SET idle_in_transaction_session_timeout = '1s'")
    with pytest.raises(StoreUnavailable, match="lock timeout"):
        store.add_device("demo", name="", now_us=T0_US)
    wait_for(lambda: added(store), 60, "the database ended the transaction that hangs")
    with pytest.raises(StoreUnavailable):
        stuck.__exit__(None, None, None)
    store.close()


def added(store: SqlStore) -> bool:
    try:
        store.add_device("demo", name="", now_us=T0_US)
    except StoreUnavailable:
        return False
    return True


# --- an upgrade ----------------------------------------------------------------------------------------------------------


def test_sims_that_were_reported_before_there_were_twins_have_one_after_the_upgrade(url: str, tmp_path: Path) -> None:
    own = own_url(url, tmp_path)
    database = Database(own)
    profiles = json.dumps([{"iccid": ALPHA, "aid": "a0", "state": "enabled"}, {"iccid": BETA, "aid": "a1", "state": "disabled"}])
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", "simway_flask_app.store:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for device in ("here", "moved", "silent"):
            connection.execute(text("INSERT INTO devices VALUES (:d, '', 'active', 1, 0, 1, 1)"), {"d": device})
        for device in ("here", "moved", "nobody"):
            connection.execute(
                text("INSERT INTO inventories VALUES (:d, :eid, :a, :p, 5, 1)"),
                {"d": device, "eid": "89" * 16, "a": ALPHA, "p": profiles},
            )
        connection.execute(
            text(
                "INSERT INTO sessions (device, generation, gateway, iccid, boot_counter, epoch, key_version, address, "
                "attached_us, detached_us, detached_reason) VALUES ('moved', 2, 'udp', :b, 1, '', 1, '', 9, NULL, '')"
            ),
            {"b": BETA},
        )
    assert migrations.upgrade(database)
    database.close()
    store = open_store(own)
    here, moved = store.twin("here").desired, store.twin("moved").desired
    assert here is not None
    assert moved is not None
    assert (here.iccid, here.eid, here.profiles, here.source) == (ALPHA, "89" * 16, (ALPHA, BETA), "report")
    assert moved.iccid == BETA, "the newer of attach and inventory"
    assert store.twin("silent").desired is None
    held = store.device("here").inventory
    assert held is not None
    assert [item.iccid for item in held.profiles] == [ALPHA, BETA]
    store.close()


@pytest.mark.parametrize("statement", ["UPDATE audit_anchors SET t_us = 0", "DELETE FROM audit_anchors"])
def test_the_database_refuses_to_change_an_anchor(fresh: SqlStore, statement: str) -> None:
    fresh.add_device("demo", name="", now_us=T0_US)
    with fresh.deciding() as connection:
        head = trail.head_now(connection)
        trail.note_anchor(connection, head, SIGNER.sign(head), T0_US)
    with pytest.raises(StoreError, match="append-only"), fresh.transaction() as connection:
        connection.exec_driver_sql(statement)
    assert fresh.verify_audit(SIGNER).signed is not None
