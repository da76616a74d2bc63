"""One suite for the store on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from simway_flask_app.store import outbox, positions
from simway_flask_app.store.feed import LatestFeed
from simway_flask_app.store.migrations import revisions
from simway_flask_app.store.port import (
    BadCursor,
    DeviceExists,
    NewCommand,
    NotCancellable,
    SchemaMismatch,
    StoredReading,
    StoreUnavailable,
    UnknownCommand,
    UnknownDevice,
)
from simway_flask_app.store.positions import Follower, Gap, PositionMoved
from simway_flask_app.store.retention import Retention
from simway_flask_app.store.schema import dead_letters, log_gaps, metadata
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import Outcome, UplinkWriter
from simway_protocol.messages import DeadLetter, Uplink, decode
from simway_protocol.readings import Reading
from simway_testing import postgres_server
from sqlalchemy import select, text

T0_US = 1_795_312_800_000_000
EPOCH = "9f3c5a7e01b2d4c6"
_offsets = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    return postgres_server.database(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[SqlStore]:
    store = open_store(url)
    assert store.migrate()
    yield store
    store.close()


@pytest.fixture
def device() -> str:
    return f"d-{uuid.uuid4().hex}"


@pytest.fixture
def follower() -> Follower:
    return Follower("recorder", uuid.uuid4().hex, "uplink")


class Log:
    """Hands uplinks to a writer as the recorder does, from a log of its own."""

    def __init__(self, store: SqlStore) -> None:
        self.writer: UplinkWriter = store.uplink_writer()
        self.follower = Follower("recorder", uuid.uuid4().hex, "uplink")
        self.next = 0

    def store(self, *uplinks: Uplink, now_us: int = T0_US, **more: Any) -> Outcome:
        outcome = self.writer.store(uplinks, self.follower, {0: (self.next, self.next + 1)}, now_us=now_us, **more)
        self.next += 1
        return outcome


@pytest.fixture
def log(store: SqlStore) -> Log:
    return Log(store)


def uplink(device: str, first_seq: int | None, *readings: tuple[Any, ...], epoch: str | None = EPOCH, **more: Any) -> Uplink:
    return Uplink(
        device, "udp", T0_US, epoch if first_seq is not None else None, first_seq, [Reading(*r) for r in readings], **more
    )


def letters_of(store: SqlStore, device: str) -> list[DeadLetter]:
    with store.reading() as connection:
        rows = connection.execute(
            select(dead_letters.c.letter).where(dead_letters.c.device == device).order_by(dead_letters.c.id)
        )
        return [decode("dead-letter", bytes(row.letter)) for row in rows]


def outbox_of(store: SqlStore, key: str) -> list[tuple[str, Any]]:
    with store.reading() as connection:
        rows = outbox.waiting(connection, 100_000)
    return [(row.topic, decode(row.topic, row.value)) for row in rows if row.key == key]


# --- schema --------------------------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_the_code_knows(store: SqlStore) -> None:
    assert not store.migrate()
    store.check_schema()
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


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


def test_every_kind_of_value_comes_back_as_it_was(store: SqlStore, log: Log, device: str) -> None:
    log.store(uplink(device, 1, *((f"s{n:02}", T0_US, value, "Cel" if n % 2 else None) for n, value in enumerate(VALUES))))
    found = store.latest(device)
    assert [(type(r.value), repr(r.value)) for r in found] == [(type(v), repr(v)) for v in VALUES]
    assert [reading.unit for reading in found] == [None if n % 2 == 0 else "Cel" for n in range(len(VALUES))]
    assert store.readings(device).readings == found


def test_what_was_stored_is_told_after_the_commit(log: Log, device: str) -> None:
    outcome = log.store(uplink(device, 1, ("t", T0_US, 1.5, "Cel"), ("door", T0_US, False, None)))
    assert list(outcome.readings) == [
        StoredReading(device, "t", T0_US, 1.5, "Cel"), StoredReading(device, "door", T0_US, False, None),
    ]  # fmt: skip
    assert len(outcome.readings) == 2


def test_the_same_sequence_again_is_redelivered_and_not_counted_twice(store: SqlStore, log: Log, device: str) -> None:
    same = uplink(device, 1, ("t", T0_US, 1.0), ("t", T0_US + 1, 2.0))
    log.store(same)
    outcome = log.store(same, uplink(device, 2, ("t", T0_US + 1, 2.0), ("t", T0_US + 2, 3.0)))
    assert (len(outcome.readings), outcome.redelivered) == (1, 3)
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.duplicate, ledger.redelivered) == (3, 3, 0, 3)


def test_another_number_for_the_same_reading_is_a_duplicate(store: SqlStore, log: Log, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0, "Cel")))
    log.store(uplink(device, 2, ("t", T0_US, 1.0, "Cel"), ("t", T0_US + 1, 1.0, "Cel"), ("t", T0_US + 1, 1, "Cel")))
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.duplicate, ledger.conflict) == (4, 2, 2, 0)
    assert len(store.readings(device).readings) == 2


@pytest.mark.parametrize("other", [(1.0, "F"), (2.0, "Cel"), (True, "Cel"), ("1.0", "Cel"), (2**53 + 1, "Cel")])
def test_another_value_for_the_same_time_is_a_conflict_kept_aside(
    store: SqlStore, log: Log, device: str, other: tuple[Any, str]
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


def test_one_row_that_the_database_refuses_does_not_stop_the_rest(store: SqlStore, log: Log, device: str) -> None:
    readings: list[tuple[Any, ...]] = [("t", T0_US + n, float(n)) for n in range(40)]
    readings[17] = ("t", 2**63, 17.0)
    outcome = log.store(uplink(device, 101, *readings))
    assert (len(outcome.readings), outcome.refused) == (39, 1)
    (letter,) = letters_of(store, device)
    assert (letter.reason, letter.seq, letter.reading) == ("refused_by_store", 118, Reading("t", 2**63, 17.0))
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, dict(ledger.rejected), ledger.missing) == (140, 39, {"refused_by_store": 1}, 100)


def test_a_bad_row_among_taken_keys_is_found_as_well(store: SqlStore, log: Log, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 0.0)))
    outcome = log.store(uplink(device, 2, ("t", T0_US, 0.0), ("t", -(2**63) - 1, 1.0), ("t", T0_US + 2, 2.0), ("t", T0_US, 9.0)))
    assert (len(outcome.readings), outcome.refused, outcome.duplicates, outcome.conflicts) == (1, 1, 1, 1)
    assert [reading.value for reading in store.readings(device).readings] == [0.0, 2.0]


@pytest.mark.parametrize("sensor", ["", "x" * 129, "nul\x00"])
def test_a_sensor_that_cannot_be_named_goes_aside(store: SqlStore, log: Log, device: str, sensor: str) -> None:
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
def test_an_uplink_that_no_sender_makes_goes_aside_whole(store: SqlStore, log: Log, device: str, bad: Uplink) -> None:
    outcome = log.store(bad, uplink(device, 1, ("t", T0_US, 1.0)))
    assert (len(outcome.readings), outcome.letters) == (1, Counter(bad_uplink=1))


def test_late_readings_keep_their_time_and_do_not_become_the_latest(store: SqlStore, log: Log, device: str) -> None:
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
def test_pages_join_to_the_whole(store: SqlStore, log: Log, device: str, order: Any, sensors: int) -> None:
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


def test_readings_by_sensor_and_time(store: SqlStore, log: Log, device: str) -> None:
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


def test_the_feed_gives_each_change_once(store: SqlStore, log: Log, device: str) -> None:
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


# --- the loss ledger ------------------------------------------------------------------------------------------------------


def test_the_ledger_counts_each_number_once(store: SqlStore, log: Log, device: str) -> None:
    log.store(
        uplink(
            device,
            3,
            ("t", T0_US, 1.0),
            ("t", T0_US + 1, 2.0),
            dropped=[(1, 2)],
            rejected=[(5, 6, "too_old"), (7, 7, "bad_value")],
        ),
        uplink(device, 10, ("t", T0_US + 2, 3.0)),
        uplink(device, 1, ("u", T0_US, 1.0), epoch="00ff"),
        uplink(device, None, ("v", T0_US, 1.0), rejected=[(0, 1, "bad_unit")]),
    )
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.dropped, ledger.missing) == (10 + 1 + 3, 5, 2, 2)
    assert dict(ledger.rejected) == {"bad_unit": 2, "bad_value": 1, "too_old": 2}
    assert dict(ledger.missing_ranges) == {EPOCH: ((8, 9),)}
    log.store(uplink(device, 8, ("t", T0_US + 3, 4.0)), uplink(device, 1, ("t", T0_US - 1, 0.0)))
    ledger = store.loss_ledger(device)
    assert (ledger.stored, ledger.dropped, ledger.missing) == (7, 1, 1), "what was given up and yet came is stored"


frames = st.lists(
    st.tuples(
        st.integers(1, 30), st.integers(0, 4), st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=2),
        st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=1), st.booleans(),
    ), max_size=12,
)  # fmt: skip


@given(frames=frames)
@example(frames=[(5, 2, [(1, 3)], [], False), (1, 4, [], [], False)])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_always_balances(store: SqlStore, frames: list[Any]) -> None:
    """Numbers overlap, come late and twice, sensors and times collide: the balance holds, and the table agrees with it."""
    log, device = Log(store), f"d-{uuid.uuid4().hex}"
    for first, size, dropped, rejected, clash in frames:
        readings = [("t", T0_US + (0 if clash else first + n), float(first + n)) for n in range(size)]
        log.store(
            uplink(
                device, first, *readings, dropped=[(low, low + more) for low, more in dropped],
                rejected=[(low, low + more, "too_old") for low, more in rejected],
            )
        )  # fmt: skip
        ledger = store.loss_ledger(device)
        parts = (
            ledger.stored + ledger.duplicate + ledger.conflict + sum(ledger.rejected.values()) + ledger.dropped + ledger.missing
        )
        assert ledger.sent == parts
    ledger = store.loss_ledger(device)
    assert len(store.readings(device).readings) == ledger.stored
    assert len(letters_of(store, device)) == ledger.conflict


# --- positions -----------------------------------------------------------------------------------------------------------


def test_positions_move_with_the_readings_or_not_at_all(store: SqlStore, log: Log, device: str) -> None:
    assert log.writer.positions(log.follower) == {}
    log.store(uplink(device, 1, ("t", T0_US, 1.0)))
    assert log.writer.positions(log.follower) == {0: 1}
    with pytest.raises(PositionMoved):
        log.writer.store([uplink(device, 2, ("t", T0_US + 1, 2.0))], log.follower, {0: (0, 1)}, now_us=T0_US)
    with pytest.raises(PositionMoved):
        log.writer.store([uplink(device, 2, ("t", T0_US + 1, 2.0))], log.follower, {3: (5, 6)}, now_us=T0_US)
    assert log.writer.positions(log.follower) == {0: 1}
    assert store.loss_ledger(device).sent == 1
    other = Follower("recorder", "another log", "uplink")
    assert log.writer.positions(other) == {}, "a log never read is read from its beginning"


def test_gaps_are_written_down(store: SqlStore, log: Log) -> None:
    log.store(gaps=[Gap(0, 5, 9)])
    with store.reading() as connection:
        rows = connection.execute(select(log_gaps).where(log_gaps.c.log_id == log.follower.log_id)).all()
    assert [(row.partition, row.first_offset, row.last_offset) for row in rows] == [(0, 5, 9)]


def test_two_writers_of_one_partition_store_everything_once(store: SqlStore, device: str) -> None:
    """Both read the same log from the same place: the position lets only one through at each offset."""
    follower, batches = Follower("recorder", uuid.uuid4().hex, "uplink"), 30
    uplinks = [uplink(device, 1 + 3 * n, *(("t", T0_US + 3 * n + i, float(i)) for i in range(3))) for n in range(batches)]
    wins: Counter[int] = Counter()

    def record(me: int) -> None:
        writer = store.uplink_writer()
        while (offset := writer.positions(follower).get(0, 0)) < batches:
            try:
                writer.store([uplinks[offset]], follower, {0: (offset, offset + 1)}, now_us=T0_US)
                wins[me] += 1
            except (PositionMoved, StoreUnavailable):
                continue

    threads = [threading.Thread(target=record, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(wins.values()) == batches
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.redelivered) == (3 * batches, 3 * batches, 0)


# --- commands ------------------------------------------------------------------------------------------------------------


def new_command(device: str, kind: str = "ping", **more: Any) -> NewCommand:
    given = {"expires_us": T0_US + 60_000_000, "deadline_s": 30, "actor": "api"} | more
    return NewCommand(command_id=uuid.uuid4().hex, device=device, kind=kind, **given)


def test_a_command_is_queued_with_its_first_line_of_history(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    before = store.last_command_seq()
    made = store.add_command(new_command(device, "switch", target_iccid="8949000000000000029", provider="Beta"), now_us=T0_US)
    assert store.command(device, made.command_id) == made
    assert (made.state, made.counter, made.evidence) == ("QUEUED", None, {})
    (line,) = store.command_history(made.command_id)
    assert (line.device, line.event, line.state, line.actor, line.t_us) == (device, "created", "QUEUED", "api", T0_US)
    assert store.command_changes(before, device=device) == [line]
    assert store.last_command_seq() == line.seq > before


def test_a_command_of_another_device_is_unknown(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    made = store.add_command(new_command(device), now_us=T0_US)
    for wrong in (("other", made.command_id), (device, "00" * 16)):
        with pytest.raises(UnknownCommand):
            store.command(*wrong)
        with pytest.raises(UnknownCommand):
            store.request_cancel(*wrong, actor="api", now_us=T0_US)


def test_commands_come_newest_first_in_pages(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    made = [store.add_command(new_command(device), now_us=T0_US + n // 2) for n in range(7)]
    wanted = sorted(made, key=lambda command: (command.created_us, command.command_id), reverse=True)
    first = store.commands(device, limit=3)
    second = store.commands(device, limit=3, cursor=first.next_cursor)
    third = store.commands(device, limit=3, cursor=second.next_cursor)
    assert first.commands + second.commands + third.commands == wanted
    assert third.next_cursor is None


def test_cancelling_what_nobody_has_seen_is_done_at_once(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    made = store.add_command(new_command(device), now_us=T0_US)
    for _ in range(2):
        assert store.request_cancel(device, made.command_id, actor="api", now_us=T0_US + 5).state == "CANCELLED"
    history = store.command_history(made.command_id)
    assert [(line.event, line.state) for line in history] == [("created", "QUEUED"), ("cancel_requested", "CANCELLED")]


@pytest.mark.parametrize(("state", "allowed"), [("SENT", True), ("RECEIVED", True), ("EXECUTED", False), ("VERIFIED", False)])
def test_cancelling_later_is_a_wish_until_it_is_executed(store: SqlStore, device: str, state: str, allowed: bool) -> None:
    store.add_device(device, name="", now_us=T0_US)
    made = store.add_command(new_command(device), now_us=T0_US)
    with store.transaction() as connection:
        parameters = {"state": state, "id": made.command_id}
        connection.execute(text("UPDATE commands SET state = :state, counter = 1 WHERE command_id = :id"), parameters)
    if not allowed:
        with pytest.raises(NotCancellable) as caught:
            store.request_cancel(device, made.command_id, actor="api", now_us=T0_US)
        assert caught.value.state == state
        return
    for _ in range(2):
        asked = store.request_cancel(device, made.command_id, actor="api", now_us=T0_US + 5)
        assert (asked.state, asked.cancel_requested_us) == (state, T0_US + 5)
    assert [line.event for line in store.command_history(made.command_id)] == ["created", "cancel_requested"]


# --- outbox and retention ---------------------------------------------------------------------------------------------------


def test_the_outbox_keeps_its_order(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    for status in ("revoked", "active", "revoked"):
        store.set_device_status(device, status, now_us=T0_US)
    assert [entry.status for _, entry in outbox_of(store, device)] == ["active", "revoked", "active", "revoked"]
    with store.transaction() as connection:
        rows = [row for row in outbox.waiting(connection, 100_000) if row.key == device]
        assert [row.id for row in rows] == sorted(row.id for row in rows)
        outbox.remove(connection, [row.id for row in rows])
    assert outbox_of(store, device) == []


def test_retention_takes_what_is_too_old_and_nothing_else(store: SqlStore, log: Log, device: str) -> None:
    log.store(uplink(device, 1, *(("t", T0_US + n, float(n)) for n in range(10))))
    keep_us = 10**15
    Retention(store, keep_us, stopping=threading.Event(), now_us=lambda: T0_US + keep_us + 4).apply()
    assert [reading.value for reading in store.readings(device).readings] == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert [reading.value for reading in store.latest(device)] == [9.0]


def test_messages_are_json_in_the_store(store: SqlStore, log: Log, device: str) -> None:
    log.store(letters=[DeadLetter("recorder", "corrupt_record", T0_US, device=device, payload=b"\xff\x00")])
    with store.reading() as connection:
        (row,) = connection.execute(select(dead_letters.c.letter).where(dead_letters.c.device == device))
    assert msgspec.json.decode(bytes(row.letter))["reason"] == "corrupt_record"
    with store.reading() as connection:
        assert positions.load(connection, Follower("nobody", "x", "y")) == {}
