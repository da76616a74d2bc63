"""What a switch does to the card: asks it to enable a profile, within bounds, and looks at what it shows then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from simway_protocol.errors import PeerError
from simway_protocol.messages import Profile
from simway_protocol.sim import es10c
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10c import EnableProfile, EnableResult
from simway_protocol.sim.tlv_words import identity_words
from simway_protocol.sim.uicc import NOT_THERE, Uicc

from simway_modem_client.card import SimCard
from simway_modem_client.journal import OpenSwitch
from simway_modem_client.preflight import is_way_back, is_worth_asking, ways_to_ask
from simway_modem_client.switch import Event, Phase
from simway_modem_client.switch_evidence import SwitchEvidence

CAT_BUSY_TRIES = 4
CAT_BUSY_WAIT_S = 0.5
"""catBusy means that the card is in a proactive session, perhaps a REFRESH that nobody fetched or answered: before each further
try it is answered, and the card reset; what the card asks of its terminal after a reset is answered, too."""

log = structlog.get_logger(__name__)


class Sight(NamedTuple):
    """What the card's files show after a reset. ``readable`` false: nothing is known; ``iccid`` empty: no profile is enabled.

    ``is_other``: a card answered, and it is not the one that was meant.

    ``enabled``: the profile that the eUICC lists as enabled, where it lists any. When that is another one, the files are not to
    be believed: they, and the carrier, may change at the next reset.
    """

    readable: bool
    iccid: str = ""
    imsi: str = ""
    enabled: str = ""
    is_other: bool = False

    @property
    def is_stale(self) -> bool:
        """The files are of another profile than the enabled one."""
        return self.readable and bool(self.enabled) and self.enabled != self.iccid


class SwitchCard:
    """The card in the hands of a switch. No method raises ``CardError`` or ``PeerError``; all block on the card.

    ``wait``: sleeps; ``clock_us``: for the timings in evidence.
    """

    def __init__(self, sim: SimCard, clock_us: Callable[[], int], wait: Callable[[float], None]) -> None:
        self._sim = sim
        self._clock_us = clock_us
        self.wait = wait

    def profiles(self, evidence: SwitchEvidence) -> list[Profile]:
        """What the card lists; none when it cannot be read."""
        return self.profiles_of(evidence, ()) or []

    def profiles_of(self, evidence: SwitchEvidence, card: Sequence[str]) -> list[Profile] | None:
        """What the card lists; none when it cannot be read. None: it is another card than ``card``, and is let go of."""
        try:
            uicc = self._sim.use()
            profiles = [info.message() for info in uicc.profiles()]
            if not is_card(uicc, profiles, card):
                self._sim.drop()
                return None
            return profiles
        except (CardError, PeerError) as error:
            self._lost(evidence, error)
            return []
        finally:
            evidence.add_apdus(self._sim.take_evidence())

    def enable(self, evidence: SwitchEvidence, asked: EnableProfile, iccid: str, aid: str) -> str:
        """Asks until the card does it or nothing more is worth asking; why not, empty when it said that it did.

        ``asked`` names the profile ``iccid``; ``aid`` may be empty. What comes by 91xx is fetched and answered.
        """
        begin_us = self._clock_us()
        try:
            with self._sim.use().dialogue():
                result = self._ask(evidence, ways_to_ask(asked, iccid, aid))
                evidence.took("enable", begin_us, self._clock_us())
                begin_us = self._clock_us()
                self._sim.use().run_proactive()
                evidence.took("refresh", begin_us, self._clock_us())
        except CardGone as error:
            self._lost(evidence, error)
            return "answer_lost"
        except (CardError, PeerError) as error:
            log.warning("the card refused", error=str(error))
            return "card_refused"
        finally:
            evidence.add_apdus(self._sim.take_evidence())
        return "" if result is EnableResult.OK else "card_refused" if result is None else result.name.lower()

    def look(self, evidence: SwitchEvidence, not_imsi: str = "", card: Sequence[str] = ()) -> Sight:
        """Resets the card and reads who it is: 9000 alone proves nothing, and before a reset the files may be the old ones.

        A card that still shows the files of another profile, or ``not_imsi``, the IMSI of another one, is let go of, taken up
        again and reset once more. Of another card than ``card`` nothing is believed.
        """
        begin_us = self._clock_us()
        try:
            seen = self._read(self._sim.use(), card)
            if seen.is_stale or (not_imsi and seen.imsi == not_imsi):
                log.warning(
                    "the card shows the old profile after a reset; once more",
                    iccid=identity_words(seen.iccid), enabled=identity_words(seen.enabled),
                )  # fmt: skip
                evidence.add_apdus(self._sim.take_evidence())
                self._sim.drop()
                seen = self._read(self._sim.use(), card)
        except (CardError, PeerError) as error:
            self._lost(evidence, error)
            return Sight(readable=False)
        finally:
            evidence.add_apdus(self._sim.take_evidence())
        if seen.is_other:
            self._sim.drop()
            return seen
        evidence.took("reset_and_read", begin_us, self._clock_us())
        evidence.told |= {"iccid_after": seen.iccid, "imsi_after": seen.imsi}
        if seen.is_stale:
            evidence.told["iccid_enabled"] = seen.enabled
        else:
            evidence.told.pop("iccid_enabled", None)
        return seen

    # --- inside ----------------------------------------------------------------------------------------------------------

    def _ask(self, evidence: SwitchEvidence, ways: list[EnableProfile]) -> EnableResult | None:
        """The last answer; None for a status word that refuses."""
        result: EnableResult | None = EnableResult.UNDEFINED
        while ways:
            request, *ways = ways
            result = self._ask_one(evidence, request)
            ways = [other for other in ways if is_worth_asking(request, result, other)]
        return result

    def _ask_one(self, evidence: SwitchEvidence, request: EnableProfile) -> EnableResult | None:
        for attempt in range(CAT_BUSY_TRIES):
            if attempt:
                self.wait(CAT_BUSY_WAIT_S)
                self._sim.use().run_proactive()
                self._sim.use().reset()
                self._sim.use().run_proactive()
            result = self._store(request)
            by = "iccid" if request.profile.tag == es10c.TAG_ICCID else "aid"
            evidence.add_try(by, request.refresh, "refused" if result is None else result.name.lower())
            if result is not EnableResult.CAT_BUSY:
                break
        return result

    def _store(self, request: EnableProfile) -> EnableResult | None:
        try:
            response = self._sim.use().store_data(request.encode())
        except CardGone:
            raise
        except CardError as error:
            if error.sw is None:
                raise
            log.warning("the card refused", error=str(error))
            return None
        return EnableResult(es10c.decode_result(response, es10c.TAG_ENABLE_PROFILE))

    def _read(self, uicc: Uicc, card: Sequence[str]) -> Sight:
        uicc.reset()
        try:
            iccid = uicc.iccid()
        except CardGone:
            raise
        except CardError as error:
            if error.sw not in NOT_THERE:
                raise
            iccid = ""  # without an enabled profile a card may have no such file
        profiles = uicc.profiles()
        if not is_card(uicc, [info.message() for info in profiles], card):
            log.warning("another card than the switch began on; it is left alone", iccid=identity_words(iccid))
            return Sight(readable=False, is_other=True)
        enabled = next((profile.iccid for profile in profiles if profile.enabled), "")
        if not iccid and (enabled or not profiles):
            return Sight(readable=False)
        return Sight(True, iccid, imsi_of(uicc) if iccid else "", enabled)

    def _lost(self, evidence: SwitchEvidence, error: Exception) -> None:
        log.warning("the card cannot be read; it will be looked at again", error=str(error))
        evidence.add_apdus(self._sim.take_evidence())
        self._sim.drop()


class Before(NamedTuple):
    """The card before a switch. ``active``: ICCID of its files, empty for none; no ``profiles`` on a SIM that is no eUICC.

    ``card``: what it is known by, its EID or its ICCIDs.
    """

    active: str
    imsi: str
    profiles: tuple[Profile, ...]
    card: tuple[str, ...] = ()


def look_before(uicc: Uicc) -> Before:
    """Who the card is and what it holds. Raises ``CardError`` and ``PeerError``."""
    active = uicc.iccid()
    imsi = imsi_of(uicc) if active else ""
    try:
        profiles = tuple(info.message() for info in uicc.profiles())
        eid = eid_of(uicc)
        return Before(active, imsi, profiles, (eid,) if eid else tuple(profile.iccid for profile in profiles))
    except CardError as error:
        if error.sw in NOT_THERE:
            return Before(active, imsi, ())
        raise


def is_card(uicc: Uicc, profiles: Sequence[Profile], card: Sequence[str]) -> bool:
    """Whether this is ``card``: by its EID or, where none is known of that, by any of its ICCIDs. Any is, when nothing is known.

    Raises ``CardGone``.
    """
    return not card or any(profile.iccid in card for profile in profiles) or eid_of(uicc) in card


def eid_of(uicc: Uicc) -> str:
    """The EID; empty where the card does not tell. Raises ``CardGone``."""
    try:
        return uicc.eid()
    except CardGone:
        raise
    except (CardError, PeerError) as error:
        log.warning("the EID cannot be read", error=str(error))
        return ""


def place(switch: OpenSwitch, iccid: str) -> Event:
    """What a card that shows ``iccid`` means to an open switch, in the words of its table."""
    if not iccid:
        return Event.CARD_EMPTY
    if iccid == switch.target:
        return Event.CARD_ON_TARGET
    attempts = switch.attempts if switch.phase is Phase.RETURNING else 0
    gone_back = is_way_back(iccid, switch.way_back or switch.previous, switch.target, attempts)
    return Event.CARD_ON_WAY_BACK if gone_back else Event.CARD_ELSEWHERE


def imsi_of(uicc: Uicc) -> str:
    """The IMSI; empty where the card does not tell. Raises ``CardGone``."""
    try:
        return uicc.imsi()
    except CardGone:
        raise
    except (CardError, PeerError) as error:
        log.warning("the IMSI cannot be read", error=str(error))
        return ""
