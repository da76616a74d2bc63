"""Calls into PC/SC that may wait for another program for ever, waited for only so long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_stuck: dict[str, threading.Thread] = {}
"""By reader: a call that was given up and still waits. While it does, a further one would only wait beside it."""


class StillWaits(Exception):
    """The call did not return in time."""


def bounded(about: str, call: Callable[[], Any], undo: Callable[[Any], None], wait_s: float) -> Any:
    """What ``call`` returns. After ``wait_s``, ``StillWaits``: the call goes on by itself, and ``undo`` gets its result.

    ``about``: whatever is waited for; of two calls about the same, the second fails at once while the first is stuck.
    """
    stuck = _stuck.get(about)
    if stuck is not None and stuck.is_alive():
        raise StillWaits
    results: list[Any] = []
    over = threading.Lock()
    given_up = False

    def run() -> None:
        result = call()
        with over:
            results.append(result)
        if given_up:
            undo(result)

    thread = threading.Thread(target=run, name=f"pcsc {about}", daemon=True)
    thread.start()
    thread.join(wait_s)
    with over:
        if results:
            return results[0]
        given_up = True
    _stuck[about] = thread
    raise StillWaits
