"""One suite for the store on SQLite and on a real PostgreSQL: the audit trail, twins, alarms."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from simway_flask_app.policy import Refusal, Verdict
from simway_flask_app.store import migrations, registry, trail, twins
from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import BadCursor, CommandRefused, StoreError, StoreUnavailable, UnknownDevice
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.trail import EMPTY, Head, Signer
from simway_protocol.messages import Inventory, Profile
from simway_testing import postgres_server
from simway_testing.stores import T0_US, new_command
from sqlalchemy import text

SIGNER = Signer.of(bytes(range(32)))
ALPHA, BETA, GAMMA = "8949000000000000011", "8949000000000000029", "8949000000000000037"
EID, OTHER_EID = "89" * 16, "88" * 16


@pytest.fixture
def fresh(url: str, tmp_path: Path) -> Iterator[SqlStore]:
    """A store of its own: these tests break trails."""
    own = f"sqlite:///{tmp_path}/fresh.db" if url.startswith("sqlite") else postgres_server.database(url)
    store = open_store(own)
    store.migrate()
    yield store
    store.close()


def decide(store: SqlStore, count: int, device: str = "demo") -> None:
    for number in range(count):
        with store.deciding() as connection:
            trail.append(connection, "device.status", device=device, actor="api", now_us=T0_US + number, detail={"n": number})


def meddle(store: SqlStore, statement: str) -> None:
    """Does to the trail what its owner could: takes the guard away first."""
    with store.transaction() as connection:
        if store.is_sqlite:
            for table, verb in product(("audit_trail", "audit_anchors"), ("update", "delete")):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
        else:
            for table in ("audit_trail", "audit_anchors"):
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        connection.exec_driver_sql(statement)


def hold(store: SqlStore, device: str, *iccids: str, active: str = ALPHA, eid: str = EID, generation: int = 1) -> None:
    profiles = [Profile(iccid, "a0", "enabled" if iccid == active else "disabled", "P") for iccid in iccids]
    with store.deciding() as connection:
        registry.note_inventory(connection, Inventory(device, "udp", generation, T0_US, eid, active, profiles, "3.1", "smdp"))
        twins.note_report(connection, device, T0_US)


def raised(store: SqlStore, device: str) -> list[tuple[str, str]]:
    return [(alarm.kind, alarm.subject) for alarm in store.device(device).alarms]


# --- the trail -----------------------------------------------------------------------------------------------------------


def test_an_empty_trail_holds_and_so_does_a_long_one(fresh: SqlStore) -> None:
    assert fresh.verify_audit(SIGNER).head == EMPTY
    decide(fresh, 30)
    verdict = fresh.verify_audit(SIGNER)
    assert (verdict.broken, verdict.head.seq, verdict.public_key) == (None, 30, SIGNER.public_key)
    newest = fresh.audit(limit=1).entries[0]
    assert (newest.entry.seq, newest.hash) == (30, verdict.head.hash)


def test_writers_at_once_make_one_chain(fresh: SqlStore) -> None:
    """The web's processes and the dispatcher decide at the same time: each entry has its number, none is lost."""
    done: list[int] = []

    def write(me: int) -> None:
        count = 0
        while count < 15:
            try:
                decide(fresh, 1, f"writer-{me}")
            except StoreUnavailable:
                continue
            count += 1
        done.append(count)

    threads = [threading.Thread(target=write, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [15] * 4
    verdict = fresh.verify_audit(SIGNER)
    assert (verdict.broken, verdict.head.seq) == (None, 60)


def test_an_entry_stands_or_falls_with_its_decision(fresh: SqlStore) -> None:
    decide(fresh, 1)
    with pytest.raises(ZeroDivisionError), fresh.deciding() as connection:
        assert trail.append(connection, "device.status", device="demo", actor="api", now_us=T0_US) / 0
    fresh.add_device("demo", name="Pump", now_us=T0_US)
    with pytest.raises(StoreError):
        fresh.add_device("demo", name="Pump", now_us=T0_US)
    assert [(row.entry.seq, row.entry.kind) for row in fresh.audit().entries] == [(2, "device.enrolled"), (1, "device.status")]
    assert fresh.verify_audit(SIGNER).broken is None


def test_an_entry_undone_with_a_savepoint_is_not_what_the_next_one_follows(fresh: SqlStore) -> None:
    with fresh.deciding() as connection:
        for number in range(2):
            undone = connection.begin_nested()
            trail.append(connection, "device.status", device="demo", actor="api", now_us=T0_US, detail={"undone": number})
            undone.rollback()
            trail.append(connection, "device.status", device="demo", actor="api", now_us=T0_US)
    assert [row.entry.seq for row in fresh.audit().entries] == [2, 1]
    assert fresh.verify_audit(SIGNER).broken is None


def test_the_database_refuses_to_change_an_entry(fresh: SqlStore) -> None:
    decide(fresh, 2)
    statements = ["UPDATE audit_trail SET actor = 'x'", "DELETE FROM audit_trail"]
    for statement in statements if fresh.is_sqlite else [*statements, "TRUNCATE audit_trail"]:
        with pytest.raises(StoreError, match="append-only"), fresh.transaction() as connection:
            connection.exec_driver_sql(statement)
    assert fresh.verify_audit(SIGNER).head.seq == 2


@pytest.mark.parametrize(
    ("statement", "seq", "problem"),
    [
        ("UPDATE audit_trail SET detail = '{}' WHERE seq = 4", 4, "changed"),
        ("UPDATE audit_trail SET t_us = t_us + 1 WHERE seq = 1", 1, "changed"),
        ("UPDATE audit_trail SET hash = (SELECT hash FROM audit_head) WHERE seq = 3", 3, "changed"),
        ("DELETE FROM audit_trail WHERE seq = 5", 5, "missing"),
        ("DELETE FROM audit_trail WHERE seq >= 6", 6, "missing"),
        ("UPDATE audit_trail SET seq = 0 WHERE seq = 1", 1, "missing"),
        ("UPDATE audit_head SET hash = (SELECT hash FROM audit_trail WHERE seq = 2)", 8, "head"),
        ("UPDATE audit_head SET seq = 6, hash = (SELECT hash FROM audit_trail WHERE seq = 6)", 7, "head"),
        ("UPDATE audit_anchors SET signature = '00' WHERE seq = 8", 8, "signature"),
        ("UPDATE audit_anchors SET seq = 7 WHERE seq = 8", 7, "anchor"),
    ],
)
def test_verification_names_the_first_broken_entry(fresh: SqlStore, statement: str, seq: int, problem: str) -> None:
    decide(fresh, 8)
    with fresh.deciding() as connection:
        head = trail.head_now(connection)
        trail.note_anchor(connection, head, SIGNER.sign(head), T0_US)
    assert fresh.verify_audit(SIGNER).broken is None
    meddle(fresh, statement)
    broken = fresh.verify_audit(SIGNER).broken
    assert broken is not None
    assert (broken.seq, broken.problem) == (seq, problem)


def test_a_trail_cut_with_its_head_does_not_have_what_somebody_noted(fresh: SqlStore) -> None:
    decide(fresh, 5)
    noted = fresh.verify_audit(SIGNER).head
    assert fresh.verify_audit(SIGNER, [noted, EMPTY]).broken is None
    meddle(fresh, "DELETE FROM audit_trail WHERE seq > 3")
    meddle(fresh, "UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_trail WHERE seq = 3)")
    assert fresh.verify_audit(SIGNER).broken is None, "by itself it is whole"
    broken = fresh.verify_audit(SIGNER, [noted]).broken
    assert broken is not None
    assert (broken.seq, broken.problem) == (5, "anchor")
    decide(fresh, 4)
    assert fresh.verify_audit(SIGNER, [noted]).broken is not None, "grown again, it is another one"
    assert fresh.verify_audit(Signer.of(bytes(32)), [Head(9, "00" * 32)]).broken is not None


def test_the_trail_is_read_by_device_kind_time_and_page(fresh: SqlStore) -> None:
    fresh.add_device("pump", name="", now_us=T0_US)
    decide(fresh, 6, "demo")
    fresh.set_device_status("pump", "revoked", now_us=T0_US + 100)

    def found(**question: Any) -> list[int]:
        return [row.entry.seq for row in fresh.audit(**question).entries]

    assert found(device="pump") == [8, 1]
    assert found(kind="device.status") == [8, 7, 6, 5, 4, 3, 2]
    assert found(from_us=T0_US + 3, to_us=T0_US + 100) == [7, 6, 5]
    assert found(device="nobody") == []
    first = fresh.audit(device="demo", limit=4)
    second = fresh.audit(device="demo", limit=4, cursor=first.next_cursor)
    assert [row.entry.seq for row in first.entries + second.entries] == [7, 6, 5, 4, 3, 2]
    assert second.next_cursor is None
    for cursor in ("x", "AAAA", "é", "=", f"{first.next_cursor}AAAA"):
        with pytest.raises(BadCursor):
            fresh.audit(cursor=cursor)


# --- commands ------------------------------------------------------------------------------------------------------------


def test_a_refusal_queues_nothing_and_is_in_the_trail(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    wanted = new_command(device, "switch", target_iccid=BETA)
    with pytest.raises(CommandRefused) as caught:
        store.add_command(wanted, now_us=T0_US, judge=lambda facts: Verdict(Refusal("no_fallback", "Because.")))
    assert caught.value.refusal.reason == "no_fallback"
    assert store.commands(device).commands == []
    (entry, *_) = store.audit(device=device).entries
    assert (entry.entry.kind, entry.entry.subject) == ("command.refused", BETA)
    with pytest.raises(UnknownDevice):
        store.add_command(new_command("nobody"), now_us=T0_US)


def test_the_judge_sees_the_facts_of_the_same_transaction(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    hold(store, device, ALPHA, BETA)
    store.set_desired(device, iccid="", eid="", actor="api", now_us=T0_US)
    seen = []

    def judge(facts: Any) -> Verdict:
        seen.append(facts)
        return Verdict(None, ("test_profile",))

    forced = {"target_iccid": BETA, "forced": True, "force_reason": "on the bench"}
    made = store.add_command(new_command(device, "switch", **forced), now_us=T0_US + 1, judge=judge)
    store.add_command(new_command(device, "switch", target_iccid=GAMMA), now_us=T0_US + 2, judge=judge)
    assert (made.forced, made.force_reason, made.target_class) == (True, "on the bench", "operational")
    assert [profile.iccid for profile in seen[0].profiles] == [ALPHA, BETA]
    assert (seen[0].active_iccid, seen[0].open_switch) == (ALPHA, "")
    assert (seen[1].open_switch, tuple(seen[1].switch_times_us)) == (made.command_id, (T0_US + 1,))
    store.request_cancel(device, made.command_id, actor="api", now_us=T0_US + 3)
    kinds = [row.entry.kind for row in store.audit(device=device).entries]
    assert kinds[:4] == ["command.cancel_requested", "command.accepted", "command.forced", "command.accepted"]


# --- twins and alarms ----------------------------------------------------------------------------------------------------


def test_the_first_report_says_what_belongs_there_and_later_ones_are_held_against_it(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    assert store.twin(device).desired is None
    hold(store, device, ALPHA, BETA)
    desired = store.twin(device).desired
    assert desired is not None
    assert (desired.iccid, desired.eid, desired.profiles, desired.source) == (ALPHA, EID, (ALPHA, BETA), "report")
    assert raised(store, device) == []
    hold(store, device, ALPHA, GAMMA, active=GAMMA)
    assert raised(store, device) == [("profile_appeared", GAMMA), ("profile_vanished", BETA), ("active_profile", GAMMA)]
    hold(store, device, ALPHA, GAMMA, active=GAMMA)
    assert len(raised(store, device)) == 3, "an alarm is raised once"
    hold(store, device, ALPHA, GAMMA, active=GAMMA, eid=OTHER_EID)
    assert raised(store, device) == [("active_profile", GAMMA), ("eid_changed", OTHER_EID)]
    twin = store.set_desired(device, iccid="", eid="", actor="api", now_us=T0_US + 9)
    assert twin.desired is not None
    assert (twin.desired.iccid, twin.desired.eid, twin.desired.source) == (GAMMA, OTHER_EID, "person")
    assert raised(store, device) == []
    inventory = store.device(device).inventory
    assert inventory is not None
    assert (inventory.os_version, inventory.smdp) == ("3.1", "smdp")


def test_alarms_come_newest_first_in_pages_and_stay_when_they_are_over(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    hold(store, device, ALPHA)
    hold(store, device, BETA, GAMMA, active=BETA)
    standing = store.alarms(device=device, over=False)
    assert [alarm.kind for alarm in standing.alarms] == [
        "active_profile",
        "profile_vanished",
        "profile_appeared",
        "profile_appeared",
    ]
    hold(store, device, ALPHA)
    assert store.alarms(device=device, over=False).alarms == []
    first = store.alarms(device=device, limit=3)
    second = store.alarms(device=device, limit=3, cursor=first.next_cursor)
    assert [alarm.alarm_id for alarm in first.alarms + second.alarms] == [alarm.alarm_id for alarm in standing.alarms]
    assert all(alarm.over_us is not None for alarm in store.alarms(device=device, over=True).alarms)
    kinds = [row.entry.kind for row in store.audit(device=device).entries]
    assert kinds.count("alarm.raised") == kinds.count("alarm.over") == 4
    with pytest.raises(BadCursor):
        store.alarms(cursor="AAAA")


def test_twins_of_devices_that_nobody_registered(store: SqlStore) -> None:
    nobody = f"d-{uuid.uuid4().hex}"
    hold(store, nobody, ALPHA)
    for ask in (lambda: store.twin(nobody), lambda: store.set_desired(
        nobody, iccid="", eid="", actor="api", now_us=T0_US
    )):  # fmt: skip
        with pytest.raises(UnknownDevice):
            ask()


# --- migration -----------------------------------------------------------------------------------------------------------


def test_a_store_of_before_keeps_the_order_of_its_commands(url: str, tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path}/old.db" if url.startswith("sqlite") else postgres_server.database(url)
    database = Database(own)
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", "simway_flask_app.store:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text("INSERT INTO devices VALUES ('demo', '', 'active', 1, 0, 1, 1)"))
        for number, created_us in enumerate((30, 10, 20)):
            connection.execute(
                text(
                    "INSERT INTO commands (command_id, device, kind, state, target_iccid, provider, deadline_s, expires_us, "
                    "answer_by_us, created_us, updated_us, actor, reason, evidence, turn, seals, sent_generation, "
                    "cancel_pending) "
                    "VALUES (:id, 'demo', 'ping', 'EXECUTED', '', '', 30, 1, 1, :t, 1, 'api', '', '{}', 0, 1, 0, 0)"
                ),
                {"id": f"{number:032x}", "t": created_us},
            )
            connection.execute(
                text(
                    "INSERT INTO command_history (command_id, t_us, actor, event, state, reason, evidence) "
                    "VALUES (:id, 1, 'api', 'created', 'QUEUED', '', '{}')"
                ),
                {"id": f"{number:032x}"},
            )
    assert migrations.upgrade(database)
    database.close()
    store = open_store(own)
    made = store.add_command(new_command("demo"), now_us=5)
    found = [row.command_id for row in store.commands("demo").commands]
    assert found == [made.command_id, f"{2:032x}", f"{1:032x}", f"{0:032x}"]
    assert store.verify_audit(SIGNER).head.seq == 1
    store.close()
