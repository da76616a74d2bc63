"""The shell of the carrier switch: journals each phase of ``switch``, then does what the table says, on card and link."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import apsw
import structlog
from simway_protocol.commands import DEADLINE_MIN_S, Body, ResultOutcome
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.es10c import EnableProfile, ProfileId
from simway_protocol.sim.tlv_words import identity_words

from simway_modem_client import preflight
from simway_modem_client import switch as workflow
from simway_modem_client.card import SimCard
from simway_modem_client.journal import Journal, OpenSwitch
from simway_modem_client.preflight import Preflight
from simway_modem_client.switch import Action, Event, Phase
from simway_modem_client.switch_card import SwitchCard, look_before, place
from simway_modem_client.switch_evidence import SwitchEvidence

LOOK_AGAIN_S = 2.0
END_AGAIN_S = 20.0
"""A switch whose end the journal could not take is ended anew after this long."""
OBSERVE_S = 1.0
"""While a switch waits for its new carrier, the radio is looked at this often."""

FULL = "the journal cannot be written; make room on the disk"

log = structlog.get_logger(__name__)


class Reports(Protocol):
    """What a switch tells others."""

    def reattach(self) -> None:
        """The card's identity may have changed: attach anew."""

    def send_pending(self, command_id: bytes) -> None:
        """The journal holds a new RESULT or CLOSED of this command: send it."""


class Switcher:
    """At most one open switch. Not thread-safe; calls block on the card. ``clock_us``: the link's clock.

    ``registration``: the bearer's, as it is now. ``proof``: what an attach over that bearer proves. ``floor_s``: its
    ``switch_floor_s``, no deadline is shorter.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        sim: SimCard,
        reports: Reports,
        clock_us: Callable[[], int],
        proof: str,
        key_survives: bool,
        registration: Callable[[], Registration],
        floor_s: int = 0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._journal = journal
        self._sim = sim
        self._reports = reports
        self._clock_us = clock_us
        self._proof = proof
        self._key_survives = key_survives
        self._registration = registration
        self._floor_s = floor_s
        self._card = SwitchCard(sim, clock_us, wait)
        self._due_us: int | None = None
        self._due: Action | None = None
        self._deadline_us: int | None = None
        self._observe_us = 0
        self._since_us = clock_us()
        """When the carrier was last seen to have changed, or the start: registering and attaching are timed from then."""
        self._seen = Event.CARD_UNREADABLE
        self._is_other_card = False
        self._phase_before = Phase.INTENT
        self.open: OpenSwitch | None = journal.open_switch()

    def boot(self) -> None:
        """Goes on with a switch that a power cut or restart left open."""
        if self.open is not None:
            log.warning("a carrier switch was open at start", phase=self.open.phase, boots=self.open.boots)
            self.open.evidence["boots"] = self.open.evidence.get("boots", 0) + 1
            knows_boots = self._journal.boot_was_counted or self.open.phase is Phase.RETURNED
            self._happened(workflow.boot_event(self.open.boots if knows_boots else workflow.BOOTS_MAX + 1))

    def begin(self, body: Body) -> str:
        """Preflight, journal, enable. Returns why not, or nothing when the switch has begun (and may already be over).

        Raises ``CardError`` and ``PeerError`` when the card cannot be read beforehand, ``apsw.Error`` when the journal cannot be
        written; nothing has happened then.
        """
        begin_us = self._clock_us()
        uicc = self._sim.use()
        uicc.take_evidence()
        active, imsi, profiles, card = look_before(uicc)
        request = preflight.enable_of(body.apdus, body.target_iccid, profiles)
        reason = preflight.refuse(
            Preflight(
                target=body.target_iccid, active=active, profiles=profiles, key_survives=self._key_survives,
                request_is_enable_of_target=request is not None, switch_open=self.open is not None, forced=body.forced,
            )
        )  # fmt: skip
        if reason or request is None:
            return reason
        told: dict[str, Any] = {"iccid_before": active, "iccid_after": active, "imsi_before": imsi, "proof": self._proof}
        if body.forced:
            told["forced"] = True
        deadline_s = told["deadline_s"] = max(body.deadline_s, DEADLINE_MIN_S, self._floor_s)
        opened = OpenSwitch(body.command_id, active, body.target_iccid, deadline_s, begin_us, evidence=told, card=card)
        SwitchEvidence(told).took("preflight", begin_us, self._clock_us())
        aid = next(profile.aid for profile in profiles if profile.iccid == body.target_iccid)
        self._begin(opened, request, aid)
        return ""

    def _begin(self, opened: OpenSwitch, request: EnableProfile, aid: str) -> None:
        self._journal.begin_switch(opened)
        self.open = opened
        self._restart_deadline(opened)
        evidence = SwitchEvidence(opened.evidence)
        why_not = self._card.enable(evidence, request, opened.target, aid)
        seen = self._look(opened, not_imsi=opened.evidence["imsi_before"])
        if seen is not Event.CARD_ON_TARGET:
            opened.evidence["cause"] = why_not or "card_did_not_switch"
        self._happened(seen)

    def attached(self, iccid: str) -> None:
        """The link attached with this ICCID."""
        if self.open is None:
            return
        if self.open.phase is Phase.RETURNING and self.open.attempts >= workflow.RETURN_ATTEMPTS_MAX:
            if iccid == self.open.evidence.get("iccid_after"):
                self._happened(Event.NO_WAY_BACK)
        elif self.open.phase is Phase.RETURNED and iccid == self.open.way_back:
            self._happened(Event.ATTACHED_BACK)
        elif iccid == self.open.target:
            self._happened(Event.ATTACHED)

    def confirm(self, command_id: bytes) -> None:
        """A verified CONFIRM."""
        if self.open is not None and command_id == self.open.command_id:
            self._happened(Event.CONFIRMED)

    def next_deadline_us(self) -> int | None:
        """When ``tick`` is wanted, by the clock."""
        times = [at for at in (self._due_us, self._deadline_us) if at is not None]
        return min(times, default=None)

    def tick(self, now_us: int) -> None:
        """Does what is due."""
        if self._due is not None and self._due_us is not None and now_us >= self._due_us:
            action, self._due, self._due_us = self._due, None, None
            self._act(action)
        if self._deadline_us is not None and now_us >= self._deadline_us:
            self._deadline_us = None
            self._happened(Event.DEADLINE)
        if self.open is not None and self.open.phase is Phase.SWITCHED and now_us >= self._observe_us:
            self._observe_us = now_us + int(OBSERVE_S * 1e6)
            self._observe(self.open)

    # --- the table's word ----------------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        if self.open is None:
            return
        found = workflow.step(self.open.phase, event)
        if found is None:
            return
        target = identity_words(self.open.target)
        log.info("carrier switch", phase=self.open.phase, happened=event, next_phase=found.phase, target=target)
        self._note(self.open, event, found.phase)
        self._phase_before, self.open.phase = self.open.phase, found.phase
        if found.phase not in workflow.FINAL:
            self._save(self.open)
        for action in found.actions:
            self._act(action)

    def _note(self, switch: OpenSwitch, event: Event, after: Phase) -> None:
        """What this moment adds to the evidence."""
        evidence, now_us = SwitchEvidence(switch.evidence), self._clock_us()
        if switch.phase is Phase.RETURNED:
            return self._note_way_back(switch, event, after)
        if event in (Event.ATTACHED, Event.DEADLINE):
            self._observe(switch)
        if event is Event.ATTACHED:
            evidence.took("attach", self._since_us, now_us)
        elif event is Event.CARD_ON_TARGET and switch.phase is Phase.INTENT:
            self._since_us, self._observe_us = now_us, now_us
            switch.evidence.pop("cause", None)  # of the answer that was lost: the card has done it all the same
        if after in (Phase.RETURNING, Phase.RETURNED) and switch.phase is not Phase.RETURNING:
            switch.evidence["cause"] = self._why_back(switch, event)
            self._since_us = now_us
        if after is Phase.RETURNED:
            evidence.took("return", self._since_us, now_us)
            self._since_us = now_us
            switch.way_back, switch.attempts, switch.boots = switch.evidence["iccid_after"], 0, 0
        if after in workflow.FINAL or event is Event.ATTACHED:
            evidence.took("total", switch.started_us, now_us)
        return None

    def _note_way_back(self, switch: OpenSwitch, event: Event, after: Phase) -> None:
        """What is told of the way back: how long attaching by it took, or why its turn is over."""
        evidence, now_us = SwitchEvidence(switch.evidence), self._clock_us()
        if after is Phase.ROLLED_BACK:
            evidence.took("return_attach", self._since_us, now_us)
            evidence.took("total", switch.started_us, now_us)
        elif after is Phase.RETURNING:
            evidence.add_way_back(switch.way_back, self._why_back(switch, event))
            self._since_us = now_us

    def _why_back(self, switch: OpenSwitch, event: Event) -> str:
        seen, other = self._seen is not Event.CARD_UNREADABLE, self._is_other_card
        return workflow.why_back(switch.phase, event, self._registration(), card_was_seen=seen, is_other_card=other)

    def _observe(self, switch: OpenSwitch) -> None:
        evidence, registration, now_us = SwitchEvidence(switch.evidence), self._registration(), self._clock_us()
        evidence.saw(registration, self._since_us, now_us)
        if registration.registered and not evidence.timed("registration"):
            evidence.took("registration", self._since_us, now_us)

    def _act(self, action: Action) -> None:
        if self.open is None:
            return self._reports.reattach() if action is Action.REATTACH else None
        match action:
            case Action.LOOK_AT_CARD:
                self._happened(self._look(self.open))
            case Action.LOOK_LATER:
                self._later(Action.LOOK_AT_CARD, LOOK_AGAIN_S)
            case Action.TAKE_NEXT_WAY_BACK:
                self._take_next_way_back(self.open)
            case Action.ENABLE_WAY_BACK:
                self._deadline_us = None
                self._happened(self._go_back(self.open))
            case Action.ENABLE_WAY_BACK_LATER:
                self._go_back_later(self.open)
            case Action.RESTART_DEADLINE:
                self._restart_deadline(self.open)
            case Action.REATTACH:
                self._reports.reattach()
            case _:
                self._report(action, self.open)
        return None

    def _report(self, action: Action, told: OpenSwitch) -> None:
        cause = told.evidence.get("cause", "")
        match action:
            case Action.REPORT_EXECUTED:
                self._report_executed(told)
            case Action.REPORT_FAILED:
                self._end(told, ResultOutcome.FAILED, cause or "interrupted", "")
            case Action.REPORT_ROLLED_BACK:
                self._end(told, ResultOutcome.ROLLED_BACK, cause or "card_went_back", ResultOutcome.ROLLED_BACK)
            case Action.REPORT_STAYED:
                self._end(told, ResultOutcome.FAILED, "no_way_back", ResultOutcome.FAILED)
            case Action.REPORT_CLOSED:
                self._end(told, "", "", ResultOutcome.CLOSED)

    def _report_executed(self, told: OpenSwitch) -> None:
        """In each session by the target anew, though it be settled: only one of a session by the target is ever confirmed.

        What the journal did not take is not said: no CONFIRM comes then, and the deadline decides.
        """
        try:
            self._journal.finish(told.command_id, ResultOutcome.EXECUTED, "", told.evidence)
        except apsw.Error as error:
            log.error(FULL, error=str(error))
            return
        self._reports.send_pending(told.command_id)

    def _end(self, ended: OpenSwitch, outcome: str, reason: str, closed: str) -> None:
        """An end that the journal does not take is none: at the latest the next look at the card brings it about again."""
        try:
            self._journal.end_switch(ended, outcome=outcome, reason=reason, closed=closed)
        except apsw.Error as error:
            log.error(FULL, error=str(error))
            ended.phase = self._phase_before
            if ended.phase is Phase.RETURNED:
                self._restart_deadline(ended)
            if ended.phase is not Phase.REPORTED:
                self._later(Action.LOOK_AT_CARD, END_AGAIN_S)
            return
        self.open = self._due = self._due_us = self._deadline_us = None
        self._reports.send_pending(ended.command_id)

    def _save(self, switch: OpenSwitch) -> None:
        """A disk that refuses stops no switch under way: the card shows at boot how far it came."""
        try:
            self._journal.update_switch(switch)
        except apsw.Error as error:
            log.error(FULL, error=str(error))

    def _later(self, action: Action, wait_s: float) -> None:
        self._due, self._due_us = action, self._clock_us() + int(wait_s * 1e6)

    def _restart_deadline(self, switch: OpenSwitch) -> None:
        wait_s = float(switch.deadline_s)
        if switch.phase is Phase.RETURNED:
            wait_s = workflow.turn_s(switch.deadline_s, switch.turns, is_previous=switch.way_back == switch.previous)
        self._deadline_us = self._clock_us() + int(wait_s * 1e6)

    # --- the card --------------------------------------------------------------------------------------------------------

    def _look(self, switch: OpenSwitch, not_imsi: str = "") -> Event:
        """What the card shows, in the table's words."""
        seen = self._card.look(SwitchEvidence(switch.evidence), not_imsi, switch.card)
        self._is_other_card = seen.is_other
        if not seen.readable:
            self._seen = Event.CARD_UNREADABLE
        else:
            self._seen = Event.CARD_STALE if seen.is_stale else place(switch, seen.iccid)
        return self._seen

    def _go_back(self, switch: OpenSwitch) -> Event:
        """Enables the way back, unless it is enabled, and looks. A card that may be another one is only looked at."""
        evidence = SwitchEvidence(switch.evidence)
        profiles = self._card.profiles_of(evidence, switch.card)
        if profiles is None or (switch.card and not profiles):
            return self._look(switch)
        enabled = next((profile.iccid for profile in profiles if profile.state == "enabled"), "")
        wanted = preflight.way_back(switch.previous, switch.target, profiles, switch.attempts, switch.way_back)
        if wanted and place(switch, enabled) is not Event.CARD_ON_WAY_BACK:
            aid = next((profile.aid for profile in profiles if profile.iccid == wanted), "")
            self._card.enable(evidence, EnableProfile(ProfileId.of(wanted)), wanted, aid)
        return self._look(switch)

    def _take_next_way_back(self, switch: OpenSwitch) -> None:
        """The next that is not shown already. A card that cannot be read keeps its turn."""
        profiles = self._card.profiles_of(SwitchEvidence(switch.evidence), switch.card)
        if profiles:
            choices = preflight.ways_back(switch.previous, switch.target, profiles)
            switch.turns, switch.way_back = preflight.next_way_back(choices, switch.turns, switch.way_back)
            self._save(switch)

    def _go_back_later(self, switch: OpenSwitch) -> None:
        """Tries that found the card unreadable do not count: it may be out of its reader."""
        if self._seen is not Event.CARD_UNREADABLE:
            switch.attempts += 1
            self._save(switch)
            if switch.attempts >= workflow.RETURN_ATTEMPTS_MAX:
                self._reports.reattach()
        at_once = self._seen is Event.CARD_EMPTY and switch.attempts < workflow.RETURN_ATTEMPTS_AT_ONCE
        self._later(Action.ENABLE_WAY_BACK, workflow.return_wait_s(switch.attempts, at_once=at_once))
