"""An upgrade of a populated store: every row survives, with the rollups that it would have had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from simway_flask_app.store import migrations
from simway_flask_app.store.engine import Database
from simway_flask_app.store.schema import tiers
from simway_flask_app.store.sql import SqlStore, open_store
from simway_protocol.limits import INT64_MIN
from simway_protocol.messages import EVERY_DEVICE, RegistryEntry
from simway_testing import postgres_server
from simway_testing.rollups import recomputed, rollups_of
from simway_testing.stores import ON_POSTGRES, UplinkLog, outbox_of, uplink
from sqlalchemy import Connection, insert, text

DAY_US = 86_400_000_000
NOW_US = time.time_ns() // 1_000
FAR_US = 2**62
ROWS: list[tuple[Any, ...]] = [
    (1, NOW_US, 21.5, 0, None, "Cel"),
    (1, NOW_US + 1, -3.0, 0, None, "Cel"),
    (1, NOW_US + 61_000_000, 21.5, 0, None, "Cel"),
    (1, NOW_US - 40 * DAY_US, 7.0, 1, None, None),
    (1, NOW_US - 40 * DAY_US + 1, 7.0, 1, None, None),
    (1, -5, 1e308, 0, None, None),
    (1, -4, 1e308, 0, None, None),
    (2, NOW_US, None, 3, "open", None),
    (2, NOW_US + 1, 1.0, 2, None, None),
    (2, NOW_US + 4 * DAY_US, 8.0, 0, None, None),
    (2, FAR_US, 9.0, 0, None, None),
]
"""As revision 0004 kept them: numbers, a text, times long ago, before 1970 and far ahead."""


@pytest.fixture
def own_url(url: str, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/own.db" if url.startswith("sqlite") else postgres_server.database(url)


@contextmanager
def store_from(own_url: str, revision: str, fill: Callable[[Connection], None]) -> Iterator[SqlStore]:
    """A store that was at this revision when it was filled, and was then upgraded to the newest."""
    database = Database(own_url)
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", "simway_flask_app.store:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        fill(connection)
    assert migrations.upgrade(database)
    database.close()
    store = open_store(own_url)
    yield store
    store.close()


@pytest.fixture
def populated(own_url: str) -> Iterator[SqlStore]:
    def fill(connection: Connection) -> None:
        for sensor in ("t", "door"):
            connection.execute(text("INSERT INTO series (device, sensor) VALUES ('old', :sensor)"), {"sensor": sensor})
        names = ("series", "t_us", "num", "kind", "detail", "unit")
        for row in ROWS:
            connection.execute(
                text("INSERT INTO readings VALUES (:series, :t_us, :num, :kind, :detail, :unit)"),
                dict(zip(names, row, strict=True)),
            )

    with store_from(own_url, "0004", fill) as store:
        yield store


def test_every_row_survives_with_its_rollups(populated: SqlStore) -> None:
    with populated.reading() as connection:
        kept = [tuple(row) for row in connection.execute(text("SELECT * FROM readings ORDER BY series_id, t_us"))]
    assert kept == sorted(ROWS, key=lambda row: row[:2])
    assert rollups_of(populated) == recomputed(populated)


def test_it_goes_on_storing(populated: SqlStore) -> None:
    log = UplinkLog(populated)
    later_us = NOW_US + 5 * DAY_US
    outcome = log.store(uplink("old", 1, ("t", NOW_US, 21.5, "Cel"), ("t", NOW_US + 2, 1.0), ("t", later_us, 2.0)))
    assert (len(outcome.readings), outcome.duplicates) == (2, 1)
    assert [reading.value for reading in populated.readings("old", sensors=["t"], from_us=NOW_US).readings] == [
        21.5, -3.0, 1.0, 21.5, 2.0,
    ]  # fmt: skip


@ON_POSTGRES
def test_on_postgresql_the_old_table_is_one_partition_and_new_days_have_their_own(populated: SqlStore) -> None:
    days = {time.strftime("%Y%m%d", time.gmtime(NOW_US / 1e6 + days * 86_400)) for days in range(2, 8)}
    with populated.reading() as connection:
        found = connection.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'readings'::regclass")
        )
        assert {row[0] for row in found} >= {"readings_before", "readings_default", *(f"readings_p{day}" for day in days)}
        held = dict(connection.execute(text("SELECT tableoid::regclass::text, count(*) FROM readings GROUP BY 1")).all())  # type: ignore[arg-type]
    ahead = "readings_p" + time.strftime("%Y%m%d", time.gmtime(NOW_US / 1e6 + 4 * 86_400))
    assert held == {"readings_before": len(ROWS) - 2, ahead: 1, "readings_default": 1}


@ON_POSTGRES
def test_an_empty_store_begins_with_partitions_of_days(store: SqlStore) -> None:
    with store.reading() as connection:
        names = [row[0] for row in connection.execute(text("SELECT relname FROM pg_class WHERE relname LIKE 'readings_p2%'"))]
        before = connection.execute(text("SELECT to_regclass('readings_before')::text")).scalar()
    assert (len([name for name in names if name[-4:] != "pkey"]), before) == (39, "readings_before")


@pytest.mark.parametrize(("updated_us", "told"), [(NOW_US, [90 * 86_400]), (0, [])], ids=["set", "never set"])
def test_gateways_are_told_of_a_raw_tier_that_was_set_before(own_url: str, updated_us: int, told: list[int]) -> None:
    def fill(connection: Connection) -> None:
        values = {"tier": "raw", "keep_s": 90 * 86_400, "updated_us": updated_us, "actor": "ada"}
        connection.execute(tiers.delete())
        connection.execute(insert(tiers).values(gone_before_us=INT64_MIN, **values))

    with store_from(own_url, "0007", fill) as store:
        entries = outbox_of(store, EVERY_DEVICE)
    assert entries == [("registry", RegistryEntry(EVERY_DEVICE, "revoked", [], NOW_US, keep_s)) for keep_s in told]
