"""Reading from Kafka: partitions assigned by hand, no group, no reset: what is gone is said, never skipped."""

from __future__ import annotations

import selectors
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

from simway_backbone.log import LogUnavailable, OffsetGone, Record, refuse_append

ASK_AFTER_S = 5.0
"""kafka-python returns nothing both when there is nothing and when the broker is away: after so long without news, ask."""
ANSWER_TIMEOUT_S = 5.0
FETCH_WAIT_MS = 500


class KafkaReader:
    """See ``Reader``. Connects at the first poll."""

    def __init__(self, servers: Sequence[str], client_id: str, topic: str, partitions: int, positions: dict[int, int]) -> None:
        self._servers, self._client_id, self._topic, self._partitions = list(servers), client_id, topic, partitions
        self._positions = self._checked(positions)
        self._consumer: Any = None
        self._news_at_s = 0.0

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """See ``Reader``."""
        if not self._positions:
            time.sleep(timeout_s)
            return []
        try:
            consumer = self._consumer or self._connect()
            found = [
                Record(record.partition, record.offset, record.key, record.value, record.timestamp * 1000)
                for records in consumer.poll(int(timeout_s * 1000), max_records).values()
                for record in records
            ]
            if found:
                self._news_at_s = time.monotonic()
                self._positions |= {record.partition: record.offset + 1 for record in found}
            elif time.monotonic() - self._news_at_s > ASK_AFTER_S:
                consumer.end_offsets(consumer.assignment(), timeout_ms=int(ANSWER_TIMEOUT_S * 1000))
                self._news_at_s = time.monotonic()
        except kafka_errors.OffsetOutOfRangeError as error:
            raise self._gone(error) from error
        except (kafka_errors.KafkaError, OSError) as error:
            self.close()
            raise unavailable(self._servers, error) from error
        return found

    def seek(self, partition: int, offset: int) -> None:
        """See ``Reader``."""
        if partition not in self._positions:
            raise KeyError(f"{self._topic}/{partition} is not read by this reader")
        self._positions[partition] = offset
        if self._consumer:
            self._consumer.seek(TopicPartition(self._topic, partition), offset)

    @property
    def positions(self) -> Mapping[int, int]:
        """See ``MovableReader``."""
        return self._positions

    def assign(self, positions: Mapping[int, int]) -> None:
        """See ``MovableReader``. What stays goes on without a pause."""
        before, self._positions = self._positions, self._checked(positions)
        if not positions:
            self.close()
        if not self._consumer:
            return
        self._consumer.assign([TopicPartition(self._topic, partition) for partition in positions])
        for partition, offset in positions.items():
            if before.get(partition) != offset:
                self._consumer.seek(TopicPartition(self._topic, partition), offset)

    def close(self) -> None:
        """See ``Reader``."""
        consumer, self._consumer = self._consumer, None
        if consumer:
            consumer.close(autocommit=False, timeout_ms=1000)

    def _checked(self, positions: Mapping[int, int]) -> dict[int, int]:
        for partition in positions:
            if refused := refuse_append(self._topic, partition, self._partitions, [(None, b"")]):
                raise refused
        return dict(positions)

    def _connect(self) -> Any:
        consumer = KafkaConsumer(
            **connection_settings(self._servers, self._client_id),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        consumer.assign([TopicPartition(self._topic, partition) for partition in self._positions])
        for partition, offset in self._positions.items():
            consumer.seek(TopicPartition(self._topic, partition), offset)
        self._consumer, self._news_at_s = consumer, time.monotonic()
        return consumer

    def _gone(self, error: kafka_errors.OffsetOutOfRangeError) -> OffsetGone:
        partition = next(iter(error.args[0]))
        at = [partition]
        try:
            earliest, end = self._consumer.beginning_offsets(at)[partition], self._consumer.end_offsets(at)[partition]
        except (kafka_errors.KafkaError, OSError) as away:
            raise unavailable(self._servers, away) from away
        # a raised error may have cost the consumer what it had fetched of others: our positions are what was handed out
        self.close()
        return OffsetGone(self._topic, partition.partition, self._positions[partition.partition], earliest, end)


class QuietSelector(selectors.DefaultSelector):
    """As its base, but it does not describe in words a socket that is not registered.

    kafka-python asks for one before each wait, and ``repr`` of a socket asks the kernel for both its addresses.
    """

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """See ``selectors.BaseSelector``."""
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return super().get_key(fileobj if descriptor < 0 else descriptor)


def connection_settings(servers: Sequence[str], client_id: str, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
    """What every client of kafka-python gets here: short, bounded waits, and a quick return after an outage."""
    timeout_ms = int(answer_timeout_s * 1000)
    return {
        "bootstrap_servers": list(servers),
        "client_id": client_id,
        "request_timeout_ms": timeout_ms,
        "bootstrap_timeout_ms": timeout_ms,
        "reconnect_backoff_max_ms": 1000,
        "selector": QuietSelector,
    }


def unavailable(servers: Sequence[str], error: BaseException) -> LogUnavailable:
    """The one way an outage is said. kafka-python's errors name themselves."""
    said = str(error) if isinstance(error, kafka_errors.KafkaError) else f"{type(error).__name__}: {error}"
    return LogUnavailable(f"Kafka at {','.join(servers)} does not answer: {said}")
