"""What goes together, in what order, and what becomes of what is held. The producer is one of a few lines."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_backbone.kafka_batch import BATCH_MAX_BYTES, Batch
from simway_backbone.kafka_writer import KafkaWriter, together
from simway_backbone.log import Append, LogRefused, LogUnavailable

WAIT_S = 30.0


class Producer:
    """Shows each group to the test, and settles it as the test says."""

    def __init__(self) -> None:
        self.groups: SimpleQueue[list[list[bytes]]] = SimpleQueue()
        self.outcomes: SimpleQueue[LogUnavailable | None] = SimpleQueue()
        self.connected = 0

    def connect(self) -> None:
        self.connected += 1

    def produce(self, batches: list[Batch]) -> LogUnavailable | None:
        if not batches:
            return None
        self.groups.put([[value for append in batch.appends for _, value in append.records] for batch in batches])
        error = self.outcomes.get()
        for batch in batches:
            if error:
                batch.give_up(error)
            else:
                batch.succeed(0)
        return error

    def end(self) -> None:
        self.outcomes.put(LogUnavailable("ended"))


class House:
    """A writer and its producer."""

    def __init__(self) -> None:
        self.producer = Producer()
        self.writer = KafkaWriter(self.producer, self._refuse)

    def put(self, partition: int, value: bytes, size_bytes: int = 1) -> Future[int]:
        future: Future[int] = Future()
        self.writer.put(Append(future, "uplink", partition, [(None, value)], size_bytes))
        return future

    def group(self) -> list[list[bytes]]:
        return self.producer.groups.get(timeout=WAIT_S)

    def settle(self, error: LogUnavailable | None = None) -> None:
        self.producer.outcomes.put(error)

    @staticmethod
    def _refuse(append: Append) -> LogRefused | None:
        value = append.records[0][1]
        if value == b"odd":
            raise RuntimeError("can't start new thread")
        if value == b"nowhere":
            raise LogRefused("no such topic")
        return LogRefused("too large") if value == b"large" else None


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.writer.end(WAIT_S)
    assert not house.writer._thread.is_alive()


def assert_goes_on(house: House) -> None:
    after = house.put(0, b"after")
    assert house.group() == [[b"after"]]
    house.settle()
    assert after.result(WAIT_S) == 0


def test_what_comes_while_a_group_is_under_way_goes_together_and_in_order(house: House) -> None:
    first = house.put(0, b"a")
    assert house.group() == [[b"a"]]
    held = [house.put(0, b"b"), house.put(1, b"c"), house.put(0, b"d")]
    assert not any(future.done() for future in held)
    house.settle()
    assert first.result(WAIT_S) == 0
    assert house.group() == [[b"b", b"d"], [b"c"]]
    house.settle()
    assert [future.result(WAIT_S) for future in held] == [0, 0, 1]
    assert house.producer.connected == 1


def test_what_finds_no_room_goes_with_the_next_group_before_what_came_later(house: House) -> None:
    house.put(0, b"a")
    house.group()
    house.put(0, b"b", BATCH_MAX_BYTES)
    house.put(0, b"c")
    house.settle()
    assert house.group() == [[b"b"]]
    house.put(0, b"d")
    house.settle()
    assert house.group() == [[b"c", b"d"]]
    house.settle()


def test_what_is_held_behind_a_broker_that_is_away_fails_with_what_was_under_way(house: House) -> None:
    futures = [house.put(0, b"a")]
    house.group()
    futures += [house.put(0, b"b"), house.put(1, b"c")]
    house.settle(LogUnavailable("away"))
    assert [str(future.exception(WAIT_S)) for future in futures] == ["away"] * 3
    assert_goes_on(house)


@pytest.mark.parametrize("value", [b"large", b"nowhere"])
def test_what_is_refused_holds_nobody_up(house: House, value: bytes) -> None:
    refused, taken = house.put(0, value), house.put(0, b"a")
    assert isinstance(refused.exception(WAIT_S), LogRefused)
    assert house.group() == [[b"a"]]
    house.settle()
    assert taken.result(WAIT_S) == 0


def test_what_cannot_be_told_fails_what_waits_behind_it_and_the_writer_goes_on(house: House) -> None:
    first = house.put(0, b"a")
    house.group()
    odd, behind = house.put(0, b"odd"), house.put(0, b"b")
    house.settle()
    assert first.result(WAIT_S) == 0
    assert [str(future.exception(WAIT_S)) for future in (odd, behind)] == ["RuntimeError: can't start new thread"] * 2
    assert_goes_on(house)


def test_the_end_leaves_nobody_waiting(house: House) -> None:
    under_way = house.put(0, b"a")
    house.group()
    held = house.put(0, b"b")
    house.writer.end(WAIT_S)
    assert str(under_way.exception(WAIT_S)) == "ended"
    assert isinstance(held.exception(WAIT_S), LogUnavailable)


def test_a_writer_that_was_never_used_ends_and_does_not_begin_again(house: House) -> None:
    house.writer.end(WAIT_S)
    house.writer.begin()
    assert house.producer.connected == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, BATCH_MAX_BYTES * 2)), max_size=30))
def test_each_goes_once_in_order_and_no_batch_is_too_large_unless_alone(sizes: list[tuple[int, int]]) -> None:
    appends = [Append(Future(), "uplink", partition, [(None, b"")], size_bytes) for partition, size_bytes in sizes]
    wanted, found, held = defaultdict(list), defaultdict(list), {}
    for append in appends:
        wanted[append.partition].append(append)
        held.setdefault(("uplink", append.partition), deque()).append(append)
    while held:
        batches = together(held)
        assert len({batch.place for batch in batches}) == len(batches)
        for batch in batches:
            assert len(batch.appends) == 1 or sum(append.size_bytes for append in batch.appends) <= BATCH_MAX_BYTES
            found[batch.place[1]] += batch.appends
    assert found == wanted
