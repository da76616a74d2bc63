"""The dialogue with a card, told while it happens: put around any card."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simway_protocol.sim.card import Card, dialogue_of
from simway_protocol.sim.narrator import Narrator, Told


class Overheard:
    """A ``Card`` that tells each exchange to ``hear``, a lost answer and resets too, and changes nothing."""

    def __init__(self, inner: Card, hear: Callable[[Told], None], *, show_ids: bool) -> None:
        self._inner = inner
        self._hear = hear
        self._narrator = Narrator(show_ids=show_ids)
        self.dialogue = dialogue_of(inner)

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        begin_us, data, sw = _now_us(), b"", None
        try:
            data, sw = self._inner.transmit(apdu)
        finally:
            self._hear(self._narrator.tell(apdu, data, sw, _now_us() - begin_us))
        return data, sw

    def reset(self) -> bytes:
        """As ``Card.reset``."""
        begin_us = _now_us()
        atr = self._inner.reset()
        self._narrator.reset()
        self._hear(Told("RESET", "RESET", [], "", "", [f"ATR {atr.hex().upper()}"] if atr else [], _now_us() - begin_us))
        return atr

    def close(self) -> None:
        """As ``Card.close``."""
        self._inner.close()


def plain(told: Told) -> dict[str, Any]:
    """An exchange as ``--json`` gives it."""
    return {
        "name": told.name, "header": told.header, "asked": told.asked, "sw": told.sw, "sw_words": told.sw_words,
        "answered": told.answered, "ms": round(told.duration_us / 1000, 2),
    }  # fmt: skip


def _now_us() -> int:
    return time.monotonic_ns() // 1000
