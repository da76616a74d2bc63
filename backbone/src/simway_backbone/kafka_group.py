"""A member of a Kafka consumer group (KIP-62, KIP-429), by kafka-python: it only says which partitions are ours.

Two clients, on purpose. The one here subscribes, joins and sends heartbeats, in a thread of its own, and fetches nothing: all its
partitions are paused. What they hold is read by a plain reader (``kafka_reader``). kafka-python's ``poll`` returns no records
while a rebalance is under way, which may take a session timeout when a member has fallen silent; so here nobody waits for it but
who is to be given the silent member's share. The assignor is the cooperative one: what does not move is not taken away.

The listener is called on kafka-python's event loop, which sends the heartbeats: it only notes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from simway_backbone import group_reader
from simway_backbone.group_reader import Shares
from simway_backbone.kafka_reader import connection_settings, unavailable
from simway_backbone.log import LogUnavailable

POLL_S = 0.5
RETRY_S = 0.5
BEATS_PER_SESSION = 6
CLOSE_S = 5.0

_log = structlog.get_logger("log")


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    def __init__(self, member: KafkaMember) -> None:
        self._member = member

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._member.given(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._member.taken(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._member.out(lost)


class KafkaMember:
    """See ``Membership``. Joins at once."""

    def __init__(
        self, servers: Sequence[str], client_id: str, topic: str, group: str, session_s: float, *, stall_s: float | None = None
    ) -> None:
        self._servers, self._client_id, self._topic = list(servers), client_id, topic
        self._group, self._session_s = f"simway.{group}.{topic}", session_s
        self._stall_s = group_reader.STALL_S if stall_s is None else stall_s
        self._shares = Shares()
        self._consumer: Any = None
        self._assignor = CooperativeStickyAssignor()
        self._error: LogUnavailable | None = None
        self._polled_s = self._turned_s = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"group-{client_id}", daemon=True)
        self._thread.start()

    def current(self) -> dict[int, int]:
        """See ``Membership``. Nothing after a sleep longer than the session: others have been given it by now."""
        self._polled_s = now_s = time.monotonic()
        return {} if now_s - self._turned_s > self._session_s else self._shares.now()

    def wait(self, timeout_s: float) -> None:
        """See ``Membership``."""
        self._shares.wait(timeout_s)
        if self._error is not None and not self._shares.now():
            raise self._error

    def caught_up(self, shares: Mapping[int, int]) -> None:
        """See ``Membership``. A broker asks for no word of this: what is stored too late, the store refuses."""

    def close(self) -> None:
        """See ``Membership``."""
        self._closing.set()
        self._thread.join(CLOSE_S)

    def given(self, partitions: Iterable[TopicPartition]) -> None:
        """Of the listener. A position, whatever it is, keeps kafka-python from asking for a committed one."""
        for partition in partitions:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)
        self._shares.give(partition.partition for partition in partitions)

    def taken(self, partitions: Iterable[TopicPartition]) -> None:
        """Of the listener."""
        self._shares.take(partition.partition for partition in partitions)

    def out(self, partitions: Iterable[TopicPartition]) -> None:
        """Of the listener: the group went on without us. We own nothing, and must not say at joining that we do."""
        self._assignor.member_assignment = None
        self.taken(partitions)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if time.monotonic() - self._polled_s > self._stall_s:
                    self._step_out()
                else:
                    self._consumer = self._consumer or self._connect()
                    self._turn()
                    self._error = None
                    continue
            except (kafka_errors.KafkaError, OSError) as error:
                self._error = unavailable(self._servers, error)
                _log.warning("no word from the group", group=self._group, error=str(error))
                self._leave()
            except Exception as error:
                _log.exception("no word from the group", group=self._group)
                self._error = LogUnavailable(f"the group {self._group} cannot be followed: {error!r}")
                self._leave()
            self._closing.wait(RETRY_S)
        self._leave()

    def _turn(self) -> None:
        """After a turn that took longer than a session (this process was stopped, or the broker) others have what was ours."""
        self._turned_s = time.monotonic()
        self._consumer.poll(int(POLL_S * 1000))
        if time.monotonic() - self._turned_s > self._session_s:
            self._leave()

    def _connect(self) -> Any:
        """As the member must be known before the listener is called, this subscribes and does not poll."""
        session_ms = int(self._session_s * 1000)
        self._assignor.member_assignment = None
        consumer = KafkaConsumer(
            **connection_settings(self._servers, self._client_id),
            group_id=self._group,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // BEATS_PER_SESSION,
            max_poll_interval_ms=session_ms,
            partition_assignment_strategy=(self._assignor,),
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        consumer.subscribe([self._topic], listener=_Listener(self))
        return consumer

    def _step_out(self) -> None:
        """Nobody has polled for long: who reads hangs, and the group goes on without."""
        if self._consumer:
            _log.warning("left the group: nothing has polled", group=self._group, for_s=self._stall_s)
        self._leave()

    def _leave(self) -> None:
        self._shares.clear()
        consumer, self._consumer = self._consumer, None
        if consumer:
            try:
                consumer.close(autocommit=False, timeout_ms=1000)
            except Exception as error:
                _log.warning("left the group without a word", group=self._group, error=repr(error))
