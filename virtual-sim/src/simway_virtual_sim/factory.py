"""A new card: its EID and profiles from fresh random bytes, all numbers with valid check digits.

The numbers lie where no real issuer is: country code 999 in EID and ICCID, MCC 999 (private networks, ITU-T E.212) in the IMSI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simway_protocol.sim.numbering import eid_with_check_digits, luhn_digit

from simway_virtual_sim.state import CardState, Profile

_ISD_P_AID = "A0000005591010FFFFFFFF89{number:06X}00"
_FIRST_ISD_P = 0x10


class Carrier(NamedTuple):
    """A carrier that the card has a profile of. ``plmn``: MCC and MNC; ``issuer``: two digits of the ICCID."""

    provider: str
    name: str
    plmn: str
    issuer: str


CARRIERS = (
    Carrier("Northwind Mobile", "Northwind IoT", "99970", "01"),
    Carrier("Blue Harbour Telecom", "Blue Harbour Fleet", "99971", "02"),
    Carrier("Alpine Connect", "Alpine M2M", "99972", "03"),
)
"""The carriers of a new card; the first one's profile is enabled."""


def new_card(random: Callable[[int], bytes], carriers: tuple[Carrier, ...] = CARRIERS) -> CardState:
    """A card fresh from its maker. ``random(n)``: n random bytes; the same bytes give the same card."""
    profiles = tuple(_profile(carrier, number, random) for number, carrier in enumerate(carriers))
    return CardState(eid=random_eid(random), profiles=profiles, enabled=profiles[0].iccid)


def random_eid(random: Callable[[int], bytes]) -> str:
    """An EID of no real maker."""
    return eid_with_check_digits("8999900100" + _digits(random, 20))


def isd_p_aid(number: int) -> str:
    """The AID of the n-th profile's ISD-P, from 0."""
    return _ISD_P_AID.format(number=_FIRST_ISD_P + number)


def _profile(carrier: Carrier, number: int, random: Callable[[int], bytes]) -> Profile:
    iccid = f"89999{carrier.issuer}{_digits(random, 11)}"
    return Profile(
        iccid=iccid + luhn_digit(iccid),
        aid=isd_p_aid(number),
        imsi=carrier.plmn + _digits(random, 10),
        provider=carrier.provider,
        name=carrier.name,
    )


def _digits(random: Callable[[int], bytes], count: int) -> str:
    return f"{int.from_bytes(random(count), 'big') % 10**count:0{count}d}"
