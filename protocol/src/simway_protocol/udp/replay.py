"""The replay window: which of the last 64 counters were seen (as IPsec does, RFC 4303, 3.4.3)."""

from __future__ import annotations

WINDOW = 64
MASK = (1 << WINDOW) - 1


class ReplayWindow:
    """``judge`` before opening a frame, ``accept`` after it opened. Counters begin at 1."""

    __slots__ = ("_seen", "top")

    def __init__(self) -> None:
        self.top = 0
        self._seen = 0

    def judge(self, counter: int) -> str | None:
        """None for a counter not seen before, else ``stale`` (64 or more behind the newest) or ``replayed``."""
        behind = self.top - counter
        if behind < 0:
            return None
        if behind >= WINDOW:
            return "stale"
        return "replayed" if self._seen >> behind & 1 else None

    def accept(self, counter: int) -> None:
        """Marks a counter that ``judge`` let pass."""
        ahead = counter - self.top
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        self._seen = (self._seen << ahead | 1) & MASK if ahead < WINDOW else 1
        self.top = counter
