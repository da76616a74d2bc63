"""Cards for the card contract: each with what it can do, and a known identity that the cases may name.

To hold another card to the contract, write a function that powers it on, and add a ``CardKind`` to ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from simway_protocol.sim.card import Card
from simway_protocol.sim.es10c import ProfileId
from simway_protocol.sim.uicc import Uicc as Client
from simway_virtual_sim.driver import VirtualCard
from simway_virtual_sim.factory import CARRIERS, Carrier, new_card
from simway_virtual_sim.faults import NO_FAULTS, Faults
from simway_virtual_sim.state import CardState
from simway_virtual_sim.store import StateFile
from simway_virtual_sim.uicc import Uicc

from simway_testing import Unavailable, applet_in_reader, card_in_modem, card_in_reader, unavailable

CAPABILITIES = {
    "es10c": "an ISD-R with the profiles of KNOWN: list, search, enable, disable, delete, nickname, EID",
    "notifications": "the ISD-R keeps notifications of what happened to profiles, lists and removes them",
    "signed": "they are given signed by the card, with its certificates",
    "info": "the ISD-R tells of the card: addresses, EUICCInfo1 and 2, rules authorisation table, challenge",
    "memory_reset": "the ISD-R deletes all profiles of a kind at once",
    "policy": "profile policy rules are obeyed, test profiles are handled as SGP.22 says",
    "channels": "logical channels beside the basic one",
    "many_channels": "all nineteen of them",
    "files": "MF, EF.DIR, EF.ICCID and a USIM that change with the profile",
    "gsm": "the same files in the class A0 of GSM SIMs",
    "proactive": "REFRESH is asked for by 91xx and FETCH",
    "t0": "61xx and 6Cxx on the wire, as with T=0",
    "power_off": "state outlives a power-off at any moment",
    "power_cut": "obeys Faults.power_cut_before_write and power_cut_after_write",
    "faults": "obeys the other Faults",
    "lenient": "takes what some clients code otherwise than the standards say",
    "key": "the Simway applet, blank at first",
    "pulled": "can be pulled out of its reader and put back while a client holds it",
}  # fmt: skip

KNOWN: CardState = new_card(
    lambda count: bytes(range(7, 7 + count)),
    (*CARRIERS, Carrier("Simway Laboratory", "Test", "00101", "04"), Carrier("Polar Line", "Polar Fixed", "99973", "05")),
)
KNOWN = replace(KNOWN, profiles=(
    *KNOWN.profiles[:2],
    replace(KNOWN.profiles[2], fallback=True),
    replace(KNOWN.profiles[3], profile_class="test"),
    replace(KNOWN.profiles[4], keep_enabled=True, keep_installed=True),
))  # fmt: skip
"""The card that every kind is to be at the start of a case.

Five profiles, the first one enabled: three operational ones (the third with the fallback attribute), a test profile, and an
operational one that may be neither disabled nor deleted.
"""


def words() -> dict[str, str]:
    """What ``{name}`` stands for in the cases: hexadecimal, as coded on the wire."""
    named = {"eid": KNOWN.eid}
    for number, profile in enumerate(KNOWN.profiles):
        named[f"iccid{number}"] = ProfileId.of(profile.iccid).value.hex().upper()
        named[f"aid{number}"] = profile.aid
    return named


@dataclass(frozen=True)
class CardKind:
    """A way to have a card. ``capabilities``: of ``CAPABILITIES``; cases that need others do not run on it.

    ``power_on(directory, faults)`` gives the card whose memory lies in ``directory``, a fresh ``KNOWN`` one when that is empty;
    ``Unavailable`` where this machine lacks what it takes. Closing the card cuts its power. It is asked only for faults that its
    capabilities name.
    """

    name: str
    capabilities: frozenset[str]
    power_on: Callable[[Path, Faults], Card]


def _virtual(directory: Path, faults: Faults) -> VirtualCard:
    return VirtualCard(Uicc(StateFile(directory / "sim.json", lambda: KNOWN), faults))


_ALL = frozenset(CAPABILITIES)
_OF_APPLET = frozenset({"es10c", "notifications", "policy", "channels", "t0", "power_off", "power_cut", "key", "pulled"})
_IN_MODEM = frozenset({
    "es10c", "notifications", "signed", "info", "memory_reset", "policy", "channels", "files", "power_off", "key",
})  # fmt: skip
"""The modem is the card's terminal: it performs REFRESH itself, so that the new files are there at once."""

KINDS = (
    CardKind("virtual-sim in process", _ALL - {"pulled"}, _virtual),
    CardKind("virtual-sim behind pcscd", _ALL, lambda directory, faults: card_in_reader.power_on(directory, KNOWN, faults)),
    CardKind("virtual-sim in a modem", _IN_MODEM, lambda directory, faults: card_in_modem.power_on(directory, KNOWN, faults)),
    CardKind("applet behind pcscd", _OF_APPLET, lambda directory, faults: applet_in_reader.power_on(directory, KNOWN, faults)),
)


def needing(*capabilities: str) -> pytest.MarkDecorator:
    """Runs a test, as its argument ``kind``, on every kind of card that can do all of these."""
    assert CAPABILITIES.keys() >= set(capabilities)
    fitting = [kind for kind in KINDS if kind.capabilities.issuperset(capabilities)]
    return pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in fitting])


def enabled(uicc: Client) -> list[str]:
    """The ICCIDs of the profiles that the card says are enabled: one, or it is broken."""
    return [profile.iccid for profile in uicc.profiles() if profile.enabled]


def stands_at(uicc: Client, kind: CardKind, iccid: str) -> None:
    """Asserts that a profile of ``KNOWN`` is the enabled one, and that the card's files, where it has any, are that profile's."""
    assert enabled(uicc) == [iccid]
    if "files" in kind.capabilities:
        (profile,) = [known for known in KNOWN.profiles if known.iccid == iccid]
        assert (uicc.iccid(), uicc.imsi()) == (iccid, profile.imsi)


class Socket:
    """Where the card under test sits: its power can be cut and come back, the card being as it was. Closes what it opened."""

    def __init__(self, kind: CardKind, directory: Path, faults: Faults = NO_FAULTS) -> None:
        self.kind = kind
        self._directory = directory
        self.card = self._power_on(faults)

    def pull(self) -> None:
        """The card loses power."""
        self.card.close()

    def power_cycle(self, faults: Faults = NO_FAULTS) -> Card:
        """Power off, everything let go of, power on."""
        self.pull()
        self.card = self._power_on(faults)
        return self.card

    def _power_on(self, faults: Faults) -> Card:
        try:
            return self.kind.power_on(self._directory, faults)
        except Unavailable as missing:
            unavailable(f"{self.kind.name}: {missing}")
