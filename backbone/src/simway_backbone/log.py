"""The log port (design, section 3). Kept by ``kafka_log``, ``embedded_log`` and their in-memory twin ``memory_log``, and held
to it by ``tests/contract``.

Offsets grow within a partition and never come again; they may have gaps (a compacted topic), so a consumer goes on at the last
offset it saw + 1 and counts nothing by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

RECORD_MAX_BYTES = 1_000_000
"""Key and value of one record together; larger is ``LogRefused``. (Kafka's brokers take 1,048,588 with their overhead.)"""


Pairs: TypeAlias = Sequence[tuple[bytes | None, bytes]]
"""Records to append: key and value."""

RECORD_OVERHEAD_BYTES = 100
"""Reckoned for each record that waits, beside its key and value."""
PATIENCE_S = 0.010
"""Between two looks of a reader at a log without news."""

Begin: TypeAlias = Callable[[frozenset[int]], Mapping[int, int]]
"""Where to begin reading partitions that a member was just given: the next offset (inclusive) of each."""
Lost: TypeAlias = Callable[[frozenset[int]], None]
"""Told of partitions that a member may not read any more."""


class LogError(Exception):
    """Base of what a log raises."""


class LogUnavailable(LogError):
    """The log did not answer in time, or is full: try again later; nothing is known to be written."""


class LogDamaged(LogUnavailable):
    """What the log holds cannot be read back. The text names the file and says what to do; trying again does not help."""


class LogRefused(LogError):
    """The log will never take this (unknown topic or partition, record too large): the caller's fault."""


class OffsetGone(LogError):
    """A reader asked for an offset that retention took, or that was never written. Nothing is skipped silently."""

    def __init__(self, topic: str, partition: int, wanted: int, earliest: int, end: int) -> None:
        super().__init__(f"{topic}/{partition}: offset {wanted} is not there; the log holds {earliest} to {end}")
        self.topic, self.partition, self.wanted, self.earliest, self.end = topic, partition, wanted, earliest, end

    @property
    def going_on_at(self) -> int:
        """The next offset that can be read: the earliest that is left, or the end of a log that is shorter than it was."""
        return self.earliest if self.wanted < self.earliest else self.end


@dataclass(frozen=True, slots=True)
class Record:
    """One record. ``appended_us``: UTC microseconds by the log's clock."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    appended_us: int


class Append(NamedTuple):
    """What an adapter has taken and not answered. ``future``: told the offset of the first record."""

    future: Future[int]
    topic: str
    partition: int
    records: Pairs
    size_bytes: int


class Reader(Protocol):
    """Reads one topic from given positions on. Not thread-safe; one thread uses one reader."""

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """The next records, in offset order within each partition; empty after ``timeout_s``. Blocks that long.

        Raises ``OffsetGone`` (call ``seek``) and ``LogUnavailable`` (call again).
        """

    def seek(self, partition: int, offset: int) -> None:
        """Goes on reading ``partition`` at ``offset``."""

    def close(self) -> None:
        """Frees what the reader holds."""


class GroupReader(Reader, Protocol):
    """Reads the partitions of one topic that fall to it among the members of a group. Not thread-safe, as ``Reader``.

    Each partition is read by one member. Members that join, leave, die or fall silent for longer than their session timeout
    change who reads what; nobody else stops for it. A member that wakes after such a silence may, for a moment, read what
    another has begun to read: who stores what is read judges that by write rights of its own (docs/writers.md).
    """

    @property
    def assigned(self) -> frozenset[int]:
        """What is read now: given by the group, and begun."""

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """As ``Reader.poll``, of the partitions that are assigned; calls ``lost`` and ``begin`` first, where they changed.

        What ``begin`` raises comes out here, and the next poll calls it again. Poll often: a member that does not for
        ``group_reader.STALL_S`` leaves the group, and joins anew at its next poll.
        """

    def begin_again(self, partitions: frozenset[int]) -> None:
        """Stops reading these, without a call of ``lost``; the next poll calls ``begin`` for those that are still given."""

    def close(self) -> None:
        """Leaves the group, so that the others need not wait for the session timeout, and frees what the reader holds."""


class Log(Protocol):
    """An append-only log of topics in partitions. Thread-safe. Does not survive a fork: open it in the child."""

    def ensure_topics(self) -> None:
        """Makes the topics of ``simway_protocol.topics`` that are missing, with their partitions and retention. Blocks."""

    def identity(self, topic: str) -> str:
        """A name made with the log (and topic) that no later log of the same address shares. Blocks."""

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Blocks at first use."""

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Per partition: the earliest offset that is there, and the next one to be written. Blocks."""

    def append(self, topic: str, partition: int, records: Pairs) -> Future[int]:
        """Appends ``(key, value)`` pairs in order; returns at once. Kafka takes more than 1 MB of them in parts.

        The future gives the offset of the first once all are durable (Kafka acks=all; SQLite committed with fsync), or raises
        ``LogUnavailable`` or ``LogRefused``. After ``LogUnavailable`` records may still turn up: consumers are idempotent.
        """

    def reader(self, topic: str, positions: Mapping[int, int], *, patience_s: float = PATIENCE_S) -> Reader:
        """A reader of the given partitions, each from its own next offset (inclusive).

        ``patience_s``: how late it may see what is new, where the log has to be looked at for that. Looks cost a busy process.
        """

    def group_reader(
        self, topic: str, group: str, *, member: str, begin: Begin, lost: Lost, session_timeout_s: float
    ) -> GroupReader:
        """A reader of what falls to ``member`` among all members of ``group`` on this topic; it joins from now on.

        ``member`` is unique to the reader. Positions come from ``begin`` alone: the log keeps none for a group, and resets none.
        ``begin`` and ``lost`` are called from ``poll``, in its thread. ``session_timeout_s``: after so long a silence of a
        member its partitions go to others (Kafka's brokers allow 6 s to 30 min). Raises ``LogRefused`` and ``LogUnavailable``.
        """

    def close(self, timeout_s: float = 5.0) -> None:
        """Waits for appends under way, then frees everything."""


def waiting_bytes(records: Pairs) -> int:
    """What an append is reckoned to take while it waits."""
    return sum(len(value) + (len(key) if key else 0) + RECORD_OVERHEAD_BYTES for key, value in records)


def refuse_append(topic: str, partition: int, partitions: int, records: Pairs) -> LogRefused | None:
    """Why no log ever takes this append, or None."""
    if not 0 <= partition < partitions:
        return LogRefused(f"{topic} has partitions 0 to {partitions - 1}, not {partition}")
    if not records:
        return LogRefused(f"{topic}/{partition}: an append needs at least one record")
    for key, value in records:
        if (size := len(value) + (len(key) if key else 0)) > RECORD_MAX_BYTES:
            return LogRefused(f"{topic}/{partition}: a record of {size} bytes; {RECORD_MAX_BYTES} are the limit")
    return None


def topic_refused(topic: str, known: Iterable[str]) -> LogRefused:
    """The error for a topic that is not there."""
    return LogRefused(f"no topic {topic!r}; there are {', '.join(sorted(known)) or 'none: call ensure_topics first'}")
