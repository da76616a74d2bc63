"""What a card tells of itself, as plain values: what ``sim info --json`` gives and ``words`` puts into lines."""

from __future__ import annotations

from typing import Any

from simway_protocol.errors import PeerError
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.uicc import CardInventory, Uicc

from simway_modem_client.switch_card import imsi_of


def read_facts(uicc: Uicc, atr: bytes) -> dict[str, Any]:
    """Everything, in one dialogue. Raises ``CardError`` and ``PeerError``."""
    with uicc.dialogue():
        inventory, refused = _inventory(uicc)
        applet = uicc.applet_status()
        facts: dict[str, Any] = {
            "eid": inventory["eid"],
            "refused": refused,
            "active_iccid": inventory["active_iccid"],
            "imsi": imsi_of(uicc) if inventory["active_iccid"] else "",
            "profiles": len(inventory["profiles"]),
            "profile": next((p for p in inventory["profiles"] if p["iccid"] == inventory["active_iccid"]), None),
            "test_profiles": sum(profile["profile_class"] == "test" for profile in inventory["profiles"]),
            "os_version": inventory["os_version"],
            "smdp": inventory["smdp"],
            "euicc": _euicc(uicc) if inventory["eid"] else None,
            "notifications": _notifications(uicc) if inventory["eid"] else None,
            "applet_key_version": None if applet is None else applet.key_version if applet.personalised else 0,
            "atr": atr.hex().upper(),
        }
    return facts


def _inventory(uicc: Uicc) -> tuple[dict[str, Any], str]:
    """As ``Uicc.inventory``, and why what only an eUICC has is missing: an ISD-R of the M2M kind (SGP.02) does not speak ES10."""
    try:
        return uicc.inventory().evidence(), ""
    except CardGone:
        raise
    except (CardError, PeerError) as error:
        return CardInventory("", uicc.iccid(), []).evidence(), str(error)


def _euicc(uicc: Uicc) -> dict[str, Any] | None:
    """EUICCInfo2; None on a card that does not give it."""
    try:
        info = uicc.info()
    except CardGone:
        raise
    except (CardError, PeerError):
        return None
    return {
        "sgp22": info.svn, "profile_package": info.profile_version, "firmware": info.firmware,
        "global_platform": info.global_platform,
        "free_bytes": None if info.free_nonvolatile_bytes < 0 else info.free_nonvolatile_bytes,
    }  # fmt: skip


def _notifications(uicc: Uicc) -> int | None:
    try:
        return len(uicc.notifications())
    except CardGone:
        raise
    except (CardError, PeerError):
        return None
