"""Cards: drivers found by name, and one card that is opened when wanted, dropped when gone and let go of when idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from simway_protocol.sim.card import DRIVER_GROUP, Card, CardError, CardGone
from simway_protocol.sim.uicc import Uicc

IDLE_RELEASE_S = 3.0
"""A card in a reader is let go of after this long, so that other tools can have it."""


class NoDriver(CardError):
    """This machine has no way to such a card: the operator's fault; waiting does not help. The text says what to do."""


def driver_names() -> list[str]:
    """The names that ``CARD`` may have on this machine."""
    return sorted(point.name for point in entry_points(group=DRIVER_GROUP))


def open_card(driver: str, settings: Mapping[str, str]) -> Card:
    """Opens a card by the driver's name. Raises ``CardError`` with a text that says what to do. Blocks on the card."""
    found = next(iter(entry_points(group=DRIVER_GROUP, name=driver)), None)
    if found is None:
        raise NoDriver(f"there is no card driver {driver!r} (CARD); installed: {', '.join(driver_names()) or 'none'}")
    opener: Callable[[Mapping[str, str]], Card] = found.load()
    return opener(settings)


class SimCard:
    """The one card of this device. Not thread-safe. ``open``: a driver with its settings bound."""

    def __init__(self, open_card: Callable[[], Card], *, idle_release_s: float = IDLE_RELEASE_S) -> None:
        self._open = open_card
        self._idle_release_s = idle_release_s
        self._uicc: Uicc | None = None
        self._used_s = 0.0

    def use(self) -> Uicc:
        """The card, opened if it is not. Raises ``CardError`` and ``CardGone``; after ``CardGone`` call ``drop``."""
        self._used_s = time.monotonic()
        if self._uicc is None:
            self._uicc = Uicc(self._open(), lambda: time.monotonic_ns() // 1000)
        return self._uicc

    def take_evidence(self) -> list[dict[str, Any]]:
        """``{"name", "sw", "ms"}`` of each APDU since the last call; none when the card is not open."""
        return [] if self._uicc is None else self._uicc.take_evidence()

    def drop(self) -> None:
        """Forgets the connection; the next ``use`` opens the card anew."""
        if self._uicc is not None:
            uicc, self._uicc = self._uicc, None
            try:
                uicc.close()
            except CardError:
                return

    def release_if_idle(self) -> None:
        """Lets go of a card that was not used for a while."""
        if self._uicc is not None and time.monotonic() - self._used_s > self._idle_release_s:
            self.drop()


__all__ = ["Card", "CardError", "CardGone", "NoDriver", "SimCard", "driver_names", "open_card"]
