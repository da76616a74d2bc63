"""A virtual SIM in a modem on a pseudo terminal, reached by AT commands: a kind of card for the card contract."""

from __future__ import annotations

from pathlib import Path

from simway_modem_client.card import open_card
from simway_modem_client.card.at import AtCard
from simway_virtual_sim.driver import VirtualCard
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.state import CardState
from simway_virtual_sim.store import StateFile
from simway_virtual_sim.uicc import Uicc

from simway_testing.at_modem import QUECTEL, AtModem


class InModem:
    """The driver of the card, and the modem around it: closing one ends both."""

    def __init__(self, modem: AtModem, card: AtCard) -> None:
        self._modem, self._card = modem, card
        self.transmit, self.reset, self.dialogue = card.transmit, card.reset, card.dialogue

    def close(self) -> None:
        self._card.close()
        self._modem.close()


def power_on(directory: Path, known: CardState, faults: Faults) -> InModem:
    """The card whose memory lies in ``directory``, ``known`` when that is empty, in a modem."""
    modem = AtModem(directory, VirtualCard(Uicc(StateFile(directory / "sim.json", lambda: known), faults)), QUECTEL)
    card = open_card("at", {"port": str(modem.port)})
    assert isinstance(card, AtCard)
    return InModem(modem, card)
