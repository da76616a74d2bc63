"""Cards for the card contract: each with what it can do, and a known identity that the cases may name.

To hold another card to the contract (behind a reader, say), add a ``CardKind`` to ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simway_protocol.sim.card import Card
from simway_protocol.sim.es10c import ProfileId
from simway_virtual_sim.driver import VirtualCard, open_card
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.state import CardState
from simway_virtual_sim.store import StateFile

CAPABILITIES = frozenset({"es10c", "channels", "files", "proactive", "t0", "key", "power-off"})
"""es10c: an ISD-R; channels: more than the basic one; files: MF, EF.DIR, EF.ICCID, USIM; proactive: REFRESH by 91xx; t0: 61xx and
6Cxx on the wire; key: the Simway applet, blank at first; power-off: state outlives it."""

KNOWN: CardState = new_card(lambda count: bytes(range(7, 7 + count)))
"""The card that every kind is to be at the start of a case."""


def words() -> dict[str, str]:
    """What ``{name}`` stands for in the cases: hexadecimal, as coded on the wire."""
    named = {"eid": KNOWN.eid}
    for number, profile in enumerate(KNOWN.profiles):
        named[f"iccid{number}"] = ProfileId.of(profile.iccid).value.hex().upper()
        named[f"aid{number}"] = profile.aid
    return named


@dataclass(frozen=True)
class CardKind:
    """``power_on(directory)`` opens the card whose memory is in ``directory``, a fresh ``KNOWN`` one when that is empty."""

    name: str
    capabilities: frozenset[str]
    power_on: Callable[[Path], Card]


def _virtual(directory: Path) -> VirtualCard:
    path = directory / "sim.json"
    StateFile(path, lambda: KNOWN).close()
    return open_card({"state_file": str(path)})


KINDS = (CardKind("virtual in process", CAPABILITIES, _virtual),)


class Socket:
    """Where the card under test sits: it can be pulled, and put back as it was. Closes what it opened."""

    def __init__(self, kind: CardKind, directory: Path) -> None:
        self.kind = kind
        self._directory = directory
        self.card = kind.power_on(directory)

    def pull(self) -> None:
        """The card loses power."""
        self.card.close()

    def power_cycle(self) -> Card:
        """Power off, everything let go of, power on."""
        self.pull()
        self.card = self.kind.power_on(self._directory)
        return self.card
