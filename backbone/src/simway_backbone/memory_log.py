"""The log in memory: the same port and contract suite, for unit tests of what stands on the log. Nothing in it is durable."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future

from simway_protocol.topics import TOPICS, Topic

from simway_backbone.group_reader import GroupedReader
from simway_backbone.lease_member import LeaseMember
from simway_backbone.leases import Group, Turn, leave, take_turn
from simway_backbone.log import (
    PATIENCE_S,
    Begin,
    GroupReader,
    LogUnavailable,
    Lost,
    OffsetGone,
    Pairs,
    Reader,
    Record,
    refuse_append,
    topic_refused,
)


class _Partition:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.earliest = 0
        self.end = 0


class MemoryLog:
    """A log that lives as long as this object. For tests, it can be held, taken away, and cut short as retention would."""

    def __init__(self, topics: Mapping[str, Topic] = TOPICS) -> None:
        self._descriptors = topics
        self._id = uuid.uuid4().hex
        self._topics: dict[str, list[_Partition]] = {}
        self._changed = threading.Condition()
        self._held: list[tuple[Future[int], str, int, Pairs]] | None = None
        self._closed = False
        self._groups: dict[str, Group] = {}
        self.outage: str | None = None
        """While set: appends and polls raise ``LogUnavailable`` with this text."""

    def ensure_topics(self) -> None:
        """See ``Log``."""
        self._check()
        with self._changed:
            for name, topic in self._descriptors.items():
                self._topics.setdefault(name, [_Partition() for _ in range(topic.partitions)])

    def identity(self, topic: str) -> str:
        """See ``Log``."""
        self._of(topic)
        return f"memory:{self._id}/{topic}"

    def partitions(self, topic: str) -> int:
        """See ``Log``."""
        return len(self._of(topic))

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """See ``Log``."""
        self._check()
        with self._changed:
            return {index: (partition.earliest, partition.end) for index, partition in enumerate(self._of(topic))}

    def append(self, topic: str, partition: int, records: Pairs) -> Future[int]:
        """See ``Log``; done when it returns, unless ``hold`` was called."""
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        if topic not in self._topics:
            future.set_exception(topic_refused(topic, self._topics))
        elif refused := refuse_append(topic, partition, len(self._topics[topic]), records):
            future.set_exception(refused)
        elif self._closed:
            future.set_exception(LogUnavailable("the log is closed"))
        elif self.outage is not None:
            future.set_exception(LogUnavailable(self.outage))
        elif self._held is not None:
            self._held.append((future, topic, partition, records))
        else:
            future.set_result(self._write(topic, partition, records))
        return future

    def reader(self, topic: str, positions: Mapping[int, int], *, patience_s: float = PATIENCE_S) -> Reader:  # noqa: ARG002 (the port's)
        """See ``Log``."""
        return _MemoryReader(self, topic, dict(positions))

    def group_reader(
        self, topic: str, group: str, *, member: str, begin: Begin, lost: Lost, session_timeout_s: float
    ) -> GroupReader:
        """See ``Log``."""
        leases = _MemoryLeases(self, f"{topic}/{group}", self.partitions(topic))
        return GroupedReader(_MemoryReader(self, topic, {}), LeaseMember(leases, member, session_timeout_s), begin, lost)

    def close(self, timeout_s: float = 5.0) -> None:  # noqa: ARG002 (the port's)
        """See ``Log``. What is held fails."""
        self._closed = True
        held, self._held = self._held or [], None
        for future, *_ in held:
            future.set_exception(LogUnavailable("the log was closed"))

    def hold(self) -> None:
        """From now on appends wait, neither written nor failed, until ``release``."""
        self._held = self._held or []

    def release(self) -> None:
        """Writes what was held, in order, and ends holding."""
        held, self._held = self._held or [], None
        for future, topic, partition, records in held:
            future.set_result(self._write(topic, partition, records))

    def drop_before(self, topic: str, partition: int, offset: int) -> None:
        """What retention does: records before ``offset`` are gone."""
        with self._changed:
            state = self._of(topic)[partition]
            state.earliest = min(max(state.earliest, offset), state.end)
            state.records = [record for record in state.records if record.offset >= state.earliest]

    def records(self, topic: str) -> list[Record]:
        """All records that are there, by partition: what a test looks at."""
        with self._changed:
            return [record for partition in self._of(topic) for record in partition.records]

    def _check(self) -> None:
        if self.outage is not None:
            raise LogUnavailable(self.outage)

    def _of(self, topic: str) -> list[_Partition]:
        if topic not in self._topics:
            raise topic_refused(topic, self._topics)
        return self._topics[topic]

    def _write(self, topic: str, partition: int, records: Pairs) -> int:
        now_us = time.time_ns() // 1000
        with self._changed:
            state = self._topics[topic][partition]
            first = state.end
            for key, value in records:
                if self._descriptors[topic].compacted:
                    state.records = [record for record in state.records if record.key != key]
                state.records.append(Record(partition, state.end, key, value, now_us))
                state.end += 1
            self._changed.notify_all()
        return first


class _MemoryReader:
    def __init__(self, log: MemoryLog, topic: str, positions: dict[int, int]) -> None:
        self._log, self._topic, self._positions = log, topic, positions
        for partition in positions:
            self._check_partition(partition)

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        found: list[Record] = []
        with self._log._changed:
            self._log._changed.wait_for(lambda: self._take(found, max_records), timeout_s)
        return found

    def seek(self, partition: int, offset: int) -> None:
        self._check_partition(partition)
        self._positions[partition] = offset

    @property
    def positions(self) -> Mapping[int, int]:
        return self._positions

    def assign(self, positions: Mapping[int, int]) -> None:
        for partition in positions:
            self._check_partition(partition)
        self._positions = dict(positions)

    def close(self) -> None:
        self._positions = {}

    def _check_partition(self, partition: int) -> None:
        if refused := refuse_append(self._topic, partition, self._log.partitions(self._topic), [(None, b"")]):
            raise refused

    def _take(self, found: list[Record], max_records: int) -> bool:
        self._log._check()
        for partition, position in self._positions.items():
            state = self._log._of(self._topic)[partition]
            if not state.earliest <= position <= state.end:
                raise OffsetGone(self._topic, partition, position, state.earliest, state.end)
        for partition, position in self._positions.items():
            state = self._log._of(self._topic)[partition]
            new = [record for record in state.records if record.offset >= position][: max_records - len(found)]
            found += new
            if new:
                self._positions[partition] = new[-1].offset + 1
        return bool(found)


class _MemoryLeases:
    """See ``LeaseTable``."""

    def __init__(self, log: MemoryLog, name: str, partitions: int) -> None:
        self._log, self._name, self._partitions = log, name, partitions

    def turn(self, member: str, session_s: float, let_go: frozenset[int]) -> Turn:
        self._log._check()
        with self._log._changed:
            return take_turn(self._group(), member, time.monotonic(), session_s, self._partitions, let_go)

    def leave(self, member: str) -> None:
        with self._log._changed:
            leave(self._group(), member)

    def _group(self) -> Group:
        return self._log._groups.setdefault(self._name, Group())
