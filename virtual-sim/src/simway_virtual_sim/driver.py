"""The card driver ``virtual``: the simulated card in process, behind the card port."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from simway_protocol.sim.card import CardError, CardGone

from simway_virtual_sim.factory import new_card
from simway_virtual_sim.store import StateFile
from simway_virtual_sim.uicc import Uicc


class VirtualCard:
    """A ``simway_protocol.sim.card.Card``. Blocks only where the card saves its state."""

    def __init__(self, uicc: Uicc) -> None:
        self._uicc: Uicc | None = uicc

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``; T=0 behaviour, so 61xx, 6Cxx and 91xx come as they are."""
        return self._powered().transmit(apdu)

    def reset(self) -> bytes:
        """As ``Card.reset``."""
        return self._powered().reset()

    def close(self) -> None:
        """As ``Card.close``; another process may open the card then."""
        uicc, self._uicc = self._uicc, None
        if uicc is not None:
            uicc.close()

    def _powered(self) -> Uicc:
        if self._uicc is None:
            raise CardGone("the virtual SIM was closed")
        return self._uicc


def open_card(settings: Mapping[str, str]) -> VirtualCard:
    """The card whose memory lies in ``settings["state_file"]``; a file that is not there becomes a new card.

    Raises ``CardError`` when the setting is missing, the file is in use by another process or is not a card's state.
    """
    path = settings.get("state_file", "")
    if not path:
        raise CardError("the virtual SIM needs the setting state_file: the path of the file that is to hold its memory")
    return VirtualCard(Uicc(StateFile(Path(path), lambda: new_card(secrets.token_bytes))))
