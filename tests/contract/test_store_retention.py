"""How long readings and their rollups are kept, on SQLite and on a real PostgreSQL; its partitions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from simway_flask_app.store import partitions, retention
from simway_flask_app.store.retention import Retention
from simway_flask_app.store.sql import SqlStore, open_store
from simway_protocol.messages import EVERY_DEVICE
from simway_testing import postgres_server
from simway_testing.rollups import recomputed, rollups_of
from simway_testing.stores import ON_POSTGRES, UplinkLog, outbox_of, uplink
from sqlalchemy import text

DAY_US, DAY_S = 86_400_000_000, 86_400
NOW_US = time.time_ns() // 1_000
NOON_US = NOW_US - NOW_US % DAY_US + DAY_US // 2
DEVICE = "demo"


@pytest.fixture
def own(url: str, tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path}/own.db" if url.startswith("sqlite") else postgres_server.database(url))
    store.migrate()
    yield store
    store.close()


def job(store: SqlStore, now_us: int = NOON_US, raw_days: int = 30) -> Retention:
    return store.retention_job(raw_days * DAY_S, stopping=threading.Event(), now_us=lambda: now_us)


def days_of(store: SqlStore, table: str = "readings", column: str = "t_us") -> list[int]:
    with store.reading() as connection:
        rows = connection.execute(text(f"SELECT DISTINCT {column} FROM {table}"))
        return sorted({(row[0] - NOON_US) // DAY_US for row in rows}, reverse=True)


def fill(store: SqlStore, days: list[int]) -> None:
    log = UplinkLog(store)
    log.store(uplink(DEVICE, 1, *(("t", NOON_US - day * DAY_US, float(day)) for day in days)))


def test_each_tier_has_its_own_time(own: SqlStore) -> None:
    fill(own, [0, 5, 40, 100, 800, 4000])
    assert job(own).apply() > 0
    assert days_of(own) == [0, -5]
    assert days_of(own, "rollup_minute", "bucket_us") == [0, -5, -40]
    assert days_of(own, "rollup_hour", "bucket_us") == [0, -5, -40, -100]
    assert len(days_of(own, "rollup_day", "bucket_us")) == 6
    assert [reading.value for reading in own.latest(DEVICE)] == [0.0]
    assert own.loss_ledger(DEVICE).stored == 6


def test_what_a_person_sets_holds_for_running_recorders_and_is_in_the_audit_trail(own: SqlStore) -> None:
    fill(own, [0, 1, 2, 3, 4])
    recorder = job(own)
    recorder.apply()
    assert recorder.apply() == 0
    tiers = own.set_retention({"raw": 2 * DAY_S, "day": 3 * DAY_S}, actor="ada", now_us=NOON_US)
    assert [(tier.tier, tier.keep_s // DAY_S, tier.actor) for tier in tiers] == [
        ("raw", 2, "ada"), ("minute", 90, "settings"), ("hour", 730, "settings"), ("day", 3, "ada"),
    ]  # fmt: skip
    assert recorder.apply() > 0
    assert days_of(own) == [0, -1, -2]
    assert days_of(own, "rollup_minute", "bucket_us") == [0, -1, -2, -3, -4]
    assert len(days_of(own, "rollup_day", "bucket_us")) == 3
    entries = [(row.entry.kind, row.entry.subject, row.entry.actor) for row in own.audit(kind="retention.set").entries]
    assert entries == [("retention.set", "day", "ada"), ("retention.set", "raw", "ada"), ("retention.set", "raw", "settings")]


def test_settings_hold_until_a_person_says_otherwise(own: SqlStore) -> None:
    def raw() -> tuple[int, str]:
        tier = own.retention()[0]
        return tier.keep_s, tier.actor

    assert raw() == (30 * DAY_S, "settings")
    job(own, raw_days=10).apply()
    job(own, raw_days=20).apply()
    assert raw() == (20 * DAY_S, "settings")
    own.set_retention({"raw": 0}, actor="ada", now_us=NOON_US)
    fill(own, [0, 20_000])
    job(own, raw_days=10).apply()
    assert raw() == (0, "ada")
    assert days_of(own) == [0, -20_000]


def test_gateways_are_told_how_long_raw_readings_are_kept(own: SqlStore) -> None:
    job(own, raw_days=10).apply()
    own.set_retention({"raw": 365 * DAY_S, "hour": DAY_S}, actor="ada", now_us=NOON_US)
    job(own, raw_days=20).apply()
    own.set_retention({"minute": 0}, actor="ada", now_us=NOON_US)
    told = outbox_of(own, EVERY_DEVICE)
    assert [(topic, entry.raw_keep_s) for topic, entry in told] == [("registry", 10 * DAY_S), ("registry", 365 * DAY_S)]


@pytest.mark.parametrize("wrong", [{"raw": 1}, {"raw": -1}, {"week": DAY_S}, {"raw": DAY_S, "day": 10**12}])
def test_what_is_no_retention_changes_nothing(own: SqlStore, wrong: dict[str, int]) -> None:
    before = own.retention()
    with pytest.raises(ValueError, match="no retention"):
        own.set_retention(wrong, actor="ada", now_us=NOON_US)
    assert own.retention() == before


def test_many_rows_go_in_several_steps(own: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_MAX", 7)
    monkeypatch.setattr(retention, "SERIES_MAX", 3)
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)
    log, old_us = UplinkLog(own), NOON_US - 200 * DAY_US
    log.store(*(uplink(f"d{n}", 1, *(("t", old_us + at * 60_000_000, 1.0) for at in range(5 + n))) for n in range(8)))
    log.store(uplink("d0", 6, ("t", NOON_US, 1.0)))
    job(own).apply()
    assert days_of(own) == [0]
    assert days_of(own, "rollup_minute", "bucket_us") == [0]


def test_it_goes_on_storing_late_readings_of_a_time_that_is_gone(own: SqlStore) -> None:
    fill(own, [0, 40])
    job(own).apply()
    UplinkLog(own).store(uplink("late", 1, ("t", NOON_US - 35 * DAY_US, 1.0), ("t", NOON_US - 20 * DAY_US, 2.0)))
    assert days_of(own) == [0, -20, -35]
    job(own).apply()
    assert days_of(own) == [0, -20]


# --- partitions ----------------------------------------------------------------------------------------------------------


def names_of(store: SqlStore) -> set[str]:
    with store.reading() as connection:
        return {partition.name for partition in partitions.partitions_of(connection)}


@ON_POSTGRES
def test_days_are_made_ahead_and_those_beyond_retention_are_dropped_whole(own: SqlStore) -> None:
    fill(own, [0, 3])
    before = names_of(own)
    job(own, NOON_US + 20 * DAY_US, raw_days=2).apply()
    after = names_of(own)
    assert len(after - before) == 2 + 1 + partitions.DAYS_AHEAD
    assert not {name for name in before if name != "readings_before"} & after
    assert days_of(own) == []


@ON_POSTGRES
def test_rows_that_went_to_the_default_partition_move_into_their_day(own: SqlStore) -> None:
    fill(own, [0, -10, -10_000])
    assert rows_in(own, "readings_default") == 2
    job(own, NOON_US + 5 * DAY_US).apply()
    assert rows_in(own, "readings_default") == 1
    UplinkLog(own).store(uplink("demo2", 1, ("t", NOON_US + 10 * DAY_US, 5.0)))
    assert rows_in(own, "readings_default") == 1
    assert rollups_of(own) == recomputed(own)


def rows_in(store: SqlStore, table: str) -> int:
    with store.reading() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@ON_POSTGRES
def test_a_partition_that_is_read_is_dropped_later(own: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "LOCK_WAIT", "50ms")
    fill(own, [0, 10])
    recorder = job(own, raw_days=5)
    with own._database.snapshot() as reader:
        reader.execute(text(f"SELECT * FROM readings WHERE t_us = {NOON_US - 10 * DAY_US}")).all()
        recorder.apply()
        assert days_of(own) == [0, -10]
        UplinkLog(own).store(uplink("other", 1, ("t", NOON_US, 1.0)))
    assert recorder.apply() > 0
    assert days_of(own) == [0]


@ON_POSTGRES
def test_one_recorder_at_a_time_makes_room(own: SqlStore) -> None:
    fill(own, [0, 10])
    with partitions.maintaining(own._database) as alone:
        assert alone
        assert job(own, raw_days=5).apply() == 0
    assert days_of(own) == [0, -10]
    with partitions.maintaining(own._database) as alone:
        assert alone
    assert job(own, raw_days=5).apply() > 0


@ON_POSTGRES
def test_several_recorders_store_while_partitions_come_and_go(own: SqlStore) -> None:
    stores = [open_store(str(own._database.engine.url.render_as_string(hide_password=False))) for _ in range(2)]
    failed: list[BaseException] = []

    def record(store: SqlStore, number: int) -> None:
        try:
            log = UplinkLog(store)
            for turn in range(30):
                log.store(uplink(f"w{number}", 1 + turn * 5, *(("t", NOON_US + turn * 5 + n, 1.0) for n in range(5))))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=record, args=(store, number)) for number, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for turn in range(4):
        job(own, NOON_US + turn * DAY_US, raw_days=3).apply()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.close()
    assert failed == []
    assert rows_in(own, "readings") == 300
    assert rollups_of(own) == recomputed(own)
