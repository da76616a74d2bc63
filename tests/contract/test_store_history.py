"""History into the store, on SQLite and on a real PostgreSQL: it goes the way of every reading, and nothing counts twice."""

from __future__ import annotations

import threading

import pytest
from simway_flask_app.store.history import HistoryWriter
from simway_flask_app.store.schema import series
from simway_flask_app.store.sql import SqlStore, open_store
from simway_protocol.readings import Reading
from simway_testing.rollups import Key, Window, differences, recomputed, rollups_of
from simway_testing.stores import T0_US, UplinkLog, letters_of, uplink
from sqlalchemy import select

DAY_US = 86_400_000_000
YEARS_US = T0_US - 5 * 365 * DAY_US


@pytest.fixture
def history(store: SqlStore) -> HistoryWriter:
    return store.history_writer()


def rows(*times_us: int, sensor: str = "t") -> list[Reading]:
    return [Reading(sensor, t_us, float(t_us % 97), "Cel") for t_us in times_us]


def wrong(store: SqlStore, device: str) -> object:
    return differences(*(of_device(store, device, windows) for windows in (rollups_of(store), recomputed(store))))


def of_device(store: SqlStore, device: str, windows: dict[Key, Window]) -> dict[Key, Window]:
    with store.reading() as connection:
        ids = {row.series_id for row in connection.execute(select(series.c.series_id).where(series.c.device == device))}
    return {key: window for key, window in windows.items() if key[1] in ids}


def test_history_is_stored_counted_and_rolled_up(store: SqlStore, history: HistoryWriter, device: str) -> None:
    outcome = history.store(device, rows(YEARS_US, YEARS_US + 1, YEARS_US + DAY_US), T0_US)
    assert (len(outcome.readings), outcome.bad) == (3, [])
    assert wrong(store, device) == {}
    assert [reading.t_us for reading in store.latest(device)] == [YEARS_US + DAY_US]
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored) == (3, 3)


def test_the_same_file_again_changes_nothing(store: SqlStore, history: HistoryWriter, device: str) -> None:
    history.store(device, rows(YEARS_US, YEARS_US + 1), T0_US)
    outcome = history.store(device, rows(YEARS_US, YEARS_US + 1, YEARS_US + 2), T0_US)
    assert (len(outcome.readings), outcome.duplicates) == (1, 2)
    assert wrong(store, device) == {}
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.duplicate) == (5, 3, 2)


def test_what_is_bad_is_named_by_its_place(store: SqlStore, history: HistoryWriter, device: str) -> None:
    history.store(device, [Reading("t", T0_US, 1.0, None)], T0_US)
    readings = [
        Reading("t", T0_US + 1, 1.0, None), Reading("t", T0_US, 2.0, None), Reading("t", T0_US + 2, float("nan"), None),
        Reading("", T0_US, 1.0, None), Reading("t", 2**63, 1.0, None), Reading("t", T0_US + 3, float("-inf"), None),
        Reading("t", T0_US + 4, 1.0, None),
    ]  # fmt: skip
    outcome = history.store(device, readings, T0_US)
    assert [(bad.index, bad.reason) for bad in outcome.bad] == [
        (1, "conflict"), (2, "not_finite"), (3, "refused_by_store"), (4, "refused_by_store"), (5, "not_finite"),
    ]  # fmt: skip
    assert (len(outcome.readings), outcome.conflicts, outcome.refused) == (2, 1, 4)
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.conflict, sum(ledger.rejected.values())) == (8, 3, 1, 4)
    assert {letter.epoch for letter in letters_of(store, device)} == {"import"}
    assert wrong(store, device) == {}


def test_a_running_recorder_is_not_misled(store: SqlStore, log: UplinkLog, history: HistoryWriter, device: str) -> None:
    log.store(uplink(device, 1, ("t", T0_US, 1.0)), uplink(device, None, ("t", T0_US + 1, 1.0)))
    history.store(device, rows(T0_US + 60_000_000, T0_US + 2, sensor="t") + rows(T0_US, sensor="new"), T0_US)
    log.store(
        uplink(device, 2, ("t", T0_US + 60_000_001, 2.0), ("new", T0_US + 1, 3.0)), uplink(device, None, ("t", T0_US + 3, 1.0))
    )
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.missing) == (8, 8, 0)
    assert wrong(store, device) == {}


def test_what_is_rolled_up_only_is_not_counted_again(store: SqlStore, history: HistoryWriter, device: str) -> None:
    readings = [*rows(YEARS_US, YEARS_US + DAY_US), Reading("word", YEARS_US, "text", None)]
    history.store(device, readings, T0_US)
    with store.transaction() as connection:
        connection.exec_driver_sql(f"DELETE FROM readings WHERE t_us < {YEARS_US + 1}")
    before = rollups_of(store)
    outcome = history.store(device, readings, T0_US)
    assert [(bad.index, bad.reason) for bad in outcome.bad] == [(0, "raw_is_gone")]
    assert (len(outcome.readings), outcome.duplicates, outcome.refused) == (1, 1, 1)
    assert rollups_of(store) == before


def test_imports_of_one_device_at_once_lose_no_count(store: SqlStore, device: str) -> None:
    failed: list[BaseException] = []
    stores = [open_store(store._database.engine.url.render_as_string(hide_password=False).replace("+apsw", "")) for _ in range(2)]

    def write(number: int) -> None:
        try:
            for turn in range(5):
                stores[number].history_writer().store(
                    device, rows(YEARS_US + 10 * turn + number, YEARS_US + 10 * turn + 5), T0_US
                )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for one in stores:
        one.close()
    assert failed == []
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.duplicate) == (20, 15, 5)
    assert wrong(store, device) == {}


def test_too_many_at_once_is_the_callers_fault(history: HistoryWriter, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simway_flask_app.store.history.READINGS_MAX", 2)
    with pytest.raises(ValueError, match="at most 2"):
        history.store(device, rows(1, 2, 3), T0_US)
