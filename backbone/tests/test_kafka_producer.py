"""Batches to brokers that fail in every way: each that is acknowledged is there once, in order, where it was said to be.

The brokers keep Kafka's rule for idempotent producers (KIP-98) and read real record batches; the wire is ``tests/contract``.
"""

from __future__ import annotations

from collections import defaultdict, deque
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import errors as kafka_errors
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest
from kafka.record.memory_records import MemoryRecords
from simway_backbone import kafka_producer
from simway_backbone.kafka_batch import Batch
from simway_backbone.kafka_link import Broker
from simway_backbone.kafka_producer import Producer
from simway_backbone.log import Append, LogRefused, LogUnavailable

TOPIC = "uplink"
NODES = (Broker("one", 9092), Broker("two", 9092))
PARTITIONS = 3
FAULTS = ("lost before", "lost after", "another leads", "too few replicas", "forgotten", "nobody leads")


class Cluster:
    """Two brokers. ``faults``: what befalls the next requests, one each; then all goes well."""

    def __init__(self) -> None:
        self.faults: deque[str] = deque()
        self.log: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}
        self.leads = {partition: partition % 2 for partition in range(PARTITIONS)}
        self.identities = 0
        self.not_yet = 0
        """So often a broker that has just begun has no identity to give."""
        self.requests = 0
        self.away: set[Broker] = set()
        self.hanging: set[Broker] = set()
        self.hidden: set[int] = set()
        """Partitions without a leader, as far as the next question for one hears."""
        self.leaderless: set[int] = set()
        self._last: dict[tuple[int, int], deque[tuple[int, int, int]]] = defaultdict(lambda: deque(maxlen=5))

    def answer(self, node: Broker, request: Any) -> Any:
        if isinstance(request, InitProducerIdRequest):
            return self._identity()
        if isinstance(request, MetadataRequest):
            return self._metadata()
        self.requests += 1
        fault = self.faults.popleft() if self.faults else None
        if fault == "lost before":
            raise ConnectionResetError(fault)
        (data,) = request.topic_data
        told = [self._produced(node, each.index, bytes(each.records), fault) for each in data.partition_data]
        if fault == "lost after":
            raise TimeoutError(fault)
        return SimpleNamespace(responses=[SimpleNamespace(name=TOPIC, partition_responses=told)])

    def _identity(self) -> Any:
        if self.not_yet:
            self.not_yet -= 1
            return SimpleNamespace(error_code=kafka_errors.CoordinatorLoadInProgressError.errno)
        self.identities += 1
        return SimpleNamespace(error_code=0, producer_id=self.identities, producer_epoch=0)

    def _metadata(self) -> Any:
        brokers = [SimpleNamespace(node_id=number, host=node.host, port=node.port) for number, node in enumerate(NODES)]
        partitions = [
            SimpleNamespace(partition_index=partition, leader_id=-1 if partition in self.hidden | self.leaderless else leader)
            for partition, leader in self.leads.items()
        ]
        self.hidden.clear()
        topic = SimpleNamespace(error_code=0, name=TOPIC, partitions=partitions)
        return SimpleNamespace(brokers=brokers, topics=[topic])

    def _produced(self, node: Broker, partition: int, encoded: bytes, fault: str | None) -> Any:
        error, offset = self._write(node, partition, encoded, fault)
        return SimpleNamespace(index=partition, error_code=error.errno if error else 0, base_offset=offset)

    def _write(self, node: Broker, partition: int, encoded: bytes, fault: str | None) -> tuple[Any, int]:
        if fault == "another leads":
            self.leads[partition] = 1 - NODES.index(node)
        if fault == "nobody leads":
            self.hidden.add(partition)
        if fault == "nobody leads" or NODES[self.leads[partition]] != node:
            return kafka_errors.NotLeaderForPartitionError, -1
        if fault == "too few replicas":
            return kafka_errors.NotEnoughReplicasError, -1
        if fault == "forgotten":
            return kafka_errors.OutOfOrderSequenceNumberError, -1
        batch = MemoryRecords(encoded).next_batch()
        values = [record.value for record in batch]
        if b"refused" in values:
            return kafka_errors.MessageSizeTooLargeError, -1
        known = self._last[batch.producer_id, partition]
        for sequence, count, offset in known:
            if (sequence, count) == (batch.base_sequence, len(values)):
                return None, offset
        if known and batch.base_sequence != known[-1][0] + known[-1][1]:
            return kafka_errors.OutOfOrderSequenceNumberError, -1
        offset = len(self.log[partition])
        known.append((batch.base_sequence, len(values), offset))
        self.log[partition] += values
        return None, offset


class FakeLink:
    """See ``Link``."""

    cluster: Cluster

    def __init__(self, broker: Broker, _client_id: str, _timeout_s: float) -> None:
        self._broker = broker
        self._answers: list[Any] = []
        self._check()

    def _check(self) -> None:
        if self._broker in self.cluster.away:
            raise ConnectionRefusedError(self._broker.host)

    def ask(self, request: Any, timeout_s: float) -> Any:
        self.send(request, timeout_s)
        return self.answer(timeout_s)

    def send(self, request: Any, _timeout_s: float) -> None:
        """It is done here: an answer that nobody waits for was given all the same."""
        self._check()
        try:
            self._answers.append(self.cluster.answer(self._broker, request))
        except Exception as error:
            self._answers.append(error)

    def answer(self, _timeout_s: float) -> Any:
        found = self._answers.pop(0)
        if self._broker in self.cluster.hanging:
            raise TimeoutError("hangs")
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(kafka_producer, "Link", FakeLink)
    monkeypatch.setattr(kafka_producer, "RETRY_S", 0.0)
    FakeLink.cluster = Cluster()
    return FakeLink.cluster


def producer(delivery_timeout_s: float = 60.0) -> Producer:
    servers = [f"{node.host}:{node.port}" for node in NODES]
    return Producer(servers, "test", delivery_timeout_s, lambda error: LogUnavailable(f"{type(error).__name__}: {error}"))


def batches(*wanted: tuple[int, bytes]) -> tuple[list[Batch], list[Future[int]]]:
    futures: list[Future[int]] = [Future() for _ in wanted]
    made = {partition: Batch((TOPIC, partition)) for partition, _ in wanted}
    for future, (partition, value) in zip(futures, wanted, strict=True):
        made[partition].add(Append(future, TOPIC, partition, [(None, value)], 1))
    return list(made.values()), futures


@given(
    groups=st.lists(st.lists(st.integers(0, PARTITIONS - 1), min_size=1, max_size=6), max_size=8),
    faults=st.lists(st.sampled_from((*FAULTS, "none", "none")), max_size=12),
)
@settings(max_examples=200)
def test_what_is_acknowledged_is_there_once_in_order_and_where_it_was_said(groups: list[list[int]], faults: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_producer, "Link", FakeLink)
        patch.setattr(kafka_producer, "RETRY_S", 0.0)
        cluster = FakeLink.cluster = Cluster()
        cluster.faults.extend(faults)
        sender = producer()
        acknowledged: dict[int, list[int]] = defaultdict(list)
        for number, group in enumerate(groups):
            values = [(partition, b"%d-%d" % (number, place)) for place, partition in enumerate(group)]
            made, futures = batches(*values)
            sender.produce(made)
            for future, (partition, value) in zip(futures, values, strict=True):
                error = future.exception(0)
                assert error is None or isinstance(error, LogUnavailable)
                assert cluster.log[partition].count(value) <= 1
                if error is None:
                    assert cluster.log[partition][future.result(0)] == value
                    acknowledged[partition].append(future.result(0))
    assert all(offsets == sorted(offsets) for offsets in acknowledged.values())
    assert cluster.identities <= 1 + faults.count("forgotten")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_costs_nothing_but_time(cluster: Cluster, fault: str) -> None:
    sender = producer()
    first, _ = batches((0, b"before"))
    assert sender.produce(first) is None
    cluster.faults.append(fault)
    made, futures = batches((0, b"a"), (1, b"b"), (2, b"c"))
    assert sender.produce(made) is None
    if fault == "forgotten":
        assert sum("OutOfOrder" in str(future.exception(0)) for future in futures) in (1, 2), "what its first leader was given"
        return
    assert [future.result(0) for future in futures] == [1, 0, 0]
    assert cluster.identities == 1


def test_a_batch_that_is_given_up_is_not_mixed_up_with_the_next_one(cluster: Cluster) -> None:
    """It was written, though nobody heard of it: the next one must not be taken for it."""
    sender = producer(delivery_timeout_s=0.0)
    cluster.faults.append("lost after")
    made, (lost,) = batches((0, b"unheard of"))
    assert "lost after" in str(sender.produce(made))
    assert isinstance(lost.exception(0), LogUnavailable)
    made, (kept,) = batches((0, b"next"))
    assert sender.produce(made) is None
    assert cluster.log[0] == [b"unheard of", b"next"]
    assert kept.result(0) == 1
    assert cluster.identities == 2


def test_what_a_broker_refuses_fails_alone_and_takes_no_number(cluster: Cluster) -> None:
    sender = producer()
    made, (refused, taken) = batches((0, b"refused"), (1, b"a"))
    assert sender.produce(made) is None
    assert isinstance(refused.exception(0), LogRefused)
    assert taken.result(0) == 0
    made, (after,) = batches((0, b"b"))
    assert sender.produce(made) is None
    assert after.result(0) == 0
    assert cluster.identities == 1


def test_any_server_that_answers_will_do(cluster: Cluster) -> None:
    cluster.away.add(NODES[0])
    cluster.leads = dict.fromkeys(cluster.leads, 1)
    sender = producer()
    sender.connect()
    made, (future,) = batches((0, b"a"))
    assert sender.produce(made) is None
    assert future.result(0) == 0


def test_a_broker_that_has_just_begun_is_asked_again(cluster: Cluster) -> None:
    cluster.not_yet = 3
    producer().connect()
    assert cluster.identities == 1
    cluster.not_yet = 3
    with pytest.raises(LogUnavailable, match="CoordinatorLoadInProgress"):
        producer(delivery_timeout_s=0.0).connect()


def test_without_a_leader_or_a_server_it_is_given_up_in_time(cluster: Cluster) -> None:
    sender = producer(delivery_timeout_s=0.0)
    cluster.leads = dict.fromkeys(cluster.leads, 7)
    made, (future,) = batches((0, b"a"))
    assert "LeaderNotAvailable" in str(sender.produce(made))
    cluster.away.update(NODES)
    made, (future,) = batches((0, b"a"))
    assert "ConnectionRefused" in str(sender.produce(made))
    assert isinstance(future.exception(0), LogUnavailable)
    with pytest.raises(LogUnavailable, match="ConnectionRefused"):
        producer(delivery_timeout_s=0.0).connect()


@pytest.mark.parametrize("trouble", ["leaderless", "away", "hanging"])
def test_what_goes_elsewhere_is_written_beside_a_partition_that_cannot_be(cluster: Cluster, trouble: str) -> None:
    sender = producer()
    made, _ = batches((0, b"before"), (1, b"before"))
    assert sender.produce(made) is None
    if trouble == "leaderless":
        sender._leaders.clear()
        cluster.leaderless.add(0)
    else:
        getattr(cluster, trouble).add(NODES[0])
    sender._delivery_timeout_s = 0.0
    made, (bad, good) = batches((0, b"a"), (1, b"b"))
    assert sender.produce(made) is None
    assert isinstance(bad.exception(0), LogUnavailable)
    assert good.result(0) == 1
    assert cluster.log[1] == [b"before", b"b"]


def test_of_two_errors_the_one_that_does_not_pass_counts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = producer()
    kinds = {0: kafka_errors.OutOfOrderSequenceNumberError, 1: kafka_errors.NotEnoughReplicasError}
    monkeypatch.setattr(cluster, "_write", lambda _node, partition, *_: (kinds[partition], -1))
    made, (first, second) = batches((0, b"a"), (1, b"b"))
    cluster.leads[1] = 0
    assert "OutOfOrder" in str(sender.produce(made))
    assert isinstance(first.exception(0), LogUnavailable)
    assert isinstance(second.exception(0), LogUnavailable)


def test_the_end_gives_up_what_is_under_way(cluster: Cluster) -> None:
    sender = producer()
    sender.end()
    made, (future,) = batches((0, b"a"))
    assert "closed" in str(sender.produce(made))
    assert isinstance(future.exception(0), LogUnavailable)
    assert cluster.requests == 0


def test_what_is_no_answer_does_not_end_the_writer(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = producer()
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "answer", lambda *_: SimpleNamespace())
        made, (future,) = batches((0, b"a"))
        assert "AttributeError" in str(sender.produce(made))
        assert isinstance(future.exception(0), LogUnavailable)
    made, (future,) = batches((0, b"b"))
    assert sender.produce(made) is None
    assert future.result(0) == 0
