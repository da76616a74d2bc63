"""All PC/SC readers of this machine, and what is in them."""

from __future__ import annotations

import time
from typing import Any

from simway_protocol.errors import PeerError
from simway_protocol.sim.card import CardError
from simway_protocol.sim.uicc import Uicc

from simway_modem_client.card.pcsc import PcscCard, Slot, slots

WAIT_S = 3.0
"""A card that another program is busy with is waited for so long."""
_PRESENT, _MUTE = 0x20, 0x200


def look() -> list[dict[str, Any]]:
    """One entry a reader: ``reader``, ``card`` (yes, no, mute), ``iccid``, ``provider``, ``atr``, ``trouble``.

    Raises ``CardError``.
    """
    return [_look_into(slot) for slot in slots()]


def _look_into(slot: Slot) -> dict[str, Any]:
    card = "mute" if slot.flags & _MUTE else "yes" if slot.flags & _PRESENT else "no"
    seen: dict[str, Any] = {
        "reader": slot.name, "card": card, "iccid": "", "provider": "", "atr": slot.atr.hex().upper(), "trouble": "",
    }  # fmt: skip
    opened = PcscCard(slot.name, wait_s=WAIT_S)
    try:
        opened.connect()
        seen |= {"card": "yes", "atr": opened.atr.hex().upper()}
        inventory = Uicc(opened, lambda: time.monotonic_ns() // 1000).inventory()
    except (CardError, PeerError) as error:
        return seen if seen["card"] == "no" else seen | {"trouble": str(error)}
    finally:
        opened.close()
    active = next((profile for profile in inventory.profiles if profile.iccid == inventory.active_iccid), None)
    return seen | {"iccid": inventory.active_iccid, "provider": "" if active is None else active.provider or ""}
