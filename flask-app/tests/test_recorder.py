"""The recorder between a log in memory and an embedded store: nothing lost, nothing twice, whatever goes wrong."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simway_backbone import open_log
from simway_backbone.log import Log
from simway_backbone.memory_log import MemoryLog
from simway_flask_app import recorder
from simway_flask_app.recorder import Recorder
from simway_flask_app.rights import WriterKey
from simway_flask_app.store.port import StoredReading, StoreError, StoreUnavailable
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.schema import dead_letters, log_gaps
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import Outcome, StoredReadings, UplinkWriter
from simway_flask_app.store.writers import RightLost
from simway_protocol.identity import partition_of
from simway_protocol.messages import Uplink, UplinkBatch, encode
from simway_protocol.readings import Reading
from sqlalchemy import select

T0_US = 1_795_312_800_000_000
EPOCH = "00c0ffee00c0ffee"
WAIT_S = 20.0


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    log = MemoryLog()
    log.ensure_topics()
    yield log
    log.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def device() -> str:
    return uuid.uuid4().hex


class Running:
    """A recorder in a thread."""

    def __init__(self, log: Log, store: SqlStore, writer: Any = None, **more: Any) -> None:
        self.stopping = threading.Event()
        self.health: dict[str, str | None] = {}
        self.said: list[tuple[str, str | None]] = []
        rights = store.write_rights(WriterKey.make())
        self.recorder = Recorder(
            log, writer or store.uplink_writer(), rights, stopping=self.stopping, report=self._report, **more
        )
        self.thread = threading.Thread(target=self.recorder.run, daemon=True)

    def _report(self, name: str, wrong: str | None) -> None:
        self.health[name] = wrong
        self.said.append((name, wrong))

    def __enter__(self) -> Running:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def await_that(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def send(log: Log, device: str, first_seq: int, *values: float) -> None:
    readings = [Reading("t", T0_US + first_seq + n, value) for n, value in enumerate(values)]
    put(log, device, encode(UplinkBatch([Uplink(device, "udp", T0_US, EPOCH, first_seq, readings)])))


def put(log: Log, device: str, value: bytes) -> None:
    log.append("uplink", partition_of(device), [(None, value)]).result(WAIT_S)


def values(store: SqlStore, device: str) -> list[Any]:
    return [reading.value for reading in store.readings(device).readings]


def letters(store: SqlStore) -> list[str]:
    with store.reading() as connection:
        return [row.reason for row in connection.execute(select(dead_letters.c.reason).order_by(dead_letters.c.id))]


def test_readings_go_from_log_to_store_and_are_told(log: Log, store: SqlStore, device: str) -> None:
    told: list[StoredReading] = []
    outcomes: list[Outcome] = []
    with Running(log, store, on_stored=told.extend, on_outcome=lambda o, _s: outcomes.append(o)) as running:
        send(log, device, 1, 1.0, 2.0)
        await_that(lambda: values(store, device) == [1.0, 2.0])
        assert running.health == {"log": None, "store": None}
        send(log, device, 3, 3.0)
        await_that(lambda: len(told) == 3)
        assert running.recorder.positions == {partition: end for partition, (_, end) in log.bounds("uplink").items()}
    assert [reading.value for reading in told] == [1.0, 2.0, 3.0]
    assert sum(len(outcome.readings) for outcome in outcomes) == 3


def test_a_restart_goes_on_where_it_was(log: Log, store: SqlStore, device: str) -> None:
    send(log, device, 1, 1.0)
    for n in range(2, 5):
        with Running(log, store):
            await_that(lambda n=n: values(store, device) == [float(m) for m in range(1, n)])  # type: ignore[misc]
        send(log, device, n, float(n))
    with Running(log, store):
        await_that(lambda: values(store, device) == [1.0, 2.0, 3.0, 4.0])
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.redelivered) == (4, 4, 0)


def test_a_new_log_is_read_from_its_beginning(log: Log, store: SqlStore, device: str) -> None:
    send(log, device, 1, 1.0)
    with Running(log, store):
        await_that(lambda: values(store, device) == [1.0])
    other = open_log("memory://", client_id="test")
    other.ensure_topics()
    send(other, device, 2, 2.0)
    with Running(other, store):
        await_that(lambda: values(store, device) == [1.0, 2.0])
    other.close()


@pytest.mark.parametrize("bad", [b"", b"{", b"null", b'{"uplinks": [{"device": 3}]}', b"\xff\xfe", b'{"uplinks": 1}'])
def test_a_corrupt_record_goes_aside_and_the_rest_goes_on(log: Log, store: SqlStore, device: str, bad: bytes) -> None:
    send(log, device, 1, 1.0)
    put(log, device, bad)
    send(log, device, 2, 2.0)
    with Running(log, store):
        await_that(lambda: values(store, device) == [1.0, 2.0])
    assert letters(store) == ["corrupt_record"]


class Faulty:
    """A writer that fails when told to; before anything is written, or, as seen from here, after."""

    def __init__(self, writer: UplinkWriter, fails: Callable[[list[Uplink]], Exception | None]) -> None:
        self.writer, self.fails, self.calls, self.taken_over = writer, fails, 0, 0

    def take_over(self, *args: Any) -> dict[int, int]:
        self.taken_over += 1
        return self.writer.take_over(*args)

    def store(self, uplinks: list[Uplink], *args: Any, **more: Any) -> Outcome:
        self.calls += 1
        error = self.fails(uplinks)
        if error is not None:
            raise error
        return self.writer.store(uplinks, *args, **more)


def switchable(store: SqlStore, error: StoreError) -> tuple[Faulty, threading.Event]:
    """A writer that fails so as long as the event is set, as it is."""
    failing = threading.Event()
    failing.set()
    return Faulty(store.uplink_writer(), lambda _: error if failing.is_set() else None), failing


def test_a_store_that_is_away_is_waited_for(log: Log, store: SqlStore, device: str) -> None:
    faulty, away = switchable(store, StoreUnavailable("away"))
    with Running(log, store, faulty) as running:
        send(log, device, 1, 1.0)
        await_that(lambda: running.health.get("store") == "away" and faulty.calls > 2)
        assert values(store, device) == []
        away.clear()
        await_that(lambda: values(store, device) == [1.0])
        await_that(lambda: running.health["store"] is None)


def test_a_store_that_takes_rights_but_no_rows_is_not_well(
    log: Log, store: SqlStore, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder takes its partitions anew, and renews its rights, again and again: that says nothing of rows."""
    monkeypatch.setattr(recorder, "RETRY_MAX_S", 0.01)
    monkeypatch.setattr(recorder, "RENEW_EVERY_S", 0.0)
    faulty, refusing = switchable(store, StoreError("no rows!"))
    with Running(log, store, faulty) as running:
        send(log, device, 1, 1.0)
        await_that(lambda: running.health.get("store") == "no rows!" and faulty.taken_over > 3)
        said = [wrong for name, wrong in running.said if name == "store"]
        assert set(said[said.index("no rows!") :]) == {"no rows!"}
        refusing.clear()
        await_that(lambda: values(store, device) == [1.0] and running.health["store"] is None)


def test_told_to_stop_while_the_store_is_away(log: Log, store: SqlStore, device: str) -> None:
    faulty = Faulty(store.uplink_writer(), lambda _: StoreUnavailable("away"))
    send(log, device, 1, 1.0)
    with Running(log, store, faulty):
        await_that(lambda: faulty.calls > 0)
    with Running(log, store):
        await_that(lambda: values(store, device) == [1.0])


def test_a_record_that_the_store_refuses_as_a_whole_is_found_by_halving(log: Log, store: SqlStore, device: str) -> None:
    for n in range(1, 10):
        send(log, device, n, float(n))
    faulty = Faulty(store.uplink_writer(), lambda ups: StoreError("no 7!") if any(u.first_seq == 7 for u in ups) else None)
    with Running(log, store, faulty):
        await_that(lambda: values(store, device) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 9.0])
    assert letters(store) == ["refused_by_store"]
    assert store.loss_ledger(device).missing == 1


def test_a_crash_after_the_commit_counts_nothing_twice(log: Log, store: SqlStore, device: str) -> None:
    """The connection dies when the commit was done already: the recorder must find that out by itself."""
    writer = store.uplink_writer()
    broken = threading.Event()

    class Dying(Faulty):
        def store(self, uplinks: list[Uplink], *args: Any, **more: Any) -> Outcome:
            outcome = self.writer.store(uplinks, *args, **more)
            if not broken.is_set():
                broken.set()
                raise StoreUnavailable("the answer got lost")
            return outcome

    with Running(log, store, Dying(writer, lambda _: None)):
        send(log, device, 1, 1.0)
        send(log, device, 2, 2.0)
        await_that(lambda: values(store, device) == [1.0, 2.0])
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.redelivered) == (2, 2, 0)


def test_what_retention_took_is_counted_as_missing(log: MemoryLog, store: SqlStore, device: str) -> None:
    for n in range(1, 6):
        send(log, device, n, float(n))
    missing: list[int] = []
    log.drop_before("uplink", partition_of(device), 3)
    with Running(log, store, on_missing=missing.append):
        await_that(lambda: values(store, device) == [4.0, 5.0])
    assert missing == [3]
    with store.reading() as connection:
        (row,) = connection.execute(select(log_gaps)).all()
    assert (row.partition, row.first_offset, row.last_offset) == (partition_of(device), 0, 2)
    assert store.loss_ledger(device).missing == 3


def test_stored_readings_become_objects_only_when_asked() -> None:
    lazy = StoredReadings([(7, T0_US, 1.0, 0, None, "V")], {7: ("d", "u")})
    assert len(lazy) == 1
    assert list(lazy) == [StoredReading("d", "u", T0_US, 1.0, "V")]


def test_a_recorder_that_is_overtaken_writes_nothing_and_begins_anew(log: MemoryLog, store: SqlStore, device: str) -> None:
    """The group still gives it the partition: it takes the right again, behind what the other wrote."""
    lost: list[tuple[str, int]] = []
    with Running(log, store, on_lost=lambda reason, count: lost.append((reason, count))) as running:
        send(log, device, 1, 1.0)
        await_that(lambda: values(store, device) == [1.0])
        follower = Follower("recorder", log.identity("uplink"), "uplink")
        other, rights = store.uplink_writer(), store.write_rights(WriterKey.make())
        assert other.take_over(follower, range(24), rights)[partition_of(device)] == 1
        send(log, device, 2, 2.0)
        await_that(lambda: values(store, device) == [1.0, 2.0])
        await_that(lambda: running.recorder.partitions == set(range(24)))
    assert lost == [("superseded", 1)]
    ledger = store.loss_ledger(device)
    assert (ledger.stored, ledger.redelivered) == (2, 0)
    with store.reading() as connection, pytest.raises(RightLost):
        rights.check(connection, follower, {partition_of(device)})


def test_what_another_recorder_has_stored_meanwhile_is_no_longer_refused(log: MemoryLog, store: SqlStore, device: str) -> None:
    faulty, away = switchable(store, StoreUnavailable("away"))
    with Running(log, store, faulty) as running:
        send(log, device, 1, 1.0)
        await_that(lambda: running.health.get("store") == "away")
        partition, follower = partition_of(device), Follower("recorder", log.identity("uplink"), "uplink")
        other, rights = store.uplink_writer(), store.write_rights(WriterKey.make())
        other.take_over(follower, range(24), rights)
        stored = [Uplink(device, "udp", T0_US, EPOCH, 1, [Reading("t", T0_US + 1, 1.0)])]
        other.store(stored, follower, {partition: (0, 1)}, now_us=T0_US, rights=rights)
        away.clear()
        await_that(lambda: faulty.taken_over > 1 and running.health["store"] is None)
    assert values(store, device) == [1.0]


def test_rights_are_given_back_at_the_end(log: MemoryLog, store: SqlStore) -> None:
    with Running(log, store) as running:
        await_that(lambda: len(running.recorder.partitions) == 24)
    (state,) = store.writers()
    assert len(state.rights) == 24
    assert all(right.expires_us <= state.now_us for right in state.rights)


def test_two_recorders_share_the_partitions(log: MemoryLog, store: SqlStore, device: str) -> None:
    with Running(log, store) as one:
        await_that(lambda: len(one.recorder.partitions) == 24)
        with Running(log, store) as other:
            await_that(lambda: len(one.recorder.partitions) == len(other.recorder.partitions) == 12)
            send(log, device, 1, 1.0)
            await_that(lambda: values(store, device) == [1.0])
        send(log, device, 2, 2.0)
        await_that(lambda: values(store, device) == [1.0, 2.0])
        await_that(lambda: len(one.recorder.partitions) == 24)


@pytest.fixture
def small_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some four records of these tests in a transaction."""
    monkeypatch.setattr("simway_flask_app.intake.TURN_MIN_BYTES", 1_000)
    monkeypatch.setattr("simway_flask_app.intake.TURN_MAX_BYTES", 1_000)


@pytest.mark.usefixtures("small_turns")
def test_one_reading_does_not_wait_behind_what_another_partition_brings(log: Log, store: SqlStore, device: str) -> None:
    other = next(name for name in (uuid.uuid4().hex for _ in range(10_000)) if partition_of(name) != partition_of(device))
    for n in range(1, 61):
        send(log, device, n, float(n))
    send(log, other, 1, 7.0)
    turns: list[set[str]] = []
    watched = Faulty(store.uplink_writer(), lambda ups: turns.append({uplink.device for uplink in ups}))
    with Running(log, store, watched):
        await_that(lambda: len(values(store, device)) == 60)
    assert turns[0] == {device, other}
    assert len(turns) > 5


@pytest.mark.usefixtures("small_turns")
def test_what_was_read_already_is_no_part_of_what_retention_took(log: MemoryLog, store: SqlStore, device: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(uplinks: list[Uplink]) -> None:
        if uplinks:
            begun.set()
            go_on.wait(WAIT_S)

    missing: list[int] = []
    for n in range(1, 11):
        send(log, device, n, float(n))
    with Running(log, store, Faulty(store.uplink_writer(), hold), on_missing=missing.append):
        assert begun.wait(WAIT_S)
        for n in range(11, 15):
            send(log, device, n, float(n))
        log.drop_before("uplink", partition_of(device), 13)
        go_on.set()
        await_that(lambda: values(store, device) == [*map(float, range(1, 11)), 14.0])
    assert missing == [3]
    assert store.loss_ledger(device).missing == 3
