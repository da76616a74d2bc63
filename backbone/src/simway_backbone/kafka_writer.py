"""The thread that writes to Kafka. What comes while it waits for an answer is held, and goes together when that is there: a
request costs the broker a disk flush for each partition, and this process a third of a millisecond, whatever it holds
(docs/decisions/one-record-under-way.md).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue

from simway_backbone.kafka_batch import Batch, Place, cut
from simway_backbone.kafka_producer import Producer
from simway_backbone.log import Append, LogError, LogUnavailable


class KafkaWriter:
    """Takes appends from any thread; never blocks. Appends of one partition stay in order. Who ends it gives it nothing after.

    ``refuse``: why records cannot be appended at all, or None; in the writer's thread, where it may block.
    """

    def __init__(self, producer: Producer, refuse: Callable[[Append], LogError | None]) -> None:
        self._producer, self._refuse = producer, refuse
        self._given: SimpleQueue[Append | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = False

    def begin(self) -> None:
        """Connects, if it has not begun already."""
        with self._lock:
            if not (self._has_begun or self._has_ended):
                self._has_begun = True
                self._thread.start()

    def put(self, append: Append) -> None:
        """Sends at once, or when what is under way is answered."""
        if not self._has_begun:
            self.begin()
        self._given.put(append)

    def end(self, timeout_s: float) -> None:
        """What is not answered fails. Blocks until that is so."""
        with self._lock:
            self._has_ended = True
        self._given.put(None)
        self._producer.end()
        if self._has_begun:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        with contextlib.suppress(LogUnavailable):  # then the first append says so
            self._producer.connect()
        held: list[Append] = []
        while not self._has_ended:
            self._take(held)
            batches, held = together(held)
            if error := self._producer.produce(batches):
                _fail([*held, *self._given_meanwhile()], error)
                held = []
        _fail([*held, *self._given_meanwhile()], LogUnavailable("the log is closed"))

    def _take(self, held: list[Append]) -> None:
        """All that was given goes behind what is held. Waits while there is nothing; not at the end."""
        while not held and (append := self._given.get()):
            self._admit(append, held)
        for append in self._given_meanwhile():
            self._admit(append, held)

    def _admit(self, append: Append, held: list[Append]) -> None:
        if refused := self._refuse(append):
            append.future.set_exception(refused)
        else:
            held += cut(append)

    def _given_meanwhile(self) -> list[Append]:
        given = []
        while not self._given.empty():
            given.append(self._given.get())
        return [append for append in given if append]


def together(appends: Iterable[Append]) -> tuple[list[Batch], list[Append]]:
    """One batch for each partition, and what finds no room in them. Appends of one partition stay in order."""
    batches: dict[Place, Batch] = {}
    full: set[Place] = set()
    waiting: list[Append] = []
    for append in appends:
        place = append.topic, append.partition
        batch = batches.setdefault(place, Batch(place))
        if place not in full and batch.takes(append):
            batch.add(append)
        else:
            full.add(place)
            waiting.append(append)
    return list(batches.values()), waiting


def _fail(appends: Iterable[Append], error: LogError) -> None:
    for append in appends:
        append.future.set_exception(error)
