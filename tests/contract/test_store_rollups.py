"""Rollups on SQLite and on a real PostgreSQL: they are what the raw readings come to, in whatever order these arrive."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simway_flask_app.store.sql import SqlStore
from simway_protocol.messages import Uplink
from simway_testing.rollups import differences, recomputed, rollups_of
from simway_testing.stores import T0_US, UplinkLog, uplink

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000

times = st.builds(
    lambda day, minute, step: T0_US + day * DAY_US + minute * MINUTE_US + step,
    st.integers(-2, 2), st.integers(-70, 70), st.sampled_from([0, 1, 30_000_000, MINUTE_US - 1]),
)  # fmt: skip
values: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([0.0, -1.5, 21.5, 21.5, 1e6, -1e6, 7, True, False]), st.sampled_from(["text", {"a": 1}])
)
readings = st.tuples(st.sampled_from(["a", "b", "", "nul\x00"]), st.one_of(times, st.sampled_from([2**63, -(2**63) - 1])), values)
deliveries = st.lists(st.tuples(st.integers(1, 30), st.lists(readings, min_size=1, max_size=8)), min_size=1, max_size=6)
"""Uplinks of some epoch: the first number, and the readings; numbers overlap, leave gaps, and step back."""


def wrong(store: SqlStore) -> Any:
    return differences(rollups_of(store), recomputed(store))


@pytest.fixture(scope="module")
def shared(store: SqlStore) -> UplinkLog:
    return UplinkLog(store)


@settings(max_examples=25)
@given(batches=st.lists(deliveries, min_size=1, max_size=4), again=st.booleans())
def test_rollups_are_what_raw_comes_to(store: SqlStore, shared: UplinkLog, batches: list[Any], again: bool) -> None:
    device = f"r-{uuid.uuid4().hex}"
    for batch in batches * (1 + again):
        shared.store(*(uplink(device, first, *rows) for first, rows in batch))
    with store.reading() as connection:
        ids = [row[0] for row in connection.exec_driver_sql(f"SELECT series_id FROM series WHERE device = '{device}'")]
    have = {key: window for key, window in rollups_of(store).items() if key[1] in ids}
    want = {key: window for key, window in recomputed(store).items() if key[1] in ids}
    assert differences(have, want) == {}
    ledger = store.loss_ledger(device)
    parts = ledger.stored + ledger.duplicate + ledger.conflict + sum(ledger.rejected.values()) + ledger.dropped + ledger.missing
    assert ledger.sent == parts


def many(device: str, first: int, start_us: int, step_us: int = 1_000_000, count: int = 400) -> list[Uplink]:
    """Enough series that PostgreSQL takes the way of many rows."""
    rows = [(f"s{n:03}", start_us + n // 200 * step_us, float(n)) for n in range(count)]
    return [uplink(device, first, *rows)]


@pytest.mark.parametrize("step_us", [1, MINUTE_US, HOUR_US])
def test_many_series_at_once(store: SqlStore, log: UplinkLog, device: str, step_us: int) -> None:
    for turn in range(3):
        log.store(*many(device, 1 + turn * 400, T0_US + turn * 2 * step_us, step_us))
    log.store(*many(device, 1201, T0_US - DAY_US))
    log.store(*many(device, 1601, T0_US + 3 * DAY_US))
    log.store(*many(device, 2001, T0_US + 3 * DAY_US + 2_000_000))
    assert wrong(store) == {}


def test_windows_that_went_or_came_meanwhile(store: SqlStore, log: UplinkLog, device: str) -> None:
    """Retention and imports write the same tables: what a recorder remembers of them is no more than a guess."""
    log.store(*many(device, 1, T0_US))
    other = UplinkLog(store)
    other.store(*(uplink(device, 1, (f"s{n:03}", T0_US + DAY_US, 1.0), epoch="other") for n in range(200)))
    log.store(*many(device, 401, T0_US + DAY_US + 1))
    assert wrong(store) == {}
    with store.transaction() as connection:
        for table in ("readings", "rollup_minute", "rollup_hour", "rollup_day"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    log.store(*many(device, 801, T0_US + DAY_US + 5_000_000))
    assert wrong(store) == {}


def test_a_sum_beyond_a_double_stays_at_its_end(store: SqlStore, log: UplinkLog, device: str) -> None:
    for seq in range(1, 6):
        log.store(uplink(device, seq, ("t", T0_US + seq, 1.5e308)))
    assert wrong(store) == {}
    for seq in range(6, 11):
        log.store(uplink(device, seq, ("u", T0_US + 2 * seq, -1.5e308), ("u", T0_US + 2 * seq + 1, -1.5e308)))
    assert wrong(store) == {}


def test_the_first_and_last_times_that_there_are(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(uplink(device, 1, ("t", -(2**63), 1.0), ("t", 2**63 - 1, 2.0), ("t", -1, 3.0), ("t", 0, 4.0)))
    outcome = log.store(uplink(device, 5, ("t", -(2**63) + 1, 5.0)))
    assert len(outcome.readings) == 1
    found = {
        key[2]: window for key, window in rollups_of(store).items() if key[0] == "rollup_day" and window.last in (5.0, 2.0, 3.0)
    }
    assert found[-(2**63)].count == 2
    assert found[-DAY_US].count == 1
