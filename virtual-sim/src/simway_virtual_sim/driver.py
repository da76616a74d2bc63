"""The card driver ``virtual``: the simulated card in process, behind the card port."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from simway_protocol.sim.card import CardError, CardGone

from simway_virtual_sim import sim_file
from simway_virtual_sim.faults import Faults, Trouble
from simway_virtual_sim.store import StateFile
from simway_virtual_sim.uicc import Uicc

_TROUBLES: dict[Path, Trouble] = {}
"""What has gone wrong so far with the card of each state file: a client that opens its card anew does not begin it anew."""


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

    ``settings["sim_file"]``, where set, names a SIM file with that card's profiles and with faults (``sim_file``). How often each
    fault has struck is remembered while this process lives and the faults are the same. Raises ``CardError`` when the setting is
    missing, a file cannot be read, or the state is in use by another process; ``CardGone`` while the card is pulled.
    """
    path, sim_path = settings.get("state_file", ""), settings.get("sim_file", "")
    if not path:
        raise CardError("the virtual SIM needs the setting state_file: the path of the file that is to hold its memory")
    wanted = sim_file.read(Path(sim_path)) if sim_path else sim_file.NO_FILE
    store = StateFile(Path(path), lambda: wanted.card(secrets.token_bytes))
    try:
        return VirtualCard(Uicc(store, _trouble(Path(path), wanted.faults), wanted.document.report_interval_s))
    except CardError:
        store.close()
        raise


def _trouble(path: Path, faults: Faults) -> Trouble:
    key = path.absolute()
    if key not in _TROUBLES or _TROUBLES[key].faults != faults:
        _TROUBLES[key] = Trouble(faults)
    return _TROUBLES[key]
