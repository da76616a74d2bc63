"""One suite for the store on SQLite and on a real PostgreSQL: the loss ledger, positions, commands, outbox and retention."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from simway_flask_app.store import outbox, positions
from simway_flask_app.store.port import (
    NotCancellable,
    StoreUnavailable,
    UnknownCommand,
)
from simway_flask_app.store.positions import Follower, Gap, PositionMoved
from simway_flask_app.store.schema import dead_letters, log_gaps
from simway_flask_app.store.sql import SqlStore
from simway_protocol.messages import DeadLetter
from simway_testing.stores import EPOCH, T0_US, UplinkLog, letters_of, new_command, outbox_of, uplink
from sqlalchemy import select, text

# --- the loss ledger ------------------------------------------------------------------------------------------------------


def test_the_ledger_counts_each_number_once(store: SqlStore, log: UplinkLog, device: str) -> None:
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
    log, device = UplinkLog(store), f"d-{uuid.uuid4().hex}"
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


def test_positions_move_with_the_readings_or_not_at_all(store: SqlStore, log: UplinkLog, device: str) -> None:
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


def test_gaps_are_written_down(store: SqlStore, log: UplinkLog) -> None:
    log.store(gaps=[Gap(0, 5, 9)])
    with store.reading() as connection:
        rows = connection.execute(select(log_gaps).where(log_gaps.c.log_id == log.follower.log_id)).all()
    assert [(row.partition, row.first_offset, row.last_offset) for row in rows] == [(0, 5, 9)]


def test_a_writer_that_looks_where_it_stands_forgets_what_it_knew(store: SqlStore, device: str) -> None:
    """Another one may have written in between, and then what is remembered of the device's numbers is old."""
    follower, (one, other) = Follower("recorder", uuid.uuid4().hex, "uplink"), (store.uplink_writer(), store.uplink_writer())
    for offset, writer in enumerate((one, other, one)):
        assert writer.positions(follower).get(0, 0) == offset
        message = uplink(device, offset + 1, ("t", T0_US + offset, 1.0))
        writer.store([message], follower, {0: (offset, offset + 1)}, now_us=T0_US)
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.missing) == (3, 3, 0)


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


def test_the_command_accepted_last_comes_first_in_pages(store: SqlStore, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    made = [store.add_command(new_command(device), now_us=T0_US + t_us) for t_us in (0, 5, 5, -9, 3, 0, -1)]  # a clock steps back
    wanted = made[::-1]
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


def test_messages_are_json_in_the_store(store: SqlStore, log: UplinkLog, device: str) -> None:
    log.store(letters=[DeadLetter("recorder", "corrupt_record", T0_US, device=device, payload=b"\xff\x00")])
    with store.reading() as connection:
        (row,) = connection.execute(select(dead_letters.c.letter).where(dead_letters.c.device == device))
    assert msgspec.json.decode(bytes(row.letter))["reason"] == "corrupt_record"
    with store.reading() as connection:
        assert positions.load(connection, Follower("nobody", "x", "y")) == {}
