"""Coverage of the simulated radio: a TOML document, and what a modem sees at a time. Pure.

A carrier is named by the ICCID of one profile or by a PLMN (MCC and MNC) that the IMSI begins with; the ICCID wins, then the
longer PLMN, then ``[default]``.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta
from simway_protocol.sim.bearer import Registration, RegistrationState
from simway_protocol.sim.numbering import ICCID_WORDS, is_iccid

_PLMN_USUAL_DIGITS = 5

_Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
_Plmn: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9]{5,6})?$")]


class Flapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Coverage that comes and goes: there for ``up_s`` of each ``period_s``, from the moment the modem takes the identity up."""

    period_s: Annotated[float, Meta(gt=0)]
    up_s: _Seconds


class Carrier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One carrier's network where the device is.

    ``coverage``: ``denied`` and ``no_data`` (registered, but nothing is carried) come after ``attach_delay_s`` too. ``plmn``: the
    network that is registered on; empty: the subscriber's own. ``loss``: share of datagrams lost, each way.
    """

    coverage: Literal["full", "none", "denied", "no_data"] = "full"
    attach_delay_s: _Seconds = 0.0
    rsrp_dbm: Annotated[float, Meta(ge=-156, le=-31)] = -85.0
    rsrq_db: Annotated[float, Meta(ge=-43, le=20)] = -9.0
    rat: Annotated[str, Meta(min_length=1)] = "LTE"
    plmn: _Plmn = ""
    flapping: Flapping | None = None
    loss: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Identity(NamedTuple):
    """The subscriber. ``imsi`` may be empty where only the ICCID is known; both empty: no profile is enabled."""

    iccid: str = ""
    imsi: str = ""


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole document. ``seed``: makes the losses the same in each run."""

    default: Carrier = Carrier()
    carriers: dict[str, Carrier] = {}
    seed: int | None = None

    def carrier_of(self, identity: Identity) -> Carrier:
        """The carrier of a subscriber."""
        if identity.iccid in self.carriers:
            return self.carriers[identity.iccid]
        plmn = self._plmn_of(identity)
        return self.carriers.get(plmn, self.default) if plmn else self.default

    def home_plmn_of(self, identity: Identity) -> str:
        """The subscriber's own network: as the document names it, else the IMSI's first five digits."""
        return self._plmn_of(identity) or identity.imsi[:_PLMN_USUAL_DIGITS]

    def _plmn_of(self, identity: Identity) -> str:
        named = (name for name in self.carriers if not is_iccid(name) and identity.imsi.startswith(name))
        return max(named, key=len, default="")


def decode(document: bytes) -> Coverage:
    """A coverage document. ``ValueError`` says what is wrong and where."""
    coverage = msgspec.toml.decode(document, type=Coverage)
    for name in coverage.carriers:
        if not (is_iccid(name) or (len(name) in (5, 6) and name.isascii() and name.isdigit())):
            raise ValueError(f"[carriers.{name}]: a carrier is a PLMN of 5 or 6 digits, or an ICCID: {ICCID_WORDS}")
    return coverage


def registration_at(carrier: Carrier, identity: Identity, home_plmn: str, elapsed_s: float) -> Registration:
    """What the modem shows ``elapsed_s`` after it took the identity up, or after coverage came to it."""
    if not identity.iccid:
        return Registration(RegistrationState.OFF, data=False, cause="no_identity")
    if carrier.flapping is not None:
        elapsed_s %= carrier.flapping.period_s
        if elapsed_s >= carrier.flapping.up_s:
            return Registration(RegistrationState.SEARCHING, data=False, cause="no_coverage")
    if carrier.coverage == "none":
        return Registration(RegistrationState.SEARCHING, data=False, cause="no_coverage")
    if elapsed_s < carrier.attach_delay_s:
        return Registration(RegistrationState.SEARCHING, data=False, cause="attaching")
    return _served(carrier, carrier.plmn or home_plmn, home_plmn)


def _served(carrier: Carrier, plmn: str, home_plmn: str) -> Registration:
    state = RegistrationState.HOME if plmn == home_plmn else RegistrationState.ROAMING
    cause = "" if carrier.coverage == "full" else carrier.coverage
    return Registration(
        state=RegistrationState.DENIED if carrier.coverage == "denied" else state,
        data=carrier.coverage == "full",
        plmn=plmn,
        rat=carrier.rat,
        rsrp_dbm=carrier.rsrp_dbm,
        rsrq_db=carrier.rsrq_db,
        cause=cause,
    )
