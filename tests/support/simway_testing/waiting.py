"""Waiting for what must come true: a condition and a deadline, never a bare sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_FIRST_S = 0.02
PAUSE_MAX_S = 0.2
SHARE = 0.05
"""A pause is this share of what was waited so far: what comes soon is seen at once, what takes long is not asked for in vain."""


def wait_for(condition: Callable[[], T], seconds: float, what: str | Callable[[], str]) -> T:
    """The first true answer of ``condition``; ``AssertionError`` saying ``what`` did not happen within ``seconds``."""
    begin = time.monotonic()
    while True:
        found = condition()
        if found:
            return found
        waited_s = time.monotonic() - begin
        if waited_s > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(min(max(PAUSE_FIRST_S, SHARE * waited_s), PAUSE_MAX_S))
