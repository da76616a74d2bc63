"""The log in Kafka, by kafka-python (design, section 3). Imported only for ``kafka://`` (the extra ``kafka`` of this package).

Durable means: ``acks=all``; on a cluster of three and more, replication 3 with min.insync.replicas 2; on a single broker, where
that is only its page cache, ``flush.messages=1``, so that it syncs before it answers. Appends are idempotent: a batch that is
sent again is written once (``kafka_writer``, ``kafka_producer``). How readers read: ``kafka_reader``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import structlog
from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from simway_protocol.topics import TOPICS, Topic

from simway_backbone.group_reader import GroupedReader
from simway_backbone.kafka_group import KafkaMember
from simway_backbone.kafka_producer import Producer
from simway_backbone.kafka_reader import ANSWER_TIMEOUT_S, KafkaReader, connection_settings, unavailable
from simway_backbone.kafka_writer import KafkaWriter
from simway_backbone.log import (
    PATIENCE_S,
    Append,
    Begin,
    GroupReader,
    LogRefused,
    LogUnavailable,
    Lost,
    Pairs,
    Reader,
    refuse_append,
    topic_refused,
    waiting_bytes,
)

START_TIMEOUT_S = 60.0
"""How long ``ensure_topics`` waits for a broker that is still starting."""
DELIVERY_TIMEOUT_S = 10.0
"""After this, an append that the broker did not acknowledge fails with ``LogUnavailable``; the connection's first is another."""
REPLICATION = 3
WAITING_MAX_BYTES = 64_000_000
SEGMENTS_PER_RETENTION = 24
CLOSE_LOOK_S = 0.005

_NO_TOPIC = (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.InvalidTopicError)
_EARLIEST, _END = -2, -1
"""Timestamps that stand for a partition's first and next offset (Kafka protocol, ListOffsets)."""

_log = structlog.get_logger("log")
T = TypeVar("T")


def require_crc32c() -> None:
    """Raises ``LogRefused`` without the package ``crc32c``: kafka-python would then sum in Python, at 4 MB/s."""
    from kafka.record import util

    if util.crc32c_c is None:
        raise LogRefused(
            "the package crc32c is missing, without which Kafka is 25 times slower: pip install 'simway-backbone[kafka]'"
        )


def topic_settings(topic: Topic, brokers: int) -> dict[str, str]:
    """How a topic is made on a cluster of so many brokers (Kafka's topic configuration)."""
    settings = {"cleanup.policy": "compact" if topic.compacted else "delete", "message.timestamp.type": "LogAppendTime"}
    if topic.retention_s is None:
        settings["retention.ms"] = "-1"
    else:
        settings["retention.ms"] = str(topic.retention_s * 1000)
        settings["segment.ms"] = str(max(topic.retention_s * 1000 // SEGMENTS_PER_RETENTION, 60_000))
    settings |= {"min.insync.replicas": "2"} if brokers >= REPLICATION else {"min.insync.replicas": "1", "flush.messages": "1"}
    return settings


class KafkaLog:
    """See ``Log``. Connects at first use, and again after an outage."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        client_id: str,
        topics: Mapping[str, Topic] = TOPICS,
        start_timeout_s: float = START_TIMEOUT_S,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        require_crc32c()
        self._servers, self._client_id = list(servers), client_id
        self._descriptors = topics
        self._start_timeout_s = start_timeout_s
        self._lock = threading.RLock()
        self._admin: Any = None
        self._counts: dict[str, int] = {}
        producer = Producer(self._servers, client_id, delivery_timeout_s, partial(unavailable, self._servers))
        self._writer = KafkaWriter(producer, self._refuse)
        self._waiting_bytes = 0
        self._count_lock = threading.Lock()
        self._closed = False

    def ensure_topics(self) -> None:
        """See ``Log``. Waits for a broker that is starting; then ``LogUnavailable`` says what does not answer."""
        deadline_s = time.monotonic() + self._start_timeout_s
        while True:
            try:
                self._make_missing_topics()
                for name in self._descriptors:
                    self.partitions(name)
                break
            except LogUnavailable as error:
                if time.monotonic() > deadline_s:
                    raise LogUnavailable(f"{error}; is Kafka running, and does LOG_URL name it?") from error
                _log.info("waiting for Kafka", servers=self._servers, error=str(error))
                time.sleep(0.5)
        self._writer.begin()

    def identity(self, topic: str) -> str:
        """See ``Log``."""
        return self._describe(topic)[0]

    def partitions(self, topic: str) -> int:
        """See ``Log``."""
        return self._counts.get(topic) or self._describe(topic)[1]

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """See ``Log``."""
        partitions = [TopicPartition(topic, number) for number in range(self.partitions(topic))]

        def offsets(at: int) -> dict[Any, Any]:
            return self._ask(lambda admin: dict(admin.list_partition_offsets(dict.fromkeys(partitions, at))))

        earliest, ends = offsets(_EARLIEST), offsets(_END)
        return {partition.partition: (earliest[partition].offset, ends[partition].offset) for partition in partitions}

    def append(self, topic: str, partition: int, records: Pairs) -> Future[int]:
        """See ``Log``."""
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        size_bytes = waiting_bytes(records)
        with self._count_lock:
            if self._closed or self._waiting_bytes + size_bytes > WAITING_MAX_BYTES:
                why = "the log is closed" if self._closed else f"more than {WAITING_MAX_BYTES} bytes wait for Kafka"
                future.set_exception(LogUnavailable(why))
                return future
            self._waiting_bytes += size_bytes
            future.add_done_callback(lambda _: self._count(-size_bytes))
            self._writer.put(Append(future, topic, partition, records, size_bytes))
        return future

    def reader(self, topic: str, positions: Mapping[int, int], *, patience_s: float = PATIENCE_S) -> Reader:  # noqa: ARG002 (the port's)
        """See ``Log``. Blocks when the topic was not used before."""
        return KafkaReader(self._servers, self._client_id, topic, self.partitions(topic), dict(positions))

    def group_reader(
        self, topic: str, group: str, *, member: str, begin: Begin, lost: Lost, session_timeout_s: float
    ) -> GroupReader:
        """See ``Log``. Blocks when the topic was not used before."""
        reader = KafkaReader(self._servers, self._client_id, topic, self.partitions(topic), {})
        membership = KafkaMember(self._servers, f"{self._client_id}-{member}", topic, group, session_timeout_s)
        return GroupedReader(reader, membership, begin, lost)

    def close(self, timeout_s: float = 5.0) -> None:
        """See ``Log``."""
        with self._count_lock:
            self._closed = True
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s and self._waiting_bytes:
            time.sleep(CLOSE_LOOK_S)
        self._writer.end(ANSWER_TIMEOUT_S)
        with self._lock:
            admin, self._admin = self._admin, None
        if admin:
            admin.close()

    def _make_missing_topics(self) -> None:
        brokers = len(self._ask(lambda admin: admin.describe_cluster())["brokers"])
        if brokers < min(len(self._servers), REPLICATION):
            raise LogUnavailable(f"{brokers} of {len(self._servers)} Kafka brokers are there yet")
        missing = self._descriptors.keys() - set(self._ask(lambda admin: admin.list_topics()))
        if not missing:
            return
        wanted = {
            name: {
                "num_partitions": self._descriptors[name].partitions,
                "replication_factor": REPLICATION if brokers >= REPLICATION else 1,
                "configs": topic_settings(self._descriptors[name], brokers),
            }
            for name in missing
        }
        answer = self._ask(lambda admin: admin.create_topics(wanted, raise_errors=False))
        for made in answer["topics"]:
            error = kafka_errors.for_code(made["error_code"])
            if error not in (kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError):
                raise LogUnavailable(
                    f"Kafka did not make the topic {made['name']}: {made.get('error_message') or error.__name__}"
                )
        self._ask(lambda admin: admin.wait_for_topics(list(missing)))

    def _describe(self, topic: str) -> tuple[str, int]:
        """Identity and number of partitions, asked anew: a topic may have been deleted and made again."""
        cluster = self._ask(lambda admin: admin.describe_cluster())["cluster_id"]
        found = self._ask(lambda admin: admin.describe_topics([topic]))
        if not found or found[0]["error_code"]:
            error = kafka_errors.for_code(found[0]["error_code"]) if found else kafka_errors.UnknownTopicOrPartitionError
            if error not in _NO_TOPIC:
                raise unavailable(self._servers, error(topic))
            raise topic_refused(topic, self._ask(lambda admin: admin.list_topics()))
        count = len(found[0]["partitions"])
        if topic in self._descriptors and count != self._descriptors[topic].partitions:
            _log.warning("topic has other partitions", topic=topic, has=count, wanted=self._descriptors[topic].partitions)
        self._counts[topic] = count
        return f"kafka:{cluster}/{found[0].get('topic_id') or topic}", count

    def _ask(self, question: Callable[[Any], T]) -> T:
        with self._lock:
            try:
                if self._admin is None:
                    self._admin = _admin_client(**connection_settings(self._servers, self._client_id))
                return question(self._admin)
            except (kafka_errors.KafkaError, OSError) as error:
                admin, self._admin = self._admin, None
                if admin:
                    admin.close()
                raise unavailable(self._servers, error) from error

    def _refuse(self, append: Append) -> LogRefused | None:
        return refuse_append(append.topic, append.partition, self.partitions(append.topic), append.records)

    def _count(self, size: int) -> None:
        with self._count_lock:
            self._waiting_bytes += size


def _admin_client(**settings: Any) -> Any:
    """kafka-python's, which leaves a thread and its sockets behind when no broker answers it."""
    made: list[Any] = []

    def client(**more: Any) -> Any:
        made.append(KafkaNetClient(**more))
        return made[0]

    try:
        return KafkaAdminClient(kafka_client=client, **settings)
    except Exception:
        for each in made:
            each.close()
        raise
