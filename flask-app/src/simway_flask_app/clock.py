"""The clock of the services, taken as an argument wherever a test turns it."""

from __future__ import annotations

import time


def utc_now_us() -> int:
    """The time of day in UTC microseconds since 1970. It may step back: no order is made of it."""
    return time.time_ns() // 1000
