"""Record batches to the brokers that lead their partitions, each written once (docs/decisions/kafka-appends.md).

A batch goes again, byte for byte, until it is answered or ``delivery_timeout_s`` is over. Its identity and sequence number let
the broker tell that it has it already (KIP-98); with one batch of a partition under way, that is always its last one. When one
is given up, nobody knows whether it was written: its numbers are never used again, the next one has another identity.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kafka import errors as kafka_errors
from kafka.cluster import get_ip_port_afi
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest

from simway_backbone import kafka_reader
from simway_backbone.kafka_batch import Batch, Identity, Place, following
from simway_backbone.kafka_link import Broker, Link
from simway_backbone.log import LogRefused, LogUnavailable

RETRY_S = 0.05
"""Between two tries."""
CONNECT_S = 1.0
"""For a connection: a server that is gone without a word leaves time for the others."""
BROKERS_SHARE = 0.8
"""Of the time for an answer: so long a broker waits for its replicas, and then says so before it is given up."""
LAST_TRY_S = 0.1
"""A try that begins has so long at least, however near the end of its time is."""
_REFUSED = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError, kafka_errors.InvalidTopicError)
_ALL_REPLICAS = -1

# The oldest forms that say all that is needed here; every broker since Kafka 2.4 knows them.
_Produce, _Metadata, _InitProducerId = ProduceRequest[8], MetadataRequest[4], InitProducerIdRequest[1]


class Producer:
    """One thread uses it; ``end`` may come from another. ``unavailable`` puts errors into ours."""

    def __init__(
        self,
        servers: Sequence[str],
        client_id: str,
        delivery_timeout_s: float,
        unavailable: Callable[[BaseException], LogUnavailable],
    ) -> None:
        self._servers = deque(Broker(*get_ip_port_afi(server)[:2]) for server in servers)
        """In the order in which they are asked, which goes on by one with each failure."""
        self._client_id, self._delivery_timeout_s, self._unavailable = client_id, delivery_timeout_s, unavailable
        self._links: dict[Broker, Link] = {}
        self._leaders: dict[Place, Broker] = {}
        self._identity: Identity | None = None
        self._sequences: dict[Place, int] = {}
        self._deadline_s = 0.0
        self._ended = threading.Event()

    def connect(self) -> None:
        """Ahead of the first batch. Blocks. Raises ``LogUnavailable``: at once where nobody listens.

        A broker that has just begun has identities a moment later: its first answer is always CoordinatorLoadInProgress.
        """
        self._deadline_s = time.monotonic() + self._delivery_timeout_s
        while True:
            try:
                self._identify()
                return
            except Exception as error:
                self._disconnect()
                if isinstance(error, OSError) or self._is_over(error):
                    raise self._unavailable(error) from error

    def produce(self, batches: Sequence[Batch]) -> LogUnavailable | None:
        """One batch of a partition at most. Blocks until each is settled.

        What is returned is why no broker took anything: what waits for them need not be tried.
        """
        self._deadline_s = time.monotonic() + self._delivery_timeout_s
        while waiting := [batch for batch in batches if not batch.is_settled]:
            error = self._try(waiting)
            if not error:
                continue
            if self._is_over(error):
                given_up = self._give_up(waiting, self._unavailable(error))
                return given_up if all(batch.is_given_up for batch in batches) else None
        return None

    def end(self) -> None:
        """What is under way is given up at once."""
        self._ended.set()
        for link in list(self._links.values()):
            link.end()

    def _is_over(self, error: BaseException) -> bool:
        """Or else it is time for the next try."""
        return not _is_passing(error) or time.monotonic() + RETRY_S > self._deadline_s or self._ended.wait(RETRY_S)

    def _give_up(self, batches: Iterable[Batch], error: LogUnavailable) -> LogUnavailable:
        self._identity = None
        for batch in batches:
            if not batch.is_settled:
                batch.give_up(error)
        return error

    def _try(self, batches: Sequence[Batch]) -> BaseException | None:
        """One round. What is not settled after it met the error, whatever that is: who asks goes on."""
        try:
            return self._round(batches)
        except Exception as error:
            self._disconnect()
            return error

    def _round(self, batches: Sequence[Batch]) -> BaseException | None:
        identity = self._identify()
        groups, errors = self._by_leader(batches)
        asked: dict[Broker, list[Batch]] = {}
        for leader, group in groups.items():
            try:
                self._link(leader).send(self._request(identity, group), self._patience_s)
                asked[leader] = group
            except OSError as error:
                errors.append(self._lost(leader, error))
        for leader, group in asked.items():
            try:
                errors += self._settle(self._links[leader].answer(self._patience_s), group)
            except OSError as error:
                errors.append(self._lost(leader, error))
        return next((error for error in errors if not _is_passing(error)), next(iter(errors), None))

    def _lost(self, broker: Broker, error: OSError) -> OSError:
        """The others go on; what it leads is looked for anew."""
        if link := self._links.pop(broker, None):
            link.end()
        self._leaders = {place: leader for place, leader in self._leaders.items() if leader != broker}
        return error

    def _request(self, identity: Identity, batches: Iterable[Batch]) -> Any:
        topics: dict[str, list[Any]] = {}
        for batch in batches:
            topic, partition = batch.place
            encoded = batch.encoded(identity, self._sequences.get(batch.place, 0))
            topics.setdefault(topic, []).append(
                ProduceRequest.TopicProduceData.PartitionProduceData(index=partition, records=encoded)
            )
        data = [ProduceRequest.TopicProduceData(name=name, partition_data=partitions) for name, partitions in topics.items()]
        timeout_ms = int(self._patience_s * BROKERS_SHARE * 1000)
        return _Produce(transactional_id=None, acks=_ALL_REPLICAS, timeout_ms=timeout_ms, topic_data=data)

    def _settle(self, answer: Any, batches: Iterable[Batch]) -> list[BaseException]:
        """Tells the batches that an answer speaks of. The errors of those that it leaves open."""
        by_place = {batch.place: batch for batch in batches}
        left: list[BaseException] = []
        for topic in answer.responses:
            for told in topic.partition_responses:
                batch = by_place.pop((topic.name, told.index))
                error = kafka_errors.for_code(told.error_code)
                if error is kafka_errors.NoError:
                    self._sequences[batch.place] = following(self._sequences.get(batch.place, 0), batch.count)
                    batch.succeed(told.base_offset)
                elif issubclass(error, _REFUSED):
                    batch.refuse(LogRefused(f"{topic.name}/{told.index}: {error.__name__}"))
                else:
                    if issubclass(error, kafka_errors.InvalidMetadataError):
                        self._leaders.pop(batch.place, None)
                    left.append(error(f"{topic.name}/{told.index}"))
        if by_place:
            raise kafka_errors.KafkaProtocolError("an answer that leaves partitions out")
        return left

    def _identify(self) -> Identity:
        """The identity that goes with ``_sequences``."""
        if self._identity is None:
            answer = self._ask_any(_InitProducerId(transactional_id=None, transaction_timeout_ms=0))
            if error := _error(answer.error_code, "InitProducerId"):
                raise error
            self._identity, self._sequences = Identity(answer.producer_id, answer.producer_epoch), {}
        return self._identity

    def _by_leader(self, batches: Iterable[Batch]) -> tuple[dict[Broker, list[Batch]], list[BaseException]]:
        """And the errors of those that nobody leads."""
        groups: dict[Broker, list[Batch]] = {}
        unknown = {batch.place[0] for batch in batches if batch.place not in self._leaders}
        errors = [error for topic in sorted(unknown) if (error := self._look_up(topic))]
        for batch in batches:
            leader = self._leaders.get(batch.place)
            if leader:
                groups.setdefault(leader, []).append(batch)
            else:
                errors.append(kafka_errors.LeaderNotAvailableError("{}/{}".format(*batch.place)))
        return groups, errors

    def _look_up(self, topic: str) -> BaseException | None:
        """Who leads the topic's partitions; or why that is not known."""
        wanted = MetadataRequest.MetadataRequestTopic(name=topic)
        answer = self._ask_any(_Metadata(topics=[wanted], allow_auto_topic_creation=False))
        brokers = {broker.node_id: Broker(broker.host, broker.port) for broker in answer.brokers}
        for found in answer.topics:
            if error := _error(found.error_code, topic):
                return error
            for partition in found.partitions:
                if partition.leader_id in brokers:
                    self._leaders[found.name, partition.partition_index] = brokers[partition.leader_id]
        return None

    def _ask_any(self, request: Any) -> Any:
        """The answer of a broker that is connected, or of the first server that lets itself be; who fails is last next time."""
        for broker in [*self._links, *self._servers]:
            try:
                return self._link(broker).ask(request, self._patience_s)
            except OSError as error:
                failed = self._lost(broker, error)
                self._servers.rotate(-1)
                if self._ended.is_set():
                    break
        raise failed

    def _link(self, broker: Broker) -> Link:
        if broker not in self._links:
            self._check_end()
            try:
                self._links[broker] = Link(broker, self._client_id, min(CONNECT_S, self._patience_s))
            except OSError as error:
                raise OSError(f"{broker.host}:{broker.port}: {type(error).__name__}: {error}") from error
            self._check_end()
        return self._links[broker]

    def _check_end(self) -> None:
        """Before and after a connection is made: in between nobody else ends it."""
        if self._ended.is_set():
            raise ConnectionAbortedError("the log is closed")

    @property
    def _patience_s(self) -> float:
        """For one wait."""
        return min(kafka_reader.ANSWER_TIMEOUT_S, max(LAST_TRY_S, self._deadline_s - time.monotonic()))

    def _disconnect(self) -> None:
        """What leads, and what answers, is looked for anew."""
        for link in self._links.values():
            link.end()
        self._servers.rotate(-1)
        self._links.clear()
        self._leaders.clear()


def _error(code: int, of: str) -> BaseException | None:
    error = kafka_errors.for_code(code)
    return None if error is kafka_errors.NoError else error(of)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, OSError | kafka_errors.RetriableError)
