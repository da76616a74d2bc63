"""The card port: bytes in, bytes and a status word out. Drivers are found by name in the entry points ``simway.card_drivers``.

A driver is a function ``open_card(settings: Mapping[str, str]) -> Card``; it raises ``CardError`` with a text that says what
to do next (no reader, card in use, state file unreadable).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

from simway_protocol.errors import ProtocolError
from simway_protocol.sim import status

DRIVER_GROUP = "simway.card_drivers"


class CardError(ProtocolError):
    """The card, or the way to it, refused. ``sw`` is its status word, or None where there was none.

    The text names what was being done and the status word in words. It never holds the APDU's data.
    """

    def __init__(self, doing: str, sw: int | None = None) -> None:
        super().__init__(doing if sw is None else f"{doing}: {status.hex_of(sw)} ({status.name_of(sw)})")
        self.doing = doing
        self.sw = sw


class CardGone(CardError):
    """No answer came: pulled, powered off, reader gone or closed. Whether the last command took effect is unknown.

    After ``reset()`` the same object may work again; what it held in channels is lost.
    """


class Card(Protocol):
    """A powered card. One thread at a time; calls block for as long as the card takes (seconds, on a real one)."""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Sends one command APDU, short or extended; returns the data and the status word as the card gave them.

        Nothing is done about 61xx, 6Cxx and 91xx here (see ``transport``). Raises ``CardGone``, or ``CardError`` where
        the driver itself refuses.
        """

    def reset(self) -> bytes:
        """Powers the card off and on; returns its ATR. All channels but the basic one are closed, no application is selected."""

    def close(self) -> None:
        """Lets go of the card. A second call does nothing; ``transmit`` then raises ``CardGone``."""


class Shared(Card, Protocol):
    """A card that other programs may use, too: a driver of such a card adds this."""

    def dialogue(self) -> AbstractContextManager[None]:
        """Nobody else speaks to the card inside the ``with``; nested ones count as one. Waits for others. Raises ``CardGone``."""


def dialogue_of(card: Card) -> Callable[[], AbstractContextManager[None]]:
    """The card's ``dialogue``, or one that does nothing where the card is nobody else's."""
    dialogue: Callable[[], AbstractContextManager[None]] = getattr(card, "dialogue", nullcontext)
    return dialogue


Driver: TypeAlias = Callable[[Mapping[str, str]], Card]


def expect_success(sw: int, doing: str) -> None:
    """Raises ``CardError`` unless ``sw`` says success."""
    if not status.is_success(sw):
        raise CardError(doing, sw)
