"""A token bucket on somebody else's clock."""

from __future__ import annotations


class Limiter:
    """``rate_per_s`` in the long run, ``burst`` at once."""

    __slots__ = ("_burst_us", "_cost_us", "_credit_us", "_last_us")

    def __init__(self, rate_per_s: int, burst: int) -> None:
        self._cost_us = 1_000_000 // rate_per_s
        self._burst_us = self._credit_us = burst * self._cost_us
        self._last_us: int | None = None

    def take(self, now_us: int) -> bool:
        """True when one more is allowed now."""
        if self._last_us is not None:
            self._credit_us = min(self._burst_us, self._credit_us + max(0, now_us - self._last_us))
        self._last_us = now_us
        if self._credit_us < self._cost_us:
            return False
        self._credit_us -= self._cost_us
        return True
