"""What a recorder has read and not yet stored: whose turn it is, and how much goes into one transaction. Pure; of one thread.

Fair by partition. Each turn begins with the oldest record; then every partition has an equal share, so that what few devices
send is in the next transaction however much others bring that come back; what is left goes to the oldest records again. Within a
partition the order stays: who shares one with a device that came back waits behind what that has sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

from simway_backbone.log import Record

TURN_S = 0.1
"""A transaction that others wait for takes about so long."""
TURN_MIN_BYTES, TURN_MAX_BYTES = 64 * 1024, 3 * 1024 * 1024
"""Of records in one transaction: as small as one full record, as large as some 50,000 readings."""
FRESH_S = 0.25
"""Where the first record of every partition is older than this, all of them have waited long: then what counts is to be over
soon, and large transactions cost least for each reading."""
AHEAD_BYTES = 8 * 1024 * 1024
"""So much is read ahead of the store: as far as this a partition is seen behind the records of others."""
_RECORD_BYTES = 100
"""What a record counts beside its value."""
_NEWS_SHARE = 0.3


def cost_bytes(record: Record) -> int:
    """What a record counts."""
    return len(record.value) + _RECORD_BYTES


class Waiting:
    """Records by partition, in the order of the log."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Record]] = {}
        self._sizes: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    @property
    def size_bytes(self) -> int:
        """What all of them count."""
        return sum(self._sizes.values())

    @property
    def heads_us(self) -> list[int]:
        """When the first record of each partition was appended."""
        return [queue[0].appended_us for queue in self._queues.values()]

    def add(self, records: Iterable[Record]) -> None:
        """Takes what was read."""
        for record in records:
            self._queues.setdefault(record.partition, deque()).append(record)
            self._sizes[record.partition] = self._sizes.get(record.partition, 0) + cost_bytes(record)

    def drop(self, partitions: Collection[int]) -> None:
        """Forgets what others store, or what is read again."""
        for partition in partitions:
            self._queues.pop(partition, None)
            self._sizes.pop(partition, None)

    def turn(self, bytes_max: int) -> Iterator[Record]:
        """The records of one transaction: ``bytes_max`` of them, and the oldest. What is not asked for stays."""
        if not self:
            return
        share, left = bytes_max // len(self._queues), bytes_max
        yield self._next(self._oldest())
        for partition in tuple(self._queues):
            room = share
            while partition in self._queues and self._cost(partition) <= room:
                room -= self._cost(partition)
                yield self._next(partition)
            left -= share - room
        while self and self._cost(oldest := self._oldest()) <= left:
            left -= self._cost(oldest)
            yield self._next(oldest)

    def _oldest(self) -> int:
        return min(self._queues, key=lambda partition: self._queues[partition][0].appended_us)

    def _cost(self, partition: int) -> int:
        return cost_bytes(self._queues[partition][0])

    def _next(self, partition: int) -> Record:
        record = self._queues[partition].popleft()
        self._sizes[partition] -= cost_bytes(record)
        if not self._queues[partition]:
            self.drop((partition,))
        return record


class Pace:
    """How many bytes a transaction takes, by what the last ones took."""

    def __init__(self) -> None:
        self._bytes_per_s = TURN_MIN_BYTES / TURN_S

    def turn_bytes(self, waiting: Waiting, now_us: int) -> int:
        """For the next one."""
        if all(now_us - head_us > FRESH_S * 1e6 for head_us in waiting.heads_us):
            return TURN_MAX_BYTES
        return min(TURN_MAX_BYTES, max(TURN_MIN_BYTES, int(self._bytes_per_s * TURN_S)))

    def note(self, size_bytes: int, seconds: float) -> None:
        """Learns from one that is over. Small ones say little: most of what they take is the same for all."""
        if size_bytes >= TURN_MIN_BYTES:
            self._bytes_per_s += (size_bytes / max(seconds, 1e-6) - self._bytes_per_s) * _NEWS_SHARE
