"""The embedded log: SQLite files in one folder, used by several processes at once (design, section 3).

What lies where: ``embedded_segments``; how appends become durable: ``embedded_writer``; how readers poll: ``embedded_reader``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import apsw
import structlog
from simway_protocol.topics import TOPICS, Topic

from simway_backbone import sqlite
from simway_backbone.embedded_groups import EmbeddedLeases
from simway_backbone.embedded_reader import EmbeddedReader, find_bounds
from simway_backbone.embedded_segments import Catalog, TopicFiles, now_us
from simway_backbone.embedded_writer import TopicWriter, WriterThread
from simway_backbone.group_reader import GroupedReader
from simway_backbone.lease_member import LeaseMember
from simway_backbone.log import (
    PATIENCE_S,
    Append,
    Begin,
    GroupReader,
    LogError,
    LogUnavailable,
    Lost,
    Pairs,
    Reader,
    refuse_append,
    topic_refused,
    waiting_bytes,
)

SEGMENT_MAX_BYTES = 256_000_000
SEGMENTS_PER_RETENTION = 24
"""A segment is closed at this part of the retention: so much longer than it must be kept, a record may be kept."""
MAINTAIN_EVERY_S = 30.0
"""Between two looks at whether segments are to be closed or dropped."""
WAITING_MAX_BYTES = 64_000_000
"""What may wait for the disk; further appends fail at once."""

_log = structlog.get_logger("log")


class EmbeddedLog:
    """See ``Log``. The writer thread starts with the first append.

    ``append`` costs the caller some microseconds and never waits for the disk. Who appends also applies retention.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        topics: Mapping[str, Topic] = TOPICS,
        segment_max_bytes: int = SEGMENT_MAX_BYTES,
        maintain_every_s: float = MAINTAIN_EVERY_S,
    ) -> None:
        sqlite.check_version()
        self._folder = Path(folder)
        self._descriptors = topics
        self._segment_max_bytes, self._maintain_every_s = segment_max_bytes, maintain_every_s
        self._catalog = Catalog(self._folder)
        self._id = ""
        self._partitions: dict[str, int] = {}
        self._lock = threading.Lock()
        self._writer: WriterThread | None = None
        self._closed = False

    def ensure_topics(self) -> None:
        """See ``Log``. Also applies retention once."""
        self._catalog.ensure(dict(self._descriptors))
        self._read_catalog()
        self.apply_retention()

    def identity(self, topic: str) -> str:
        """See ``Log``."""
        self.partitions(topic)
        return f"sqlite:{self._id}/{topic}"

    def partitions(self, topic: str) -> int:
        """See ``Log``."""
        if topic not in self._partitions:
            self._read_catalog()
        if topic not in self._partitions:
            raise topic_refused(topic, self._partitions)
        return self._partitions[topic]

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """See ``Log``."""
        return find_bounds(self._files(topic))

    def append(self, topic: str, partition: int, records: Pairs) -> Future[int]:
        """See ``Log``."""
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        try:
            refused = refuse_append(topic, partition, self._partitions.get(topic) or self.partitions(topic), records)
            if refused:
                raise refused
            append = Append(future, topic, partition, records, waiting_bytes(records))
            if not self._running_writer().put(append, WAITING_MAX_BYTES):
                raise LogUnavailable(
                    f"{self._folder}: more than {WAITING_MAX_BYTES} bytes wait for the disk, or it is being closed"
                )
        except LogError as error:
            future.set_exception(error)
        return future

    def reader(self, topic: str, positions: Mapping[int, int], *, patience_s: float = PATIENCE_S) -> Reader:
        """See ``Log``."""
        return EmbeddedReader(self._files(topic), self.partitions(topic), dict(positions), patience_s)

    def group_reader(
        self, topic: str, group: str, *, member: str, begin: Begin, lost: Lost, session_timeout_s: float
    ) -> GroupReader:
        """See ``Log``."""
        partitions = self.partitions(topic)
        leases = EmbeddedLeases(self._folder, topic, group, partitions)
        reader = EmbeddedReader(self._files(topic), partitions, {})
        return GroupedReader(reader, LeaseMember(leases, member, session_timeout_s), begin, lost)

    def close(self, timeout_s: float = 5.0) -> None:
        """See ``Log``."""
        with self._lock:
            self._closed, writer, self._writer = True, self._writer, None
        if writer:
            writer.close(timeout_s)

    def apply_retention(self) -> None:
        """Removes the segments that every record outlived. Blocks on the disk; safe to call from several processes."""
        for name in self._partitions:
            self._drop_expired(name)

    def _running_writer(self) -> WriterThread:
        if writer := self._writer:
            return writer
        with self._lock:
            if self._closed:
                raise LogUnavailable("the log is closed")
            self._writer = self._writer or WriterThread(self._open_topic, self._maintain, self._maintain_every_s)
            return self._writer

    def _read_catalog(self) -> None:
        self._id, self._partitions = self._catalog.read()

    def _files(self, topic: str) -> TopicFiles:
        self.partitions(topic)
        return TopicFiles(self._folder, topic)

    def _open_topic(self, topic: str) -> TopicWriter:
        descriptor = self._descriptors.get(topic)
        return TopicWriter(self._files(topic), compacted=bool(descriptor and descriptor.compacted))

    def _maintain(self, writers: dict[str, TopicWriter]) -> None:
        """Rolls what is large or old, drops what is expired. An error here is logged and tried again later: appends go on."""
        for name, writer in writers.items():
            try:
                self._roll_if_due(name, writer)
                self._drop_expired(name)
            except (LogError, apsw.Error, OSError) as error:
                _log.warning("log maintenance failed", topic=name, error=str(error))

    def _roll_if_due(self, name: str, writer: TopicWriter) -> None:
        descriptor, segment = self._descriptors.get(name), writer.segment
        if not descriptor or not segment or descriptor.compacted:
            return
        made_us = sqlite.value(segment.db, "SELECT made_us FROM state")
        old = descriptor.retention_s is not None and (
            now_us() - made_us > descriptor.retention_s * 1_000_000 / SEGMENTS_PER_RETENTION
        )
        if old or writer.files.used_bytes(segment) > self._segment_max_bytes:
            writer.files.roll(segment)
            writer.reset()

    def _drop_expired(self, name: str) -> None:
        descriptor = self._descriptors.get(name)
        if descriptor and descriptor.retention_s is not None and not descriptor.compacted:
            dropped = TopicFiles(self._folder, name).drop_expired(descriptor.retention_s)
            if dropped:
                _log.info("log segments dropped", topic=name, segments=dropped, retention_s=descriptor.retention_s)
