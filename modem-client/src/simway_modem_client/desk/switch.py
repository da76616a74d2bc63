"""A switch by hand, step by step: the same preflight and the same ways with the card as a switch that the platform asks for.

There is no server here and so no CONFIRM: what the card shows after its reset decides. A card that shows something else than the
target is brought back at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from simway_protocol.messages import Profile
from simway_protocol.sim.es10c import EnableProfile, ProfileId

from simway_modem_client import preflight, switch
from simway_modem_client.card import SimCard
from simway_modem_client.desk.plan import Plan
from simway_modem_client.switch_card import Sight, SwitchCard, imsi_of
from simway_modem_client.switch_evidence import SwitchEvidence

RETURN_ATTEMPTS = 8
"""So often the way back is tried before a person must help."""
LOOKS = 15
"""A card that cannot be read (pulled in the middle of it) is looked at so often, with a wait between."""


class Outcome(NamedTuple):
    """``result``: switched, unchanged (the card did not do it), returned (it had to be brought back), or stuck.

    ``active``: the ICCID that the card shows at the end, empty when unknown or none. ``evidence``: as RESULT carries it.
    """

    result: str
    active: str
    imsi: str
    cause: str
    evidence: dict[str, Any]


class HandSwitch:
    """Carries out one plan. ``say``: gets a line a step. ``wait``: sleeps. Blocks on the card; raises nothing of the card's."""

    def __init__(self, sim: SimCard, say: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> None:
        self._sim = sim
        self._say = say
        self._wait = wait
        self._told: dict[str, Any] = {"proof": "card-only"}
        self._evidence = SwitchEvidence(self._told)
        self._card = SwitchCard(sim, lambda: time.monotonic_ns() // 1000, wait)

    def run(self, plan: Plan) -> Outcome:
        """Other programs stay out of a shared card from the enable to the last look."""
        with self._sim.use().dialogue():
            return self._run(plan)

    def _run(self, plan: Plan) -> Outcome:
        target, previous = plan.target, "" if plan.previous is None else plan.previous.iccid
        before = imsi_of(self._sim.use()) if previous else ""
        cause = self._enable(target)
        seen = self._look(before)
        if seen.iccid == target.iccid:
            return self._outcome("switched", seen, "")
        cause = cause or "card_did_not_switch"
        if seen.readable and seen.iccid and seen.iccid == previous:
            return self._outcome("unchanged", seen, cause)
        return self._go_back(plan, cause)

    def _go_back(self, plan: Plan, cause: str) -> Outcome:
        """As the workflow does it: the previous profile, then the others in turn; with nothing enabled, any at all."""
        previous, seen = "" if plan.previous is None else plan.previous.iccid, Sight(readable=False)
        for attempt in range(RETURN_ATTEMPTS):
            profiles = self._card.profiles(self._evidence)
            wanted = preflight.way_back(previous, plan.target.iccid, profiles, attempt)
            called = next((profile for profile in profiles if profile.iccid == wanted), None)
            if called is not None:
                self._say(f"going back to {called.iccid} ({called.provider or called.name})")
                self._enable(called)
            seen = self._look("")
            if seen.iccid == plan.target.iccid:
                return self._outcome("switched", seen, cause)
            if preflight.is_way_back(seen.iccid, previous, plan.target.iccid, attempt):
                return self._outcome("returned", seen, cause)
            self._wait(switch.return_wait_s(attempt + 1, at_once=seen.readable and not seen.iccid))
        return self._outcome("stuck", seen, cause)

    def _enable(self, profile: Profile) -> str:
        known = len(self._told.get("tries", []))
        cause = self._card.enable(self._evidence, EnableProfile(ProfileId.of(profile.iccid)), profile.iccid, profile.aid)
        for tried in self._told.get("tries", [])[known:]:
            refresh = "with" if tried["refresh"] else "without"
            self._say(f"enable   by {tried['by'].upper()}, {refresh} REFRESH: {tried['result'].replace('_', ' ')}")
        if cause:
            self._say(f"         {cause.replace('_', ' ')}; what the card shows decides")
        return cause

    def _look(self, not_imsi: str) -> Sight:
        """Resets the card and reads it; waits for one that was pulled."""
        for attempt in range(LOOKS):
            seen = self._card.look(self._evidence, not_imsi)
            if seen.readable:
                break
            if not attempt:
                self._say("look     the card cannot be read; waiting for it (is it in its reader?)")
            self._wait(switch.RETURN_RETRY_FIRST_S)
        self._say(f"look     reset, {_shown(seen)}")
        return seen

    def _outcome(self, result: str, seen: Sight, cause: str) -> Outcome:
        return Outcome(result, seen.iccid, seen.imsi, cause, self._told)


def _shown(seen: Sight) -> str:
    if not seen.readable:
        return "and the card still cannot be read"
    if not seen.iccid:
        return "no profile is enabled"
    return f"the card shows ICCID {seen.iccid}, IMSI {seen.imsi or '-'}"
