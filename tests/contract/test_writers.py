"""Write rights on both databases: granted, checked, renewed and lost in the store's own transactions."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from simway_flask_app.clock import utc_now_us
from simway_flask_app.rights import Refusal, Right, WriterKey
from simway_flask_app.store.port import StoreUnavailable
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import UplinkWriter
from simway_flask_app.store.writers import APPLICATION, TERM_S, RightLost, WriteRights
from simway_testing.stores import ON_POSTGRES, T0_US, uplink
from simway_testing.waiting import wait_for

WAIT_S = 30.0
TERM_US = int(TERM_S * 1e6)


class Recording:
    """What a recorder does with the store, step by step."""

    def __init__(self, store: SqlStore, follower: Follower, clock: Clock | None = None) -> None:
        self.key = WriterKey.make()
        self.writer: UplinkWriter = store.uplink_writer()
        self.rights: WriteRights = store.write_rights(self.key, now_us=clock)
        self.follower, self.next = follower, dict[int, int]()

    def take(self, *partitions: int) -> dict[int, Right]:
        self.next |= self.writer.take_over(self.follower, partitions, self.rights)
        return {partition: self.rights.held[partition] for partition in partitions}

    def commit(self, partition: int, device: str) -> None:
        """Stores one reading, whose number is the record's offset + 1."""
        at = self.next[partition]
        readings = [uplink(device, at + 1, ("t", T0_US + at, float(at)))]
        self.writer.store(readings, self.follower, {partition: (at, at + 1)}, now_us=T0_US, rights=self.rights)
        self.next[partition] = at + 1


class Clock:
    """A clock in the place of the store's. It begins a day ahead, so that no right is over by the store's own."""

    def __init__(self) -> None:
        self.now_us = utc_now_us() + 86_400_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


def stored(store: SqlStore, device: str) -> list[object]:
    return [reading.value for reading in store.readings(device).readings]


def test_a_grant_ends_the_right_before_it(store: SqlStore, follower: Follower, device: str) -> None:
    one, other = Recording(store, follower), Recording(store, follower)
    assert one.take(0, 1)[0].number == 1
    one.commit(0, device)
    taken = other.take(0)[0]
    assert (taken.number, taken.writer, other.next) == (2, other.rights.writer, {0: 1})
    with pytest.raises(RightLost) as lost:
        one.commit(0, device)
    assert (lost.value.partitions, lost.value.reason) == (frozenset({0}), "superseded")
    one.commit(1, f"{device}-1")
    other.commit(0, device)
    assert stored(store, device) == [0.0, 1.0]
    assert one.take(0)[0].number == 3
    one.commit(0, device)
    with pytest.raises(RightLost):
        other.commit(0, device)
    ledger = store.loss_ledger(device)
    assert (ledger.sent, ledger.stored, ledger.redelivered) == (3, 3, 0)


def test_a_transaction_with_one_lost_right_of_several_writes_nothing(store: SqlStore, follower: Follower, device: str) -> None:
    one, other = Recording(store, follower), Recording(store, follower)
    one.take(0, 1)
    other.take(1)
    moves = {0: (0, 1), 1: (0, 1)}
    with pytest.raises(RightLost) as lost:
        one.writer.store([uplink(device, 1, ("t", T0_US, 1.0))], follower, moves, now_us=T0_US, rights=one.rights)
    assert lost.value.partitions == {1}
    assert stored(store, device) == []
    assert one.writer.positions(follower) == {}


def test_what_was_never_granted_is_no_right(store: SqlStore, follower: Follower, device: str) -> None:
    one = Recording(store, follower)
    one.next = {0: 0}
    with pytest.raises(RightLost, match="never granted"):
        one.commit(0, device)


def test_a_right_is_renewed_by_use_and_over_without(store: SqlStore, follower: Follower, device: str, clock: Clock) -> None:
    one = Recording(store, follower, clock)
    granted = one.take(0)[0]
    assert granted.expires_us - granted.granted_us == TERM_US
    clock.now_us += TERM_US // 2
    one.commit(0, device)
    assert one.rights.held[0] == granted, "not yet half over"
    clock.now_us += 1
    one.commit(0, device)
    renewed = one.rights.held[0]
    assert (renewed.number, renewed.granted_us) == (granted.number, granted.granted_us)
    assert renewed.expires_us == clock.now_us + TERM_US
    assert store.verify_right(renewed, partition=None, writer=None) is None
    clock.now_us += TERM_US - 1
    one.rights.renew(follower)
    assert one.rights.held[0].expires_us == clock.now_us + TERM_US
    clock.now_us += TERM_US
    for use in (lambda: one.commit(0, device), lambda: one.rights.renew(follower)):
        with pytest.raises(RightLost, match="expired"):
            use()
    assert stored(store, device) == [0.0, 1.0]
    assert one.take(0)[0].number == 2
    one.commit(0, device)


def test_every_reason_that_a_right_does_not_hold_for(store: SqlStore, follower: Follower) -> None:
    one, other = Recording(store, follower), Recording(store, follower)
    first = one.take(0, 1)
    assert store.verify_right(first[0], partition=0, writer=one.rights.writer) is None
    forged = msgspec.structs.replace(first[0], number=2)
    stranger = WriterKey.make()
    strange = stranger.sign(msgspec.structs.replace(first[0], writer=stranger.writer))
    for right, partition, writer, expected in (
        (first[0], 1, None, Refusal.OTHER_PARTITION), (first[0], None, stranger.writer, Refusal.OTHER_WRITER),
        (forged, None, None, Refusal.FORGED), (one.key.sign(forged), None, None, Refusal.FORGED),
        (one.key.sign(msgspec.structs.replace(first[0], partition=9)), None, None, Refusal.FORGED),
        (strange, None, None, Refusal.UNKNOWN_WRITER),
    ):  # fmt: skip
        assert store.verify_right(right, partition=partition, writer=writer) == expected
    other.take(0)
    assert store.verify_right(first[0], partition=0, writer=None) == Refusal.SUPERSEDED
    one.rights.drop({0})
    one.rights.give_back()
    (given_back,) = next(state.rights for state in store.writers() if state.writer == one.rights.writer)
    for right in (first[1], given_back):
        assert store.verify_right(right, partition=1, writer=None) == Refusal.EXPIRED


def test_who_holds_what_is_shown(store: SqlStore, follower: Follower, clock: Clock) -> None:
    one, idle = Recording(store, follower), Recording(store, follower)
    one.take(4, 2)
    idle.rights.renew(follower)
    shown = {state.writer: state for state in store.writers()}
    state = shown[one.rights.writer]
    assert [right.partition for right in state.rights] == [2, 4]
    assert dict(one.rights.held) == {right.partition: right for right in state.rights}
    assert state.live
    assert state.started_us <= state.seen_us <= state.now_us
    assert state.public_key == one.key.public_key
    assert (shown[idle.rights.writer].rights, shown[idle.rights.writer].live) == ((), True)
    assert store.forget_writers(clock.now_us) > 0
    left = [writer.writer for writer in store.writers()]
    assert one.rights.writer in left
    assert idle.rights.writer not in left


def test_recorders_that_start_together_get_numbers_one_after_the_other(store: SqlStore, follower: Follower) -> None:
    recordings = [Recording(store, follower) for _ in range(8)]
    threads = [threading.Thread(target=recording.take, args=(0, 1, 2)) for recording in recordings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    for partition in range(3):
        assert sorted(recording.rights.held[partition].number for recording in recordings) == list(range(1, 9))


def test_a_grant_sees_what_a_transaction_under_way_commits(store: SqlStore, follower: Follower, device: str) -> None:
    """The former holder is amid its transaction: the new one waits for it, and goes on behind what it wrote."""
    one, other = Recording(store, follower), Recording(store, follower)
    one.take(0)
    began, finish = threading.Event(), threading.Event()
    placing = one.writer._tables._placer.place

    def slowly(*arguments: object) -> object:
        began.set()
        finish.wait(WAIT_S)
        return placing(*arguments)  # type: ignore[arg-type]

    one.writer._tables._placer.place = slowly  # type: ignore[assignment, method-assign]
    committing = threading.Thread(target=one.commit, args=(0, device))
    committing.start()
    assert began.wait(WAIT_S)
    taking = threading.Thread(target=other.take, args=(0,))
    taking.start()
    finish.set()
    committing.join(WAIT_S)
    taking.join(WAIT_S)
    assert other.next == {0: 1}
    with pytest.raises(RightLost):
        one.commit(0, device)
    other.commit(0, device)
    assert stored(store, device) == [0.0, 1.0]


@ON_POSTGRES
@pytest.mark.parametrize("amid_copy", [False, True])
def test_a_transaction_that_hangs_is_ended_for_the_next_holder(
    store: SqlStore, url: str, follower: Follower, device: str, amid_copy: bool
) -> None:
    """As SIGSTOP leaves it: the connection stays, and its server process waits for a client that says nothing.

    SQLite cannot end another process's transaction (docs/writers.md).
    """
    one, other = Recording(store, follower), Recording(store, follower)
    one.take(0)
    hung = psycopg.connect(url, application_name=APPLICATION + one.rights.writer)
    hung.execute("UPDATE write_rights SET number = number WHERE log_id = %s", (follower.log_id,))
    if amid_copy:
        hung.pgconn.send_query(b"COPY outbox FROM STDIN")
    with pytest.raises(StoreUnavailable):
        other.take(0)
    wait_for(lambda: backend_of(url, hung) is None, WAIT_S, "the end of the hung connection")
    other.take(0)
    other.commit(0, device)
    with pytest.raises(RightLost):
        one.commit(0, device)
    hung.close()


def backend_of(url: str, connection: psycopg.Connection) -> object:
    with psycopg.connect(url) as looking:
        return looking.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [connection.info.backend_pid]).fetchone()


@pytest.fixture
def own_store(url: str) -> Iterator[SqlStore]:
    store = open_store(url)
    yield store
    store.close()


class Rights(RuleBasedStateMachine):
    """Recorders take, use, renew and give up rights in any order, asleep for any time; a model says who may write."""

    store: SqlStore
    RECORDERS, PARTITIONS = range(3), range(2)

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        follower = Follower("recorder", uuid.uuid4().hex, "uplink")
        self.recordings = [Recording(self.store, follower, self.clock) for _ in self.RECORDERS]
        self.devices = {partition: f"d-{uuid.uuid4().hex}" for partition in self.PARTITIONS}
        self.numbers = dict.fromkeys(self.PARTITIONS, 0)
        self.holder: dict[int, tuple[int, int]] = {}
        self.written = dict.fromkeys(self.PARTITIONS, 0)

    @rule(who=st.sampled_from(RECORDERS), partitions=st.sets(st.sampled_from(PARTITIONS), min_size=1))
    def take(self, who: int, partitions: set[int]) -> None:
        granted = self.recordings[who].take(*partitions)
        for partition in partitions:
            self.numbers[partition] += 1
            assert granted[partition].number == self.numbers[partition]
            assert self.recordings[who].next[partition] == self.written[partition]
            self.holder[partition] = (who, self.clock.now_us + TERM_US)

    @rule(who=st.sampled_from(RECORDERS), partition=st.sampled_from(PARTITIONS))
    def commit(self, who: int, partition: int) -> None:
        recording = self.recordings[who]
        recording.next.setdefault(partition, self.written[partition])
        if self._may(who, partition):
            recording.commit(partition, self.devices[partition])
            self.written[partition] += 1
            self._renewed(who, [partition])
        else:
            with pytest.raises(RightLost):
                recording.commit(partition, self.devices[partition])

    @rule(who=st.sampled_from(RECORDERS))
    def renew(self, who: int) -> None:
        held = list(self.recordings[who].rights.held)
        if all(self._may(who, partition) for partition in held):
            self.recordings[who].rights.renew(self.recordings[who].follower)
            self._renewed(who, held)
        else:
            with pytest.raises(RightLost):
                self.recordings[who].rights.renew(self.recordings[who].follower)

    @rule(who=st.sampled_from(RECORDERS))
    def give_back(self, who: int) -> None:
        self.recordings[who].rights.give_back()
        self.holder = {partition: held for partition, held in self.holder.items() if held[0] != who}

    @rule(who=st.sampled_from(RECORDERS), partition=st.sampled_from(PARTITIONS))
    def drop(self, who: int, partition: int) -> None:
        self.recordings[who].rights.drop({partition})
        if self.holder.get(partition, (None, 0))[0] == who:
            del self.holder[partition]

    @rule(seconds=st.sampled_from([1, 14, 16, 29, 31]))
    def sleep(self, seconds: int) -> None:
        self.clock.now_us += seconds * 1_000_000

    @invariant()
    def only_what_was_allowed_is_stored(self) -> None:
        for partition, device in getattr(self, "devices", {}).items():
            assert stored(self.store, device) == [float(number) for number in range(self.written[partition])]

    def teardown(self) -> None:
        for partition, device in getattr(self, "devices", {}).items():
            if self.written[partition]:
                ledger = self.store.loss_ledger(device)
                assert (ledger.sent, ledger.stored, ledger.redelivered) == (self.written[partition], self.written[partition], 0)

    def _may(self, who: int, partition: int) -> bool:
        holder, expires_us = self.holder.get(partition, (None, 0))
        return holder == who and expires_us > self.clock.now_us

    def _renewed(self, who: int, partitions: list[int]) -> None:
        for partition in partitions:
            if self.holder[partition][1] - self.clock.now_us < TERM_US // 2:
                self.holder[partition] = (who, self.clock.now_us + TERM_US)


def test_whatever_recorders_do_only_the_last_to_take_a_right_writes(own_store: SqlStore) -> None:
    class OnThisStore(Rights):
        store = own_store

    examples = 25 if own_store.is_sqlite else 8
    run_state_machine_as_test(
        OnThisStore,
        settings=settings(max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)),
    )
