"""The card of a ``sim`` command: opened when wanted, waited for while a running modem client has it, let go of at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from simway_protocol.sim.card import Card

from simway_modem_client import home
from simway_modem_client.card import CardError, NoDriver, SimCard, open_card
from simway_modem_client.settings import ModemSettings

CARD_PATIENCE_S = 8.0
"""A card that the running modem client holds is free again when it was idle for a moment."""
_AGAIN_S = 0.1


class Desk:
    """One command's settings, its way to the card and where its results go. ``wrap``: put around each card that is opened."""

    def __init__(self, settings: ModemSettings, out: TextIO, wrap: Callable[[Card], Card] = lambda card: card) -> None:
        self.settings = settings
        self.out = out
        self._wrap = wrap
        self.atr = b""
        """Of the card that was opened last; empty where the driver does not know it."""

    def say(self, text: str) -> None:
        """One line of the result, at once."""
        self.out.write(text + "\n")
        self.out.flush()

    @contextmanager
    def sim(self) -> Iterator[SimCard]:
        """The card, already open. Raises ``CardError`` with a text that says what to do."""
        if self.settings.card == "virtual":
            home.prepare(self.settings.modem_dir)
        sim = SimCard(self._open)
        try:
            self._wait_for(sim)
            yield sim
        finally:
            sim.drop()

    def _open(self) -> Card:
        card = open_card(self.settings.card, self.settings.card_settings)
        self.atr = getattr(card, "atr", b"")
        return self._wrap(card)

    def _wait_for(self, sim: SimCard) -> None:
        deadline_s = time.monotonic() + CARD_PATIENCE_S
        while True:
            try:
                sim.use()
            except NoDriver:
                raise
            except CardError:
                if time.monotonic() > deadline_s or not home.RunLock(self.settings.modem_dir).is_held():
                    raise
                time.sleep(_AGAIN_S)
                continue
            return
