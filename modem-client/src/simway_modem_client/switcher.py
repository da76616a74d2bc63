"""The shell of the carrier switch: journals each phase of ``switch``, then does what the table says, on card and link."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from simway_protocol.commands import DEADLINE_MIN_S, Body, ResultOutcome
from simway_protocol.errors import PeerError
from simway_protocol.sim import es10c, tlv
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10c import EnableProfile, EnableResult, ProfileId

from simway_modem_client import switch as workflow
from simway_modem_client.card import SimCard
from simway_modem_client.journal import Journal, OpenSwitch
from simway_modem_client.switch import Action, Event, Phase, Preflight

CAT_BUSY_TRIES = 4
CAT_BUSY_WAIT_S = 0.5
"""catBusy means that the card is in a proactive session, perhaps a REFRESH that nobody fetched or answered: before each further
try it is answered, and the card reset."""
LOOK_AGAIN_S = 2.0
RETURN_RETRY_FIRST_S = 2.0
RETURN_RETRY_MAX_S = 60.0
APDUS_KEPT = 80
"""APDUs in the evidence; the newest stay."""

log = structlog.get_logger(__name__)


class Reports(Protocol):
    """What a switch tells others."""

    def reattach(self) -> None:
        """The card's identity may have changed: attach anew."""

    def send_pending(self, command_id: bytes) -> None:
        """The journal holds a new RESULT or CLOSED of this command: send it."""


class Switcher:
    """At most one open switch. Not thread-safe; calls block on the card. ``clock_us``: the link's clock."""

    def __init__(
        self,
        *,
        journal: Journal,
        sim: SimCard,
        reports: Reports,
        clock_us: Callable[[], int],
        proof: str,
        key_survives: bool,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._journal = journal
        self._sim = sim
        self._reports = reports
        self._clock_us = clock_us
        self._proof = proof
        self._key_survives = key_survives
        self._wait = wait
        self._due_us: int | None = None
        self._due: Action | None = None
        self._deadline_us: int | None = None
        self._seen: Event | None = None
        self.open: OpenSwitch | None = journal.open_switch()

    def boot(self) -> None:
        """Goes on with a switch that a power cut or restart left open."""
        if self.open is not None:
            log.warning("a carrier switch was open at start", phase=self.open.phase, boots=self.open.boots)
            self._happened(workflow.boot_event(self.open.boots))

    def begin(self, body: Body) -> str:
        """Preflight, journal, enable. Returns why not, or nothing when the switch has begun (and may already be over).

        Raises ``CardError`` and ``PeerError`` when the card cannot be read beforehand; nothing has happened then.
        """
        uicc = self._sim.use()
        uicc.take_evidence()
        inventory = uicc.inventory()
        active, profiles = inventory.active_iccid, inventory.profiles
        known = Preflight(
            target=body.target_iccid,
            active=active,
            profiles=tuple((p.iccid, p.message().profile_class, p.enabled) for p in profiles),
            key_survives=self._key_survives,
            request_is_enable_of_target=is_enable_of(body.apdus, body.target_iccid, {p.aid: p.iccid for p in profiles}),
            switch_open=self.open is not None,
        )
        return self._begin_if_fit(body, known)

    def _begin_if_fit(self, body: Body, known: Preflight) -> str:
        reason = workflow.refuse(known)
        if reason:
            return reason
        evidence: dict[str, Any] = {"iccid_before": known.active, "iccid_after": known.active, "proof": self._proof, "apdus": []}
        deadline_s = max(body.deadline_s, DEADLINE_MIN_S)
        self.open = OpenSwitch(body.command_id, known.active, known.target, deadline_s, self._clock_us(), evidence=evidence)
        self._journal.begin_switch(self.open)
        self._restart_deadline(self.open)
        self._happened(self._enable(body.apdus[0]))
        return ""

    def attached(self, iccid: str) -> None:
        """The link attached with this ICCID."""
        if self.open is not None and iccid == self.open.target:
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

    # --- the table's word ----------------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        if self.open is None:
            return
        found = workflow.step(self.open.phase, event)
        if found is None:
            return
        if found.phase in (Phase.RETURNING, Phase.ROLLED_BACK) and self.open.phase is not Phase.RETURNING:
            self.open.evidence["cause"] = workflow.why_back(self.open.phase, event)
        log.info("carrier switch", phase=self.open.phase, happened=event, next_phase=found.phase, target=self.open.target)
        self.open.phase = found.phase
        if found.phase not in workflow.FINAL:
            self._journal.update_switch(self.open)
        for action in found.actions:
            self._act(action)

    def _act(self, action: Action) -> None:
        if self.open is None:
            return self._reports.reattach() if action is Action.REATTACH else None
        match action:
            case Action.LOOK_AT_CARD:
                self._happened(self._look())
            case Action.LOOK_LATER:
                self._later(Action.LOOK_AT_CARD, LOOK_AGAIN_S)
            case Action.ENABLE_WAY_BACK:
                self._deadline_us = None
                self._happened(self._go_back(self.open))
            case Action.ENABLE_WAY_BACK_LATER:
                if self._seen is not Event.CARD_UNREADABLE:
                    self.open.attempts += 1
                    self._journal.update_switch(self.open)
                wait_s = min(RETURN_RETRY_FIRST_S * 2 ** min(max(self.open.attempts - 1, 0), 10), RETURN_RETRY_MAX_S)
                self._later(Action.ENABLE_WAY_BACK, wait_s)
            case Action.RESTART_DEADLINE:
                self._restart_deadline(self.open)
            case Action.REATTACH:
                self._reports.reattach()
            case _:
                self._report(action, self.open)
        return None

    def _report(self, action: Action, told: OpenSwitch) -> None:
        match action:
            case Action.REPORT_EXECUTED:
                record = self._journal.command(told.command_id)
                if record is not None and not record.outcome:
                    self._journal.finish(told.command_id, ResultOutcome.EXECUTED, "", told.evidence)
                self._reports.send_pending(told.command_id)
            case Action.REPORT_FAILED:
                self._end(told, ResultOutcome.FAILED, told.evidence.get("cause", "interrupted"), "")
            case Action.REPORT_ROLLED_BACK:
                self._end(
                    told, ResultOutcome.ROLLED_BACK, told.evidence.get("cause", "card_went_back"), ResultOutcome.ROLLED_BACK
                )
            case Action.REPORT_CLOSED:
                self._end(told, "", "", ResultOutcome.CLOSED)

    def _end(self, ended: OpenSwitch, outcome: str, reason: str, closed: str) -> None:
        self._journal.end_switch(ended, outcome=outcome, reason=reason, closed=closed)
        self.open = self._due = self._due_us = self._deadline_us = None
        self._reports.send_pending(ended.command_id)

    def _later(self, action: Action, wait_s: float) -> None:
        self._due, self._due_us = action, self._clock_us() + int(wait_s * 1e6)

    def _restart_deadline(self, switch: OpenSwitch) -> None:
        self._deadline_us = self._clock_us() + switch.deadline_s * 1_000_000

    # --- the card --------------------------------------------------------------------------------------------------------

    def _go_back(self, switch: OpenSwitch) -> Event:
        seen = self._look()
        if seen is Event.CARD_ON_WAY_BACK:
            return seen
        try:
            profiles = tuple((p.iccid, p.message().profile_class, p.enabled) for p in self._sim.use().profiles())
        except (CardError, PeerError):
            profiles = ()
        wanted = workflow.way_back(switch.previous, switch.target, profiles, switch.attempts)
        return self._enable(EnableProfile(ProfileId.of(wanted)).encode())

    def _enable(self, request: bytes) -> Event:
        """Stores the request on the card, answers what the card wants, resets it, and looks. 9000 alone proves nothing."""
        switch = self.open
        assert switch is not None
        cause = "card_did_not_switch"
        try:
            result = self._store(request)
            if result is not EnableResult.OK:
                cause = result.name.lower()
            self._sim.use().run_proactive()
        except CardGone as error:
            log.warning("the card gave no answer; looking at what it shows", error=str(error))
            cause = "answer_lost"
            self._keep_evidence(switch)
            self._sim.drop()
        except (CardError, PeerError) as error:
            log.warning("the card refused", error=str(error))
            cause = "card_refused"
        seen = self._look(reset=True)
        if switch.phase is Phase.INTENT and seen is not Event.CARD_ON_TARGET:
            switch.evidence["cause"] = cause
        return seen

    def _store(self, request: bytes) -> EnableResult:
        result = EnableResult.UNDEFINED
        for attempt in range(CAT_BUSY_TRIES):
            if attempt:
                self._wait(CAT_BUSY_WAIT_S)
                self._sim.use().run_proactive()
                self._sim.use().reset()
            response = self._sim.use().store_data(request)
            result = EnableResult(es10c.decode_result(response, es10c.TAG_ENABLE_PROFILE))
            if result is not EnableResult.CAT_BUSY:
                break
        return result

    def _look(self, *, reset: bool = False) -> Event:
        """What the card shows, in the table's words."""
        self._seen = self._read(reset=reset)
        return self._seen

    def _read(self, *, reset: bool) -> Event:
        """ICCID and IMSI from the card's files."""
        switch = self.open
        assert switch is not None
        try:
            uicc = self._sim.use()
            if reset:
                uicc.reset()
            iccid, imsi = uicc.iccid(), uicc.imsi()
        except (CardError, PeerError) as error:
            log.warning("the card cannot be read", error=str(error))
            self._keep_evidence(switch)
            self._sim.drop()
            return Event.CARD_UNREADABLE
        self._keep_evidence(switch)
        switch.evidence["iccid_after"], switch.evidence["imsi_after"] = iccid, imsi
        return self._place(switch, iccid)

    def _place(self, switch: OpenSwitch, iccid: str) -> Event:
        if iccid == switch.target:
            return Event.CARD_ON_TARGET
        fallback = switch.phase is Phase.RETURNING and switch.attempts >= workflow.RETURN_ATTEMPTS_BEFORE_FALLBACK
        if iccid == switch.previous or (iccid and fallback):
            return Event.CARD_ON_WAY_BACK
        return Event.CARD_ELSEWHERE

    def _keep_evidence(self, switch: OpenSwitch) -> None:
        apdus = switch.evidence.setdefault("apdus", [])
        apdus.extend(self._sim.take_evidence())
        del apdus[:-APDUS_KEPT]


def is_enable_of(apdus: tuple[bytes, ...], target: str, iccid_by_aid: dict[str, str]) -> bool:
    """True when the requests are exactly one EnableProfile of the target, named by ICCID or by its profile's AID."""
    if len(apdus) != 1:
        return False
    try:
        request = EnableProfile.decode(tlv.decode_only(apdus[0], EnableProfile.TAG))
        named = str(request.profile)
    except PeerError:
        return False
    return request.encode() == apdus[0] and target in (named, iccid_by_aid.get(named))
