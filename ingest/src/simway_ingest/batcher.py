"""Admitted uplinks to the log, packed: one record a partition and flush; who sent them is answered when the log has them.

A flush takes all partitions at once, 5 ms after the first uplink that waits; a partition goes alone, earlier, when it holds
64 KiB or 500 uplinks. A partition whose last record the log has not answered waits for that answer, unless it is full: each
record costs the log a disk flush, so on a slow disk records must grow, not queue up (docs/decisions/one-record-under-way.md).

Nothing here makes a task or future per uplink: one flush is one append per partition, and whatever the log has finished by the
next turn of the loop is answered by one callback.

Bounded: what waits and what the log has not answered counts against ``bytes_max``. Above it, from the first flush that finds
the log's oldest append older than ``slow_after_s`` on, and for a while after a failed one, ``add`` raises ``Busy`` with the
time after which to come again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from simway_backbone import metrics
from simway_backbone.appends import MeteredAppends
from simway_backbone.log import Log, LogError
from simway_protocol.identity import partition_of
from simway_protocol.limits import BATCH_MAX_AGE_US, BATCH_MAX_BYTES, BATCH_MAX_UPLINKS
from simway_protocol.messages import Uplink

BYTES_MAX = 16 * 1024 * 1024
SLOW_AFTER_S = 2.0
BUSY_RETRY_MS = 1_000
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.25, 5.0
_HEAD, _TAIL = b'{"uplinks":[', b'],"v":1}'

T = TypeVar("T")


class Busy(Exception):
    """The log is slow or away: nothing was taken; come again after ``retry_after_ms``."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"the log is slow or away: retry after {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


@dataclass(slots=True)
class Settled(Generic[T]):
    """What became of uplinks, by their tokens: in the log (``error`` None), or not known to be; then come again later."""

    tokens: list[T]
    error: LogError | None = None
    retry_after_ms: int = 0
    traced: list[Any] = field(default_factory=list)
    """What ``add`` was given as ``traced``."""


class _Pending(Generic[T]):
    """What waits for one partition, or, once flushed, for the log's answer."""

    __slots__ = ("encoded", "is_due", "partition", "size_bytes", "started_s", "tokens", "traced")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.encoded: list[bytes] = []
        self.tokens: list[T] = []
        self.size_bytes = 0
        self.started_s = 0.0
        self.is_due = False
        self.traced: list[Any] = []


class Batcher(Generic[T]):
    """Packs uplinks into records of ``uplink``. Lives on one event loop; ``add`` never blocks.

    ``settled`` is called on the loop with what the log has answered since the last call. A token comes back exactly once, after
    all uplinks that it was added with are durable, or after their append failed (they may still turn up in the log).
    """

    def __init__(
        self,
        log: Log,
        loop: asyncio.AbstractEventLoop,
        settled: Callable[[list[Settled[T]]], None],
        *,
        topic: str = "uplink",
        bytes_max: int = BYTES_MAX,
        slow_after_s: float = SLOW_AFTER_S,
        age_max_s: float = BATCH_MAX_AGE_US / 1e6,
    ) -> None:
        self._log, self._loop, self._tell = MeteredAppends(log, topic), loop, settled
        self._bytes_max, self._slow_after_s, self._age_max_s = bytes_max, slow_after_s, age_max_s
        self._encode = msgspec.json.Encoder().encode
        self._waiting: dict[int, _Pending[T]] = {}
        self._appended: dict[Future[int], _Pending[T]] = {}
        self._is_slow = False
        """The last flush found the log slow: ``busy_ms`` is asked again at each ``add``."""
        self._under_way: Counter[int] = Counter()
        """Records by partition that the log has not answered."""
        self._finished: deque[Future[int]] = deque()
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None
        self._held_bytes = 0
        self._backoff_s = 0.0
        self._away_until_s = 0.0
        self._idle: asyncio.Event | None = None
        self.trouble = ""
        """Why the newest append failed; empty after one that did not."""

    def add(self, uplinks: Sequence[Uplink], token: T, traced: object = None) -> None:
        """Takes the uplinks of one device, to be durable together; ``Busy`` when the log cannot take them now.

        ``traced``: what comes back beside the tokens, of the few uplinks that somebody follows.
        """
        if self._backoff_s or self._is_slow or self._held_bytes > self._bytes_max:
            self._refuse_when_busy()
        encoded = self._encode(uplinks[0]) if len(uplinks) == 1 else b",".join(map(self._encode, uplinks))
        partition = partition_of(uplinks[0].device)
        size = len(encoded)
        pending = self._waiting.get(partition)
        if pending is None:
            pending = self._waiting[partition] = _Pending(partition)
        elif pending.size_bytes + size > BATCH_MAX_BYTES:
            self._append(partition)
            pending = self._waiting[partition] = _Pending(partition)
        pending.encoded.append(encoded)
        pending.tokens.append(token)
        if traced is not None:
            pending.traced.append(traced)
        pending.size_bytes += size + 1
        self._held_bytes += size + 1
        if len(pending.tokens) >= BATCH_MAX_UPLINKS or pending.size_bytes >= BATCH_MAX_BYTES:
            self._append(partition)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._age_max_s, self._flush_due)

    @property
    def busy_ms(self) -> int:
        """For how long ``add`` would refuse now; 0 when it would not."""
        now_s = self._loop.time()
        if now_s < self._away_until_s:
            return max(1, int((self._away_until_s - now_s) * 1000))
        if self._held_bytes > self._bytes_max:
            return BUSY_RETRY_MS
        oldest = next(iter(self._appended.values()), None)
        return BUSY_RETRY_MS if oldest is not None and now_s - oldest.started_s > self._slow_after_s else 0

    def flush(self) -> None:
        """Hands all that waits to the log, a record a partition."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for partition in list(self._waiting):
            self._append(partition)

    def _flush_due(self) -> None:
        self._timer = None
        self._is_slow = self.busy_ms > 0
        for partition, pending in list(self._waiting.items()):
            if self._under_way[partition]:
                pending.is_due = True
            else:
                self._append(partition)

    async def close(self, deadline_s: float) -> None:
        """Flushes and waits until the log has answered everything, at most ``deadline_s``. ``settled`` is called as ever."""
        self.flush()
        if self._appended:
            self._idle = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), deadline_s)

    def _refuse_when_busy(self) -> None:
        retry_after_ms = self.busy_ms
        self._is_slow = retry_after_ms > 0
        if retry_after_ms:
            raise Busy(retry_after_ms)

    def _append(self, partition: int) -> None:
        pending = self._waiting.pop(partition)
        record = _HEAD + b",".join(pending.encoded) + _TAIL
        pending.encoded = []
        pending.started_s = self._loop.time()
        metrics.BATCH_UPLINKS.observe(len(pending.tokens))
        metrics.BATCH_BYTES.observe(len(record))
        future = self._log.append(partition, [(None, record)])
        self._appended[future] = pending
        self._under_way[partition] += 1
        future.add_done_callback(self._finish)

    def _finish(self, future: Future[int]) -> None:
        """Called by any thread of the log. Wakes the loop once, however many appends end before it turns."""
        self._finished.append(future)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._woken = False
        durable: Settled[T] = Settled([])
        failed: Settled[T] = Settled([])
        while self._finished:
            future = self._finished.popleft()
            pending = self._appended.pop(future)
            self._held_bytes -= pending.size_bytes
            self._under_way[pending.partition] -= 1
            error = future.exception()
            if error is None:
                durable.tokens += pending.tokens
                durable.traced += pending.traced
            else:
                failed.tokens += pending.tokens
                failed.traced += pending.traced
                failed.error = error if isinstance(error, LogError) else LogError(f"{type(error).__name__}: {error}")
        self._keep_state(bool(durable.tokens), failed)
        for partition, waiting in list(self._waiting.items()):
            if waiting.is_due and not self._under_way[partition]:
                self._append(partition)
        if not self._appended and self._idle is not None:
            self._idle.set()
        self._tell([result for result in (durable, failed) if result.tokens])

    def _keep_state(self, some_durable: bool, failed: Settled[T]) -> None:
        """A failure doubles the back-off, once however many appends failed together; a success without one ends it."""
        if failed.error is not None:
            self.trouble = str(failed.error)
            self._backoff_s = min(max(self._backoff_s * 2, BACKOFF_MIN_S), BACKOFF_MAX_S)
            self._away_until_s = self._loop.time() + self._backoff_s
            failed.retry_after_ms = int(self._backoff_s * 1000)
        elif some_durable:
            self._backoff_s = self._away_until_s = 0.0
            self.trouble = ""
