"""The thread that writes to Kafka. What comes while it waits for an answer is held, and goes together when that is there: a
request costs the broker a disk flush for each partition, and this process half a millisecond and more
(docs/decisions/one-record-under-way.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import TypeAlias

from simway_backbone.kafka_batch import Batch, Place, cut
from simway_backbone.kafka_producer import Producer
from simway_backbone.log import Append, LogError, LogRefused, LogUnavailable

Held: TypeAlias = dict[Place, deque[Append]]
"""What waits, by partition, in order; the first come first."""


class KafkaWriter:
    """Takes appends from any thread; never blocks. Appends of one partition stay in order. Who ends it gives it nothing after.

    ``refuse``: why records cannot be appended at all, or None; in the writer's thread, where it may block and raise.
    """

    def __init__(self, producer: Producer, refuse: Callable[[Append], LogRefused | None]) -> None:
        self._producer, self._refuse = producer, refuse
        self._given: SimpleQueue[Append | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = False

    def begin(self) -> None:
        """Connects, if it has not begun already."""
        with self._lock:
            if not (self._has_begun or self._has_ended):
                self._thread.start()
                self._has_begun = True

    def put(self, append: Append) -> None:
        """Sends at once, or when what is under way is answered."""
        if not self._has_begun:
            self.begin()
        self._given.put(append)

    def end(self, timeout_s: float) -> None:
        """What is not answered fails. Blocks until that is so, for ``timeout_s`` at most."""
        with self._lock:
            self._has_ended = True
        self._given.put(None)
        self._producer.end()
        if self._has_begun:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        held: Held = {}
        try:
            self._producer.connect()
        except LogUnavailable as away:
            _fail(self._given_meanwhile(), away)
        while not self._has_ended:
            self._take(held)
            if error := self._producer.produce(together(held)):
                self._drop(held, error)
        self._drop(held, LogUnavailable("the log is closed"))

    def _take(self, held: Held) -> None:
        """All that was given goes behind what is held. Waits while there is nothing; not at the end."""
        while (not held or not self._given.empty()) and (append := self._given.get()):
            self._admit(append, held)

    def _admit(self, append: Append, held: Held) -> None:
        refused = LogUnavailable("the log is closed") if self._has_ended else self._refusal(append)
        if not refused:
            held.setdefault((append.topic, append.partition), deque()).extend(cut(append))
            return
        append.future.set_exception(refused)
        if isinstance(refused, LogUnavailable):  # the others would be told the same, one wait after the other
            _fail(self._given_meanwhile(), refused)

    def _refusal(self, append: Append) -> LogError | None:
        try:
            return self._refuse(append)
        except LogError as error:
            return error
        except Exception as error:
            return LogUnavailable(f"{type(error).__name__}: {error}")

    def _drop(self, held: Held, error: LogError) -> None:
        _fail((append for of_one in held.values() for append in of_one), error)
        held.clear()
        _fail(self._given_meanwhile(), error)

    def _given_meanwhile(self) -> list[Append]:
        given = []
        while not self._given.empty():
            given.append(self._given.get())
        return [append for append in given if append]


def together(held: Held) -> list[Batch]:
    """Takes one batch for each partition from what is held."""
    batches = []
    for place, waiting in list(held.items()):
        batch = Batch(place)
        while waiting and batch.takes(waiting[0]):
            batch.add(waiting.popleft())
        batches.append(batch)
        if not waiting:
            del held[place]
    return batches


def _fail(appends: Iterable[Append], error: LogError) -> None:
    for append in appends:
        append.future.set_exception(error)
