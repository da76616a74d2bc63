"""The reader of a group's member, the same on every log: a plain reader of whatever its membership gives it (``GroupReader``).

Two threads meet in ``Shares``. The membership's own thread talks to the group, so that a member neither falls out of it nor
keeps the others waiting while it stores what it read. The thread that polls sees at each poll what was given and taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from simway_backbone.log import Begin, Lost, Reader, Record

STALL_S = 60.0
"""After so long without a poll a member leaves its group by itself: whoever uses it hangs. It joins again at the next poll."""


class Shares:
    """What a member may read. Each partition given has a token of its own: lost and given again is another share."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tokens: dict[int, int] = {}
        self._count = 0

    def give(self, partitions: Iterable[int]) -> None:
        """From now on these may be read; those that may be already stay as they are."""
        with self._changed:
            for partition in partitions:
                if partition not in self._tokens:
                    self._count += 1
                    self._tokens[partition] = self._count
            self._changed.notify_all()

    def take(self, partitions: Iterable[int]) -> None:
        """From now on these may not be read."""
        with self._changed:
            for partition in partitions:
                self._tokens.pop(partition, None)
            self._changed.notify_all()

    def clear(self) -> None:
        """From now on nothing may be read."""
        self.take(list(self._tokens))

    def now(self) -> dict[int, int]:
        """Tokens by partition."""
        with self._changed:
            return dict(self._tokens)

    def wait(self, timeout_s: float) -> None:
        """Until there is something to read, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._tokens), timeout_s)


class Membership(Protocol):
    """A place in a group, kept by a thread of its own."""

    def current(self) -> dict[int, int]:
        """Tokens by partition (``Shares.now``) of what may be read now. Told by the reader at each poll: it does not hang."""

    def wait(self, timeout_s: float) -> None:
        """Until there is something to read, or the time is up. Raises ``LogUnavailable`` when the group cannot be reached."""

    def caught_up(self, shares: Mapping[int, int]) -> None:
        """The reader reads nothing beyond ``shares`` any more, which ``current`` gave it: others may have the rest."""

    def close(self) -> None:
        """Leaves the group."""


class MovableReader(Reader, Protocol):
    """A reader whose partitions change."""

    @property
    def positions(self) -> Mapping[int, int]:
        """The next offset of each partition that it reads."""

    def assign(self, positions: Mapping[int, int]) -> None:
        """Reads these partitions from now on, and no others."""


class GroupedReader:
    """See ``GroupReader``."""

    def __init__(self, reader: MovableReader, membership: Membership, begin: Begin, lost: Lost) -> None:
        self._reader, self._membership, self._begin, self._lost = reader, membership, begin, lost
        self._begun: dict[int, int] = {}

    @property
    def assigned(self) -> frozenset[int]:
        """See ``GroupReader``."""
        return frozenset(self._begun)

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """See ``GroupReader``."""
        deadline_s = time.monotonic() + timeout_s
        self._follow()
        if not self._begun:
            self._membership.wait(timeout_s)
            self._follow()
        if not self._begun:
            return []
        return self._reader.poll(max(0.0, deadline_s - time.monotonic()), max_records)

    def seek(self, partition: int, offset: int) -> None:
        """See ``Reader``."""
        self._reader.seek(partition, offset)

    def begin_again(self, partitions: frozenset[int]) -> None:
        """See ``GroupReader``."""
        for partition in partitions:
            self._begun.pop(partition, None)
        self._narrow()

    def close(self) -> None:
        """See ``GroupReader``."""
        try:
            self._membership.close()
        finally:
            self._reader.close()

    def _follow(self) -> None:
        shares = self._membership.current()
        gone = frozenset(partition for partition, token in self._begun.items() if shares.get(partition) != token)
        if gone:
            for partition in gone:
                del self._begun[partition]
            self._narrow()
            self._lost(gone)
        self._membership.caught_up(shares)
        new = {partition: token for partition, token in shares.items() if partition not in self._begun}
        if new:
            positions = self._begin(frozenset(new))
            self._reader.assign({**self._reader.positions, **{partition: positions[partition] for partition in new}})
            self._begun |= new

    def _narrow(self) -> None:
        held = self._reader.positions
        self._reader.assign({partition: held[partition] for partition in self._begun})
