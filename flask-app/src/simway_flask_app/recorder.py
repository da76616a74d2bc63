"""The recorder: topic ``uplink`` into the store, each record once (design, section 2).

Several recorders share the partitions: the log says which are whose, the store fences who writes (docs/writers.md). Positions are
kept in the store, in the transaction of the readings. What cannot be stored goes to the dead letters: a record
that does not decode, and, by halving, just the one record or row that the database refuses. A database or log that is away is
waited for. What retention took before it was read is counted as missing.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

import structlog
from simway_backbone.log import GroupReader, Log, LogUnavailable, OffsetGone, Record
from simway_protocol.messages import BadMessage, DeadLetter, Uplink, UplinkBatch, decode

from simway_flask_app.clock import utc_now_us
from simway_flask_app.intake import AHEAD_BYTES, Pace, Waiting, cost_bytes
from simway_flask_app.store.port import StoreError, StoreUnavailable
from simway_flask_app.store.positions import Follower, Gap, PositionMoved
from simway_flask_app.store.uplinks import Outcome, StoredReadings, UplinkWriter
from simway_flask_app.store.writers import TERM_S, RightLost, WriteRights
from simway_flask_app.traces import trace_ids

log = structlog.get_logger()

TOPIC = "uplink"
CONSUMER = "recorder"
READINGS_MAX = 40_000
"""Readings in one transaction, about: a record is never divided. So many come together only when all that waits is late
(``intake``).

The more, the fewer rows of ``latest`` and ``epochs`` for each reading; but SQLite's other writers wait for it, 5 s at most.
"""
POLL_S = 0.5
RECORDS_MAX = 2_000
GARBAGE_THRESHOLD = 1_000_000
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0
RENEW_EVERY_S = TERM_S / 6
SESSION_TIMEOUT_S = 10.0
"""After so long a silence of a recorder its partitions go to others."""
PAYLOAD_MAX_BYTES = 64 * 1024
"""So much of a record that does not decode is kept with its dead letter."""

Report = Callable[[str, str | None], None]
"""Tells health that something (``log``, ``store``) is well (None) or what is wrong with it."""


def spare_the_collector() -> None:
    """Tunes this process for recording: a batch is many objects that live for a moment and hold no cycle.

    Looking for cycles among them took a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 100)


def unheard(_name: str, _wrong: str | None) -> None:
    """A report to nobody."""


@dataclass(slots=True)
class Part:
    """A record, decoded. ``letter`` is there instead of uplinks when it does not decode."""

    record: Record
    uplinks: list[Uplink] = field(default_factory=list)
    letter: DeadLetter | None = None

    @property
    def readings(self) -> int:
        """How many readings it holds."""
        return sum(len(uplink.readings) for uplink in self.uplinks)


Committed = Callable[[Sequence[Part], Outcome, float], None]
"""Told of records that are in the store, what became of them, and how many seconds their transaction took."""


class _Stopped(Exception):
    """Told to stop while the store was away: nothing was done."""


class Recorder:
    """One recorder, over the partitions that fall to it. ``run`` blocks until ``stopping`` is set.

    ``on_stored`` is called after each commit with the readings that are new, in this thread: it must not block.
    ``on_outcome`` the same, for metrics, and ``on_committed``, for traces. ``on_lost`` is told why rights to write were lost, and
    of how many partitions.
    """

    def __init__(
        self, source: Log, writer: UplinkWriter, rights: WriteRights, *, stopping: Event, report: Report = unheard,
        on_stored: Callable[[StoredReadings], None] | None = None, on_outcome: Callable[[Outcome, float], None] | None = None,
        on_missing: Callable[[int], None] | None = None, on_lost: Callable[[str, int], None] | None = None,
        on_committed: Committed | None = None, session_timeout_s: float = SESSION_TIMEOUT_S,
        now_us: Callable[[], int] = utc_now_us,
    ) -> None:  # fmt: skip
        self._log, self._writer, self._rights = source, writer, rights
        self._stopping, self._report, self._now_us = stopping, report, now_us
        self._on_stored, self._on_outcome, self._on_missing, self._on_lost = on_stored, on_outcome, on_missing, on_lost
        self._on_committed, self._session_timeout_s = on_committed, session_timeout_s
        self._follower = Follower(CONSUMER, "", TOPIC)
        self._next: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        """Partition -> the offset at which the store did not take what it was last given."""
        self._waiting, self._pace = Waiting(), Pace()
        self._renew_at_s, self._store_answers = 0.0, False
        self.newest_us: int | None = None
        """What was appended until then is in the store; None before the first."""

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that it records now."""
        return frozenset(self._next)

    def run(self) -> None:
        """Records until told to stop. Returns with everything committed that was acknowledged by the store."""
        reader = self._begin()
        if reader is None:
            return
        try:
            while not self._stopping.is_set():
                self._turn(reader)
            self._give_back()
        except _Stopped:
            return
        finally:
            reader.close()

    @property
    def positions(self) -> dict[int, int]:
        """The next offset of each partition that is read now. Any thread may ask."""
        return self._next.copy()

    def _begin(self) -> GroupReader | None:
        """A place in the group, once the log answers; None when told to stop."""
        wait_s = RETRY_FIRST_S
        while not self._stopping.is_set():
            try:
                self._follower = Follower(CONSUMER, self._log.identity(TOPIC), TOPIC)
                return self._log.group_reader(
                    TOPIC, CONSUMER, member=self._rights.writer, begin=self._take_over, lost=self._let_go,
                    session_timeout_s=self._session_timeout_s,
                )  # fmt: skip
            except LogUnavailable as error:
                self._report("log", str(error))
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)
        return None

    def _turn(self, reader: GroupReader) -> None:
        """Reads what has come and stores it. When overtaken: takes rights and positions anew, if the group still lets it."""
        self._store_answers = False
        try:
            self._follow(reader)
            self._renew()
            self._store_answers = True
        except (RightLost, PositionMoved) as overtaken:
            log.warning("rights or positions are lost; beginning anew", detail=str(overtaken))
            if self._on_lost is not None and isinstance(overtaken, RightLost):
                self._on_lost(overtaken.reason, len(overtaken.partitions))
            reader.begin_again(self._forget())
            self._stopping.wait(RETRY_FIRST_S)
        except StoreUnavailable as error:
            log.warning("the store is away; waiting", detail=str(error))
            self._report("store", str(error))
            self._stopping.wait(RETRY_FIRST_S)
        except StoreError as error:
            log.error("the store refuses what it must take; trying again", detail=str(error))
            self._report("store", str(error))
            reader.begin_again(self._forget())
            self._stopping.wait(RETRY_MAX_S)

    def _take_over(self, partitions: frozenset[int]) -> dict[int, int]:
        """The group gave us these: from here on nobody else writes them."""
        begin = self._writer.take_over(self._follower, partitions, self._rights)
        self._next |= begin
        self._store_is_well()
        log.info("recording", partitions=sorted(self._next), new=sorted(partitions))
        return begin

    def _let_go(self, partitions: frozenset[int]) -> None:
        """The group gave these to others, or we fell out of it."""
        for partition in partitions:
            self._next.pop(partition, None)
        self._waiting.drop(partitions)
        self._rights.drop(partitions)
        log.info("no longer recording", partitions=sorted(partitions), still=sorted(self._next))

    def _forget(self) -> frozenset[int]:
        held = frozenset(self._next)
        self._next.clear()
        self._waiting.drop(held)
        self._rights.drop(held)
        return held

    def _renew(self) -> None:
        """Keeps rights alive that nothing is written by. Raises ``RightLost`` and ``StoreUnavailable``."""
        if time.monotonic() < self._renew_at_s:
            return
        self._rights.renew(self._follower)
        self._renew_at_s = time.monotonic() + RENEW_EVERY_S
        self._store_is_well()

    def _store_is_well(self) -> None:
        """It took something, which says nothing of the rows that it refused."""
        if not any(self._next.get(partition) == offset for partition, offset in self._refused.items()):
            self._report("store", None)

    def _give_back(self) -> None:
        """At an orderly end: nobody need wonder who holds what. A store that is away is not waited for."""
        if not self._store_answers:
            return
        try:
            self._rights.give_back()
        except StoreError as error:
            log.warning("rights were not given back; they expire by themselves", detail=str(error))

    def _follow(self, reader: GroupReader) -> None:
        """Reads ahead, as far as it may and without waiting where there is something to store; stores one turn of that."""
        try:
            if self._waiting.size_bytes < AHEAD_BYTES:
                self._waiting.add(reader.poll(0.0 if self._waiting else POLL_S, RECORDS_MAX))
                self._report("log", None)
        except OffsetGone as gone:
            while self._waiting:
                self._take_turn()
            self._skip(reader, gone)
        except LogUnavailable as error:
            self._report("log", str(error))
            if not self._waiting:
                self._stopping.wait(RETRY_FIRST_S)
        if self._waiting:
            self._take_turn()

    def _take_turn(self) -> None:
        """Stores what is next of that which waits, in one transaction. No more than that is decoded at once."""
        parts: list[Part] = []
        readings = size_bytes = 0
        for record in self._waiting.turn(self._pace.turn_bytes(self._waiting, self._now_us())):
            parts.append(_decode(record, self._now_us()))
            readings += parts[-1].readings
            size_bytes += cost_bytes(record)
            if readings >= READINGS_MAX:
                break
        began_s = time.monotonic()
        self._store(parts)
        self._pace.note(size_bytes, time.monotonic() - began_s)

    def _store(self, parts: Sequence[Part]) -> None:
        """Stores parts for good, however long that takes. Raises ``_Stopped``, ``RightLost``, ``PositionMoved`` and what
        ``_divide`` raises."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                self._commit(parts)
                return
            except (RightLost, PositionMoved):
                raise
            except StoreUnavailable as error:
                log.warning("the store is away; waiting", detail=str(error))
                self._report("store", str(error))
            except StoreError as error:
                self._divide(parts, error)
                return
            if self._stopping.wait(wait_s):
                raise _Stopped
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    def _divide(self, parts: Sequence[Part], error: StoreError) -> None:
        """The store refuses this as a whole: halves it, until the one record at fault goes to the dead letters."""
        if len(parts) > 1:
            half = len(parts) // 2
            self._store(parts[:half])
            self._store(parts[half:])
            return
        if not parts[0].uplinks:
            raise error
        log.error(
            "the store refuses a record; it goes to the dead letters", detail=str(error), offset=parts[0].record.offset,
            trace_ids=trace_ids(parts[0].uplinks) or None,
        )  # fmt: skip
        letter = _letter(parts[0].record, "refused_by_store", str(error), self._now_us())
        self._store([Part(parts[0].record, letter=letter)])

    def _commit(self, parts: Sequence[Part]) -> None:
        moves: dict[int, tuple[int, int]] = {}
        for part in parts:
            partition = part.record.partition
            moves[partition] = (self._next[partition], part.record.offset + 1)
        uplinks = [uplink for part in parts for uplink in part.uplinks]
        buried = [part.letter for part in parts if part.letter is not None]
        started_s = time.perf_counter()
        try:
            outcome = self._writer.store(
                uplinks, self._follower, moves, now_us=self._now_us(), rights=self._rights, letters=buried
            )  # fmt: skip
        except StoreError:
            self._refused |= {partition: before for partition, (before, _) in moves.items()}
            raise
        self._next |= {partition: after for partition, (_, after) in moves.items()}
        self.newest_us = min(self._waiting.heads_us, default=max(part.record.appended_us for part in parts))
        self._store_is_well()
        seconds = time.perf_counter() - started_s
        if self._on_outcome is not None:
            self._on_outcome(outcome, seconds)
        if self._on_committed is not None:
            self._on_committed(parts, outcome, seconds)
        if self._on_stored is not None and outcome.readings:
            self._on_stored(outcome.readings)

    def _skip(self, reader: GroupReader, gone: OffsetGone) -> None:
        """Retention took what was not read: written down, counted, and then the reading goes on."""
        expected = self._next[gone.partition]
        target = gone.going_on_at
        missing = max(0, target - expected)
        fresh = expected == 0 and gone.wanted == 0
        log.log(20 if fresh else 40, "offsets are gone from the log", detail=str(gone), missing=missing, going_on_at=target)
        gap = Gap(gone.partition, expected, target - 1)
        try:
            self._writer.store(
                [], self._follower, {gone.partition: (expected, target)}, now_us=self._now_us(), rights=self._rights,
                gaps=[gap] if missing else [],
            )  # fmt: skip
        except StoreUnavailable as error:
            self._report("store", str(error))
            self._stopping.wait(RETRY_FIRST_S)
            return
        self._next[gone.partition] = target
        if self._on_missing is not None:
            self._on_missing(missing)
        reader.seek(gone.partition, target)


def _decode(record: Record, now_us: int) -> Part:
    try:
        batch: UplinkBatch = decode(TOPIC, record.value)
    except BadMessage as error:
        log.error("a record does not decode", partition=record.partition, offset=record.offset, detail=str(error))
        return Part(record, letter=_letter(record, "corrupt_record", str(error), now_us))
    return Part(record, batch.uplinks)


def _letter(record: Record, reason: str, detail: str, now_us: int) -> DeadLetter:
    where = f"{TOPIC}/{record.partition} offset {record.offset}: {detail}"
    return DeadLetter(source=CONSUMER, reason=reason, t_us=now_us, detail=where, payload=record.value[:PAYLOAD_MAX_BYTES])
