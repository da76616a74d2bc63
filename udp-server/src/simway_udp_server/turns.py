"""Whose datagram is next: one queue for each sender, so that who just goes on does not wait behind what others have kept. Pure.

As fair queueing has it (RFC 8290, section 4, FQ-CoDel without the CoDel): a sender that had nothing waiting is new, and is
served once as such; then it takes its place in the round of those that have more, ``QUANTUM`` datagrams each. What was found
waiting nowhere when its place came is forgotten. New ones and the round are served by turns, so that however many senders
somebody makes up, the round goes on. A sender is an address: a session id in a header proves nothing yet.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

Address: TypeAlias = Any
"""As ``recvfrom`` gives it."""
QUANTUM = 24
"""Datagrams of one sender in its turn. A device's uplinks go to one partition, and each partition that a sweep has something for
costs a broker a disk flush (docs/decisions/bulk-gives-way.md)."""


class Turns:
    """Datagrams that were taken from the socket and wait. Of one thread."""

    __slots__ = ("_new", "_new_was_last", "_queues", "_round", "_taken", "size")

    def __init__(self) -> None:
        self._queues: dict[Address, deque[bytes]] = {}
        self._new: deque[Address] = deque()
        self._round: deque[Address] = deque()
        self._new_was_last = False
        self._taken = 0
        """From the first of the round, in this turn of it."""
        self.size = 0
        """How many wait."""

    def add(self, datagram: bytes, address: Address) -> None:
        """Takes one; those of one address stay in order."""
        queue = self._queues.get(address)
        if queue is None:
            self._queues[address] = deque((datagram,))
            self._new.append(address)
        else:
            queue.append(datagram)
        self.size += 1

    def __contains__(self, address: Address) -> bool:
        """Whether something of this sender waits."""
        return bool(self._queues.get(address))

    def take(self) -> tuple[bytes, Address]:
        """The next one. ``IndexError`` when none waits."""
        address = self._next_of_round() if self._new_was_last or not self._new else None
        self._new_was_last = address is None
        if address is None:
            address = self._new.popleft()
        queue = self._queues[address]
        datagram = queue.popleft()
        self.size -= 1
        self._place(address, is_empty=not queue)
        return datagram, address

    def _place(self, address: Address, *, is_empty: bool) -> None:
        """In the round: behind the others, or at its head until its turn is over."""
        if not self.size:
            self._queues.clear()
            self._round.clear()
            self._taken = 0
        elif self._new_was_last:
            self._round.append(address)
        elif is_empty or self._taken + 1 == QUANTUM:
            self._round.append(address)
            self._taken = 0
        else:
            self._round.appendleft(address)
            self._taken += 1

    def _next_of_round(self) -> Address | None:
        """The first of the round that has something waiting; those before it are forgotten."""
        while self._round:
            address = self._round.popleft()
            if self._queues[address]:
                return address
            del self._queues[address]
        return None
