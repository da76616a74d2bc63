"""Ctrl-C in the middle of a switch: the card must not be left between two profiles."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_off(say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C inside is answered by a line, and held off to the end; a second one interrupts all the same."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        say("         finishing first, so that the card is not left between two profiles; Ctrl-C again ends it all the same")

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
