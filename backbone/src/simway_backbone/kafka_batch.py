"""Appends on their way to Kafka: those of one partition go as one record batch."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import NamedTuple, TypeAlias

from kafka.record.default_records import DefaultRecordBatchBuilder

from simway_backbone.log import Append, LogError, LogRefused, LogUnavailable, waiting_bytes

BATCH_MAX_BYTES = 1_000_000
"""As ``waiting_bytes`` reckons, which is more than it becomes (a broker takes 1,048,588); a record that is larger goes alone."""
_SEQUENCES = 2**31
_ANY_BYTES = 2**31

Place: TypeAlias = tuple[str, int]
"""A topic and one of its partitions."""


class Identity(NamedTuple):
    """What a broker tells records by that it has already (Kafka protocol, InitProducerId)."""

    producer: int
    epoch: int


class Batch:
    """What goes to one partition in one request: the same bytes again until it is settled, so that a broker can tell."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.is_settled = self.is_given_up = False
        self.appends: list[Append] = []
        self._size_bytes = 0
        self._encoded: bytearray | None = None

    def takes(self, append: Append) -> bool:
        """Whether there is room for it too."""
        return not self.appends or self._size_bytes + append.size_bytes <= BATCH_MAX_BYTES

    def add(self, append: Append) -> None:
        """Behind what is there."""
        self.appends.append(append)
        self._size_bytes += append.size_bytes

    @property
    def count(self) -> int:
        """Of its records."""
        return sum(len(append.records) for append in self.appends)

    def encoded(self, identity: Identity, sequence: int) -> bytearray:
        """As a record batch (Kafka protocol, magic 2), numbered when it is first asked for."""
        if self._encoded is None:
            builder = DefaultRecordBatchBuilder(2, 0, False, identity.producer, identity.epoch, sequence, _ANY_BYTES)
            now_ms = time.time_ns() // 1_000_000
            for offset, (key, value) in enumerate(pair for append in self.appends for pair in append.records):
                builder.append(offset, now_ms, key, value, [])
            self._encoded = builder.build()
        return self._encoded

    def succeed(self, offset: int) -> None:
        """``offset``: the first record's."""
        self.is_settled = True
        for append in self.appends:
            append.future.set_result(offset)
            offset += len(append.records)

    def refuse(self, error: LogRefused) -> None:
        """No broker takes it."""
        self._fail(error)

    def give_up(self, error: LogUnavailable) -> None:
        """Nobody knows whether it was written."""
        self.is_given_up = True
        self._fail(error)

    def _fail(self, error: LogError) -> None:
        self.is_settled = True
        for append in self.appends:
            append.future.set_exception(error)


def cut(append: Append) -> list[Append]:
    """What goes in batches of their own, in order, where an append is larger than one may be. It is answered by the last."""
    if append.size_bytes <= BATCH_MAX_BYTES or len(append.records) == 1:
        return [append]
    pieces: list[Append] = []
    records: list[tuple[bytes | None, bytes]] = []
    size_bytes = 0
    for record in append.records:
        record_bytes = waiting_bytes([record])
        if records and size_bytes + record_bytes > BATCH_MAX_BYTES:
            pieces.append(append._replace(future=Future(), records=records, size_bytes=size_bytes))
            records, size_bytes = [], 0
        records.append(record)
        size_bytes += record_bytes
    pieces.append(append._replace(future=Future(), records=records, size_bytes=size_bytes))
    _answer_together(append.future, [piece.future for piece in pieces])
    return pieces


def _answer_together(future: Future[int], pieces: list[Future[int]]) -> None:
    """One thread settles the pieces, one after the other."""
    offsets: list[int] = []

    def told(piece: Future[int]) -> None:
        if future.done():
            return
        if error := piece.exception():
            future.set_exception(error)
        else:
            offsets.append(piece.result())
            if len(offsets) == len(pieces):
                future.set_result(offsets[0])

    for piece in pieces:
        piece.add_done_callback(told)


def following(sequence: int, count: int) -> int:
    """The sequence number after so many records (Kafka protocol: it begins again at 0)."""
    return (sequence + count) % _SEQUENCES
