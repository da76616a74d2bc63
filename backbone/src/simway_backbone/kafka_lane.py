"""A lane: the way of some partitions' appends to the brokers, one kafka-python producer with a connection of its own.

What comes while a lane waits for an answer is held, and goes together when that is there: a request costs this process half a
millisecond and more, whatever it holds, and kafka-python spins while as many requests are under way as it allows
(docs/decisions/one-record-under-way.md). For the same reason what a lane at rest is given goes by way of a thread: when that has
its turn, all that the caller appends in one sweep is there.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from kafka import errors as kafka_errors

from simway_backbone.kafka_reader import ANSWER_TIMEOUT_S
from simway_backbone.log import LogError, LogRefused, LogUnavailable, Pairs

_REFUSED = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError, kafka_errors.InvalidTopicError)


class Append(NamedTuple):
    """Records that are to go to one partition together. ``future``: told the offset of the first."""

    future: Future[int]
    topic: str
    partition: int
    records: Pairs


class Lane:
    """Takes appends from any thread; never blocks. Appends of one partition stay in order.

    ``connect`` makes a producer that knows the topic, and blocks; it runs in ``connector``, and ``starter`` is for what does not
    block. ``refuse``: why records cannot be appended at all, or None. ``unavailable`` puts kafka-python's errors into ours.
    """

    def __init__(
        self,
        connector: Executor,
        starter: Executor,
        connect: Callable[[str], Any],
        refuse: Callable[[Append], LogError | None],
        unavailable: Callable[[BaseException], LogUnavailable],
    ) -> None:
        self._connector, self._starter = connector, starter
        self._connect, self._refuse, self._unavailable = connect, refuse, unavailable
        self._lock = threading.Lock()
        self._under_way = 0
        self._starting = False
        self._held: list[Append] = []
        self.producer: Any = None

    def put(self, append: Append) -> None:
        """Sends at once, or when what is under way is answered."""
        append.future.add_done_callback(self._answered)
        with self._lock:
            self._held.append(append)
            if self._under_way or self._starting:
                return
            self._starting = True
        try:
            self._starter.submit(self._start)
        except RuntimeError:
            with self._lock:
                held = self._take()
            _fail(held, LogUnavailable("the log is closed"))

    @property
    def is_idle(self) -> bool:
        """Whether all that was put is answered."""
        with self._lock:
            return not (self._under_way or self._held)

    def connect_ahead(self, topic: str) -> None:
        """Makes the producer if there is none. Blocks. Raises ``LogUnavailable``."""
        if self.producer is not None:
            return
        made = self._connect(topic)
        with self._lock:
            is_first = self.producer is None
            if is_first:
                self.producer = made
        if not is_first:
            _discard(made)

    def discard(self) -> None:
        """Ends the producer at once; what it holds fails."""
        producer, self.producer = self.producer, None
        if producer is not None:
            _discard(producer)

    def _start(self) -> None:
        with self._lock:
            held = self._take()
        self._send_all(held)

    def _take(self) -> list[Append]:
        """What is held is under way from now on. With the lock held, and nothing under way."""
        held, self._held = self._held, []
        self._under_way, self._starting = len(held), False
        return held

    def _answered(self, future: Future[int]) -> None:
        """The last answer of those under way sends the next; what was held behind a broker that is away fails with the rest."""
        with self._lock:
            self._under_way -= 1
            if self._under_way:
                return
            held = self._take()
        error = future.exception()
        if isinstance(error, LogUnavailable):
            _fail(held, error)
        elif held:
            self._send_all(held)

    def _send_all(self, appends: Sequence[Append]) -> None:
        """At once when connected; else a thread connects. ``send`` waits for the broker when it does not know the topic."""
        producer = self.producer
        if producer is not None and all(_knows(producer, append.topic) for append in appends):
            with _woken_once(producer):
                for append in appends:
                    self._send(append)
            return
        try:
            self._connector.submit(self._connect_and_send, appends)
        except RuntimeError:
            _fail(appends, LogUnavailable("the log is closed"))

    def _connect_and_send(self, appends: Sequence[Append]) -> None:
        for append in appends:
            try:
                self.connect_ahead(append.topic)
                self._send(append)
            except Exception as error:
                if not append.future.done():
                    append.future.set_exception(error if isinstance(error, LogError) else self._unavailable(error))

    def _send(self, append: Append) -> None:
        if refused := self._refuse(append):
            append.future.set_exception(refused)
            return
        producer, sent = self.producer, []
        try:
            for key, value in append.records:
                sent.append(producer.send(append.topic, value, key, partition=append.partition))
        except Exception as error:
            append.future.set_exception(self._failed(producer, error))
            return
        _Together(append.future, len(sent), lambda error: self._failed(producer, error)).watch(sent)

    def _failed(self, producer: Any, error: BaseException) -> LogError:
        """The error for the caller. The producer is replaced: after a batch that it gave up, one of kafka-python 3.0 waits
        for a producer id for ever, and sends nothing more.
        """
        if isinstance(error, _REFUSED):
            return LogRefused(str(error))
        with self._lock:
            lost = producer is not None and self.producer is producer
            if lost:
                self.producer = None
        if lost:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._connector.submit(_discard, producer)
        return self._unavailable(error)


def _knows(producer: Any, topic: str) -> bool:
    """Whether the producer's ``send`` for the topic would not wait for the broker."""
    return producer._metadata.partitions_for_topic(topic) is not None


@contextlib.contextmanager
def _woken_once(producer: Any) -> Iterator[None]:
    """kafka-python wakes its thread for each record, which would then send the first of them alone, and run its loop for each."""
    sender = producer._sender
    sender.wakeup = lambda: None
    try:
        yield
    finally:
        vars(sender).pop("wakeup", None)  # one that is refused at once may begin the next group within this one
        sender.wakeup()


def _fail(appends: Sequence[Append], error: LogUnavailable) -> None:
    for append in appends:
        append.future.set_exception(error)


def _discard(producer: Any) -> None:
    """Its own ``close`` would first wait for what it holds, and then not close."""
    producer._sender.force_close()
    producer._sender.join(ANSWER_TIMEOUT_S)
    with contextlib.suppress(kafka_errors.KafkaError):
        producer.close(0)


class _Together:
    """Several records of one append: done when all are, failed when one is."""

    def __init__(self, future: Future[int], count: int, translate: Callable[[BaseException], LogError]) -> None:
        self._future, self._left, self._translate = future, count, translate
        self._first = -1
        self._lock = threading.Lock()

    def watch(self, sent: Sequence[Any]) -> None:
        for number, each in enumerate(sent):
            each.add_callback(self._sent, number)
            each.add_errback(self._lost)

    def _sent(self, number: int, metadata: Any) -> None:
        with self._lock:
            self._left -= 1
            if number == 0:
                self._first = metadata.offset
            done = self._left == 0
        if done and not self._future.done():
            self._future.set_result(self._first)

    def _lost(self, error: BaseException) -> None:
        with self._lock:
            first_error = not self._future.done()
            if first_error:
                self._future.set_exception(self._translate(error))
