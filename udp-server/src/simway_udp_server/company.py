"""Whether those that come back with much are in company of others, who just go on and shall not feel it. Pure; of one thread.

A recorder stores each partition in order and shares the machine, or the database, with us: what we log faster than it stores, the
readings of everybody else wait behind. So bulk gives way while somebody else is there (docs/decisions/bulk-gives-way.md).
"""

from __future__ import annotations

from simway_udp_server.turns import Address

WINDOW_S = 1.0
BULK_DATAGRAMS = 50
"""Who brings more in a window is a device that comes back, or one as busy."""
SENDERS_MAX = 65_536
"""Counted in a window; whoever makes up addresses takes no more memory than that."""


class Company:
    """``turn_over`` now and then, ``note`` each datagram; ``is_mixed`` then says it."""

    __slots__ = ("_bulk", "_bulk_before", "_counts", "_little_before", "_others_before", "_until_s")

    def __init__(self) -> None:
        self._counts: dict[Address, int] = {}
        self._little_before: set[Address] = set()
        self._bulk = self._bulk_before = self._others_before = False
        self._until_s = 0.0

    def note(self, address: Address) -> None:
        """One datagram of this sender has come."""
        count = self._counts.get(address, 0) + 1
        if count > 1 or len(self._counts) < SENDERS_MAX:
            self._counts[address] = count
        if count > BULK_DATAGRAMS:
            self._bulk = True

    def is_bulk(self, address: Address) -> bool:
        """Whether this sender has brought much in this window."""
        return self._counts.get(address, 0) > BULK_DATAGRAMS

    @property
    def is_mixed(self) -> bool:
        """Whether somebody brings much in this window, or did in the last, and somebody brought little in the last two."""
        return self._others_before and (self._bulk or self._bulk_before)

    def turn_over(self, now_s: float) -> None:
        """Begins a window where the last one is over; ``now_s``: of a clock that only goes on."""
        if now_s < self._until_s:
            return
        is_next = now_s < self._until_s + WINDOW_S
        little = {sender for sender, count in self._counts.items() if count <= BULK_DATAGRAMS}
        self._others_before = is_next and not little.isdisjoint(self._little_before)
        self._little_before = little
        self._bulk, self._bulk_before = False, is_next and self._bulk
        self._counts = {}
        self._until_s = now_s + WINDOW_S
