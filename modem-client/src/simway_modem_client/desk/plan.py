"""What a person asked for, judged before the card is touched. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simway_protocol.messages import Profile

from simway_modem_client import preflight
from simway_modem_client.preflight import Preflight

REFUSALS = {
    "switch_open": "a switch that the platform asked for is still open in this device's folder; let it end first "
    "(it is confirmed, or goes back by itself): simway-modem run",
    "not_an_euicc": "this SIM is no eUICC: it has one profile for life, and nothing to switch to",
    "profile_not_found": "the card has no such profile; see: simway-modem sim profiles",
    "already_enabled": "that profile is enabled already",
    "test_profile": "that is a test profile: its keys are publicly known, so anybody can be this device's network; "
    "in a laboratory: --force",
    "unknown_class": "the card gives that profile a class that this release does not know, so it may not be operational; "
    "if it is known to be: --force",
    "policy": "the carrier's policy forbids to disable the enabled profile; only that carrier can lift it",
    "no_way_back": "the card has no profile to go back to if this one gives no network; if that is meant: --force "
    "(never where the present or the wanted profile may not be disabled)",
    "key_would_be_out_of_reach": "the device key lives inside the enabled profile (CARD_KEY_LEVEL=profile) and would be out "
    "of reach after the switch; move the key to the card or into a file first",
}


class Unfit(ValueError):
    """What was asked for is not to be done. The text says why, and what would help."""


class Unclear(Unfit):
    """The person's word names no profile, or several. The text says which there are."""


class Plan(NamedTuple):
    """``refusal``: a constant of ``preflight``, empty when it may begin. ``ways_back``: ICCIDs, the best first."""

    target: Profile
    previous: Profile | None
    ways_back: tuple[str, ...]
    refusal: str

    def must_be_fit(self) -> Plan:
        """Itself. Raises ``Unfit`` where it is refused."""
        if self.refusal:
            raise Unfit(f"refused: {REFUSALS.get(self.refusal, self.refusal)}")
        return self


def choose(profiles: Sequence[Profile], wanted: str) -> Profile:
    """The profile that ``wanted`` names: ICCID, AID, nickname, provider or name, whole or as a beginning. Raises ``Unclear``."""
    word = wanted.strip().casefold()
    if not profiles:
        raise Unclear(REFUSALS["not_an_euicc"])
    for fits in (
        lambda profile: word in (profile.iccid, profile.aid.casefold()),
        lambda profile: word == profile.nickname.casefold() != "",
        lambda profile: word in (profile.provider.casefold(), profile.name.casefold()),
        lambda profile: any(text.casefold().startswith(word) for text in _names(profile)),
    ):
        found = [profile for profile in profiles if word and fits(profile)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Unclear(f"{wanted!r} names {len(found)} profiles; say which by its ICCID: {_listed(found)}")
    raise Unclear(f"no profile is called {wanted!r}; there are: {_listed(profiles)}")


def make_plan(  # what a switch on a desk is judged by
    profiles: Sequence[Profile], active: str, wanted: str, *, key_survives: bool, switch_open: bool, forced: bool
) -> Plan:
    """Raises ``Unclear``. A plan with a refusal is not carried out."""
    target = choose(profiles, wanted)
    previous = next((profile for profile in profiles if profile.iccid == active), None)
    refusal = preflight.refuse(
        Preflight(
            target=target.iccid, active=active, profiles=tuple(profiles), key_survives=key_survives,
            request_is_enable_of_target=True, switch_open=switch_open, forced=forced,
        )
    )  # fmt: skip
    return Plan(target, previous, tuple(preflight.ways_back(active, target.iccid, profiles)), refusal)


def key_survives(provider: str, level: str, applet_here: bool) -> bool:
    """Whether the device key can be reached after a switch. A card without the applet holds none."""
    return provider == "file" or level == "card" or not applet_here


def _names(profile: Profile) -> tuple[str, ...]:
    return (profile.iccid, profile.nickname, profile.provider, profile.name)


def _listed(profiles: Sequence[Profile]) -> str:
    return "; ".join(f"{p.iccid} {p.nickname or p.provider or p.name}".rstrip() for p in profiles)
