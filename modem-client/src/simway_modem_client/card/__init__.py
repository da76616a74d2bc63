"""Cards: drivers found by name, and one card that is opened when wanted, dropped when gone and let go of when idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

import structlog
from simway_protocol.errors import PeerError
from simway_protocol.sim.card import DRIVER_GROUP, Card, CardError, CardGone
from simway_protocol.sim.proactive import CommandType
from simway_protocol.sim.uicc import Uicc

from simway_modem_client.terminal import SimTerminal

IDLE_RELEASE_S = 3.0
"""A card in a reader is let go of after this long, so that other tools can have it."""


log = structlog.get_logger(__name__)


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
    """The one card of this device. Not thread-safe. ``open``: a driver with its settings bound.

    ``terminal``: what the device does for the card's proactive commands; None where a modem sees to them.
    """

    def __init__(
        self, open_card: Callable[[], Card], *, terminal: SimTerminal | None = None, idle_release_s: float = IDLE_RELEASE_S
    ) -> None:
        self._open = open_card
        self.terminal = terminal
        self._idle_release_s = idle_release_s
        self._uicc: Uicc | None = None
        self._used_s = 0.0

    def use(self) -> Uicc:
        """The card, opened if it is not. Raises ``CardError`` and ``CardGone``; after ``CardGone`` call ``drop``."""
        self._used_s = time.monotonic()
        if self._uicc is None:
            uicc = Uicc(self._open(), lambda: time.monotonic_ns() // 1000, terminal=self.terminal)
            try:
                uicc.introduce()
            except CardError:
                uicc.close()
                raise
            self._uicc = uicc
        return self._uicc

    def tick(self) -> bool:
        """Does what the card's proactive side wants by now; quick when that is nothing. Blocks on the card. Never raises.

        True when the card was refreshed: its identity may be another.
        """
        pending = self._uicc is not None and self._uicc.proactive_pending
        if self.terminal is None or not self.terminal.wanted(pending=pending):
            return False
        try:
            poll_due = self.terminal.poll_due
            uicc = self.use()
            with uicc.dialogue(), uicc.aside():
                if poll_due:
                    uicc.poll()
                return self._serve(uicc, self.terminal)
        except (CardError, PeerError) as error:
            log.warning("the SIM's proactive side cannot be served", error=str(error))
            self.drop()
            return False
        finally:
            self.terminal.polled()

    def _serve(self, uicc: Uicc, terminal: SimTerminal) -> bool:
        refreshes = [command for command in uicc.run_proactive() if command.type == CommandType.REFRESH]
        if not refreshes:
            if uicc.proactive_pending:
                terminal.pause("there is always one more command")
            return False
        if not terminal.may_refresh():
            return False
        if any(command.wants_reset for command in refreshes):
            uicc.reset()
        return True

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
