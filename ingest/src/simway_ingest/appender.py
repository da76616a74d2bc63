"""Records that go to the log beside the readings: dead letters, events of devices. Bounded, in order, tried again.

One append is under way at a time; what comes meanwhile waits and goes together. A record that is in no hurry may wait for one
that is: each append costs the log a disk flush, and a hurried record that comes during one waits for it. When the log is away
the same records are tried again with back-off, so a record may turn up twice; its readers are idempotent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from simway_backbone import metrics
from simway_backbone.appends import MeteredAppends
from simway_backbone.log import Log, LogRefused

RECORDS_MAX = 10_000
APPEND_MAX_RECORDS = 500
APPEND_MAX_BYTES = 512 * 1024
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.1, 5.0


class _Item(NamedTuple):
    key: bytes | None
    value: bytes
    durable: Callable[[], None] | None


class Appender:
    """Appends to one partition of one topic, from one event loop; never blocks.

    ``lost`` counts what found no room or what the log will never take; the metric ``RECORDS_LOST`` says which.
    """

    def __init__(
        self, log: Log, loop: asyncio.AbstractEventLoop, topic: str, *, partition: int = 0, records_max: int = RECORDS_MAX
    ) -> None:
        self._log, self._loop, self._topic, self._partition = MeteredAppends(log, topic), loop, topic, partition
        self._records_max = records_max
        self._waiting: deque[_Item] = deque()
        self._under_way: list[_Item] = []
        self._due_s = self._not_before_s = 0.0
        """When the first of those that wait is to go, and until when a log that was away is left alone (the loop's clock)."""
        self._rings_s = 0.0
        self._handle: asyncio.Handle | None = None
        self._alone = 0
        self._backoff_s = 0.0
        self._idle: asyncio.Event | None = None
        self.lost = 0
        self.trouble = ""
        """Why the newest append failed; empty after one that did not."""

    def add(
        self, key: bytes | None, value: bytes, durable: Callable[[], None] | None = None, *, always: bool = False,
        patience_s: float = 0.0,
    ) -> bool:  # fmt: skip
        """Queues a record; ``durable`` is called on the loop once the log has it. False, and counted: the queue is full.

        ``always`` takes it even then, for what is bounded by other means. ``patience_s``: so long it may wait for another.
        """
        if not always and len(self._waiting) + len(self._under_way) >= self._records_max:
            self._lose("full")
            return False
        due_s = self._loop.time() + patience_s
        self._due_s = min(self._due_s, due_s) if self._waiting else due_s
        self._waiting.append(_Item(key, value, durable))
        self._schedule()
        return True

    @property
    def waiting(self) -> int:
        """How many records are not known to be durable."""
        return len(self._waiting) + len(self._under_way)

    @property
    def failing(self) -> bool:
        """Whether the last append failed."""
        return self._backoff_s > 0

    async def close(self, deadline_s: float) -> None:
        """Waits until all is durable, at most ``deadline_s``."""
        if self.waiting:
            self._idle = asyncio.Event()
            self._due_s = 0.0
            self._schedule()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), deadline_s)

    def _schedule(self) -> None:
        if self._under_way or not self._waiting:
            return
        rings_s = max(self._due_s, self._not_before_s)
        if self._handle is not None:
            if self._rings_s <= rings_s:
                return
            self._handle.cancel()
        self._rings_s, delay_s = rings_s, rings_s - self._loop.time()
        self._handle = self._loop.call_later(delay_s, self._append) if delay_s > 0 else self._loop.call_soon(self._append)

    def _append(self) -> None:
        self._handle = None
        size = 0
        limit = 1 if self._alone else APPEND_MAX_RECORDS
        for item in islice(self._waiting, limit):
            size += len(item.value)
            if self._under_way and size > APPEND_MAX_BYTES:
                break
            self._under_way.append(item)
        for _ in self._under_way:
            self._waiting.popleft()
        future = self._log.append(self._partition, [(item.key, item.value) for item in self._under_way])
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._finish, done))

    def _finish(self, future: Future[int]) -> None:
        items, self._under_way = self._under_way, []
        error = future.exception()
        self._due_s = 0.0 if error is not None else self._due_s
        self.trouble = "" if error is None else str(error) or type(error).__name__
        if error is None:
            self._backoff_s = 0.0
            self._alone = max(0, self._alone - 1)
            self._tell(items)
        elif isinstance(error, LogRefused):
            self._part(items)
        else:
            self._waiting.extendleft(reversed(items))
            self._backoff_s = min(max(self._backoff_s * 2, BACKOFF_MIN_S), BACKOFF_MAX_S)
            self._not_before_s = self._loop.time() + self._backoff_s
        if self._waiting:
            self._schedule()
        elif self._idle is not None:
            self._idle.set()

    def _part(self, items: list[_Item]) -> None:
        """Of records refused together each is tried alone, so that only the one at fault is lost."""
        if len(items) == 1:
            self._lose("refused")
            self._alone = max(0, self._alone - 1)
            return
        self._waiting.extendleft(reversed(items))
        self._alone = len(items)

    def _lose(self, reason: str) -> None:
        self.lost += 1
        metrics.RECORDS_LOST.labels(self._topic, reason).inc()

    def _tell(self, items: list[_Item]) -> None:
        for item in items:
            if item.durable is not None:
                item.durable()
