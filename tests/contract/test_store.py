"""One suite for the store on SQLite and on a real PostgreSQL: schema, devices, readings and how they are read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from simway_flask_app.store.feed import LatestFeed
from simway_flask_app.store.migrations import revisions
from simway_flask_app.store.port import (
    BadCursor,
    DeviceExists,
    SchemaMismatch,
    StoredReading,
    StoreUnavailable,
    UnknownDevice,
)
from simway_flask_app.store.schema import metadata
from simway_flask_app.store.sql import SqlStore, open_store
from simway_protocol.messages import Uplink
from simway_protocol.readings import Reading
from simway_testing import postgres_server
from simway_testing.stores import EPOCH, T0_US, UplinkLog, letters_of, new_command, outbox_of, uplink
from sqlalchemy import text

# --- schema --------------------------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_the_code_knows(store: SqlStore) -> None:
    assert not store.migrate()
    store.check_schema()
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": no_partition})
        assert compare_metadata(context, metadata) == []


def no_partition(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and (name or "").startswith("readings_"))


def test_a_schema_older_or_newer_than_the_code_is_an_error_that_says_what_to_run(
    url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fresh = f"sqlite:///{tmp_path}/s.db" if url.startswith("sqlite") else postgres_server.database(url)
    store = open_store(fresh)
    with pytest.raises(SchemaMismatch, match=r"empty.*run 'python -m simway_flask_app init'"):
        store.check_schema()
    store.migrate()
    with store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match=r"9999.*newer release"):
        store.check_schema()
    with pytest.raises(SchemaMismatch, match=r"9999.*newer release"):
        store.migrate()
    assert "9999" not in revisions()
    store.close()


def test_a_database_that_is_away_is_unavailable(tmp_path: Path, url: str) -> None:
    away = "postgresql://simway:x@127.0.0.1:1/none" if url.startswith("postgresql") else f"sqlite:///{tmp_path}/dir.db"
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(StoreUnavailable):
        open_store(away).ping()


# --- devices -------------------------------------------------------------------------------------------------------------


def test_a_device_is_registered_once_and_announced(store: SqlStore, device: str) -> None:
    made = store.add_device(device, name="Pump", now_us=T0_US)
    assert (made.status, made.key_version) == ("active", 1)
    with pytest.raises(DeviceExists):
        store.add_device(device, name="other", now_us=T0_US)
    revoked = store.set_device_status(device, "revoked", now_us=T0_US + 1)
    assert (revoked.status, revoked.updated_us) == ("revoked", T0_US + 1)
    topics = outbox_of(store, device)
    assert [(topic, entry.status, entry.key_versions) for topic, entry in topics] == [
        ("registry", "active", [1]), ("registry", "revoked", []),
    ]  # fmt: skip
    detail = store.device(device)
    assert detail.device == revoked
    assert (detail.session, detail.inventory, detail.last_reading_us) == (None, None, None)


def test_unknown_devices(store: SqlStore, device: str) -> None:
    with pytest.raises(UnknownDevice):
        store.device(device)
    with pytest.raises(UnknownDevice):
        store.set_device_status(device, "revoked", now_us=T0_US)
    with pytest.raises(UnknownDevice):
        store.add_command(new_command(device), now_us=T0_US)


def test_devices_come_by_id_in_pages(store: SqlStore, device: str) -> None:
    names = [f"{device}-{n}" for n in range(3)]
    for name in names:
        store.add_device(name, name="", now_us=T0_US)
    assert [found.device.device for found in store.devices(after=device, limit=2)] == names[:2]
    assert [found.device.device for found in store.devices(after=names[1], limit=100)][:1] == names[2:]


# --- readings ------------------------------------------------------------------------------------------------------------

VALUES = [21.5, 0.0, 1e300, 5e-324, 0, -7, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), True, False, "", "0", "ünïcode\n\t\\N",
          {"deep": {"a": [1, 2.5, "x"]}, "lat": 52.5, "n": None}]  # fmt: skip


def test_every_kind_of_value_comes_back_as_it_was(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, *((f"s{n:02}", T0_US, value, "Cel" if n % 2 else None) for n, value in enumerate(VALUES))))
    found = store.latest(device)
    assert [(type(r.value), repr(r.value)) for r in found] == [(type(v), repr(v)) for v in VALUES]
    assert [reading.unit for reading in found] == [None if n % 2 == 0 else "Cel" for n in range(len(VALUES))]
    assert store.readings(device).readings == found


def test_what_was_stored_is_told_after_the_commit(log: UplinkLog, device: str) -> None:
    outcome = log.store(uplink(device, 1, ("t", T0_US, 1.5, "Cel"), ("door", T0_US, False, None)))
    assert list(outcome.readings) == [
        StoredReading(device, "t", T0_US, 1.5, "Cel"), StoredReading(device, "door", T0_US, False, None),
    ]  # fmt: skip
    assert len(outcome.readings) == 2


def test_the_same_sequence_again_is_redelivered_and_not_counted_twice(store: SqlStore, log: UplinkLog, device: str) -> None:
    same = uplink(device, 1, ("t", T0_US, 1.0), ("t", T0_US + 1, 2.0))
    log.store(same)
    outcome = log.store(same, uplink(device, 2, ("t", T0_US + 1, 2.0), ("t", T0_US + 2, 3.0)))
    assert (len(outcome.readings), outcome.redelivered) == (1, 3)
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.duplicate, ledger.redelivered) == (3, 3, 0, 3)


def test_another_number_for_the_same_reading_is_a_duplicate(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0, "Cel")))
    log.store(uplink(device, 2, ("t", T0_US, 1.0, "Cel"), ("t", T0_US + 1, 1.0, "Cel"), ("t", T0_US + 1, 1, "Cel")))
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.duplicate, ledger.conflict) == (4, 2, 2, 0)
    assert len(store.readings(device).readings) == 2


@pytest.mark.parametrize("other", [(1.0, "F"), (2.0, "Cel"), (True, "Cel"), ("1.0", "Cel"), (2**53 + 1, "Cel")])
def test_another_value_for_the_same_time_is_a_conflict_kept_aside(
    store: SqlStore, log: UplinkLog, device: str, other: tuple[Any, str]
) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0, "Cel")))
    log.store(uplink(device, 2, ("t", T0_US, *other), ("u", T0_US, 1.0, None)))
    assert [reading.value for reading in store.latest(device)] == [1.0, 1.0]
    ledger = store.loss_ledger(device)
    assert (ledger.stored, ledger.conflict) == (2, 1)
    (letter,) = letters_of(store, device)
    assert (letter.source, letter.reason, letter.seq, letter.epoch) == ("recorder", "conflict", 2, EPOCH)
    assert letter.reading == Reading("t", T0_US, *other)
    assert outbox_of(store, device) == [("dead-letter", letter)]


def test_one_row_that_the_database_refuses_does_not_stop_the_rest(store: SqlStore, log: UplinkLog, device: str) -> None:
    readings: list[tuple[Any, ...]] = [("t", T0_US + n, float(n)) for n in range(40)]
    readings[17] = ("t", 2**63, 17.0)
    outcome = log.store(uplink(device, 101, *readings))
    assert (len(outcome.readings), outcome.refused) == (39, 1)
    (letter,) = letters_of(store, device)
    assert (letter.reason, letter.seq, letter.reading) == ("refused_by_store", 118, Reading("t", 2**63, 17.0))
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, dict(ledger.rejected), ledger.missing) == (140, 39, {"refused_by_store": 1}, 100)


def test_a_bad_row_among_taken_keys_is_found_as_well(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 0.0)))
    outcome = log.store(uplink(device, 2, ("t", T0_US, 0.0), ("t", -(2**63) - 1, 1.0), ("t", T0_US + 2, 2.0), ("t", T0_US, 9.0)))
    assert (len(outcome.readings), outcome.refused, outcome.duplicates, outcome.conflicts) == (1, 1, 1, 1)
    assert [reading.value for reading in store.readings(device).readings] == [0.0, 2.0]


@pytest.mark.parametrize("sensor", ["", "x" * 129, "nul\x00"])
def test_a_sensor_that_cannot_be_named_goes_aside(store: SqlStore, log: UplinkLog, device: str, sensor: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0), (sensor, T0_US, 2.0), ("t", T0_US, 3.0)))
    assert [(letter.reason, letter.seq) for letter in letters_of(store, device)] == [("refused_by_store", 2), ("conflict", 3)]
    assert store.loss_ledger(device).stored == 1
    assert store.sensors(device) == ["t"]


@pytest.mark.parametrize(
    "bad",
    [
        Uplink("no such id!", "udp", T0_US, EPOCH, 1, [Reading("t", T0_US, 1.0)]),
        Uplink("d", "udp", T0_US, EPOCH, 0, [Reading("t", T0_US, 1.0)]),
        Uplink("d", "udp", T0_US, EPOCH, None, [Reading("t", T0_US, 1.0)]),
        Uplink("d", "udp", T0_US, None, 1, [Reading("t", T0_US, 1.0)]),
        Uplink("d", "udp", T0_US, "x\x00", 1, [Reading("t", T0_US, 1.0)]),
        Uplink("d", "udp", T0_US, EPOCH, 2**63, [Reading("t", T0_US, 1.0)]),
        Uplink("d", "udp", T0_US, EPOCH, 1, dropped=[(5, 4)]),
        Uplink("d", "udp", T0_US, EPOCH, 1, rejected=[(1, 2**64, "too_old")]),
        Uplink("d", "udp", T0_US, EPOCH, 1, rejected=[(1, 1, "nul\x00")]),
    ],
)
def test_an_uplink_that_no_sender_makes_goes_aside_whole(store: SqlStore, log: UplinkLog, device: str, bad: Uplink) -> None:
    outcome = log.store(bad, uplink(device, 1, ("t", T0_US, 1.0)))
    assert (len(outcome.readings), outcome.letters) == (1, Counter(bad_uplink=1))


def test_late_readings_keep_their_time_and_do_not_become_the_latest(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US + 5, 5.0)), now_us=T0_US + 10)
    log.store(uplink(device, 2, ("t", T0_US + 3, 3.0), ("t", T0_US + 1, 1.0)), now_us=T0_US + 20)
    assert [reading.value for reading in store.latest(device)] == [5.0]
    log.store(uplink(device, 4, ("t", T0_US + 9, 9.0), ("t", T0_US + 7, 7.0)), now_us=T0_US + 30)
    assert [reading.value for reading in store.latest(device)] == [9.0]
    assert [reading.value for reading in store.readings(device).readings] == [1.0, 3.0, 5.0, 7.0, 9.0]
    store.add_device(device, name="", now_us=T0_US)
    assert store.device(device).last_reading_us == T0_US + 9


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sensors", [2, 101])
def test_pages_join_to_the_whole(store: SqlStore, log: UplinkLog, device: str, order: Any, sensors: int) -> None:
    log.store(uplink(device, 1, *((f"s{n % sensors:03}", T0_US + n // sensors, float(n)) for n in range(5 * sensors))))
    whole = store.readings(device, order=order).readings
    assert len(whole) == 5 * sensors
    assert [r.t_us for r in whole] == sorted((r.t_us for r in whole), reverse=order == "desc")
    joined, cursor = [], None
    while True:
        page = store.readings(device, order=order, limit=7, cursor=cursor)
        joined += page.readings
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.readings) == 7
    assert joined == whole


def test_readings_by_sensor_and_time(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, *((name, T0_US + n, float(n)) for n in range(5) for name in ("a", "b"))))
    page = store.readings(device, sensors=["b"], from_us=T0_US + 1, to_us=T0_US + 4)
    assert [(r.sensor, r.value) for r in page.readings] == [("b", 1.0), ("b", 2.0), ("b", 3.0)]
    assert page.next_cursor is None
    assert store.readings(device, sensors=["none"]).readings == []
    assert store.readings(device, limit=10).next_cursor is None
    assert store.sensors(device) == ["a", "b"]


@pytest.mark.parametrize("cursor", ["", "!", "AAAA", "MS4y.Mw", "MTAwMDAwMDAwMDAwMDAwMDAwMDAwLjE", "ä"])
def test_a_strange_cursor_is_the_callers_fault(store: SqlStore, device: str, cursor: str) -> None:
    with pytest.raises(BadCursor):
        store.readings(device, cursor=cursor)
    with pytest.raises(BadCursor):
        store.commands(device, cursor=cursor)


def test_the_feed_gives_each_change_once(store: SqlStore, log: UplinkLog, device: str) -> None:
    feed = LatestFeed(store, device=device)
    assert feed.poll() == []
    log.store(uplink(device, 1, ("a", T0_US, 1.0), ("b", T0_US, 2.0)), now_us=T0_US)
    assert [change.reading.value for change in feed.poll()] == [1.0, 2.0]
    assert feed.poll() == []
    log.store(uplink(device, 3, ("a", T0_US + 1, 3.0)), now_us=T0_US - 1_000)  # another recorder's clock is behind
    assert [change.reading.value for change in feed.poll()] == [3.0]
    assert feed.poll() == []
    many = [(f"s{n:03}", T0_US, float(n)) for n in range(300)]
    log.store(uplink(device, 4, *many), now_us=T0_US + 1)
    assert len(store.latest_changes(T0_US, device=device, limit=10)) == 300
    assert len(feed.poll()) == 300
