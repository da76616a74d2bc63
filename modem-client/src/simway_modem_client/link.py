"""The link to the server: attaches with back-off, feeds the endpoint, hands its events on. ``udp_loop`` holds the socket.

One thread runs it. Card and disk are called from here, so a slow card makes the link wait; the server repeats what it misses.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from simway_backbone import metrics
from simway_protocol.errors import PeerError
from simway_protocol.sim.bearer import Bearer, Registration
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.tlv_words import identity_words
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import (
    Acknowledged,
    AttachedTo,
    AttachRefused,
    BusyUntil,
    Challenged,
    ClientEvent,
    CommandArrived,
    Refused,
    SessionLost,
    Settled,
)
from simway_protocol.udp.limiter import Limiter

from simway_modem_client.agent import Agent
from simway_modem_client.bearers.none import NoBearer
from simway_modem_client.card import SimCard
from simway_modem_client.keys import KeyProvider
from simway_modem_client.outbox import Outbox
from simway_modem_client.sender import Sender

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 60.0
REGISTRATION_POLL_S = 1.0
"""How often a modem that is not on the network is asked again."""
ATTACH_TIMEOUT_S = 20.0
"""An attach that takes longer begins anew: the name is resolved again, and the card read."""
AUTHENTICATE_PER_S = 1
AUTHENTICATE_BURST = 5
"""The card answers challenges no more often than this, whatever the network asks."""
ICCID_POLL_S = 60.0
"""How often the card is looked at while attached: somebody may have switched it by other means."""
OUTBOX_POLL_S = 0.25
"""How often readings are looked for that another process put into the outbox."""

log = structlog.get_logger(__name__)


class Path(Protocol):
    """Where datagrams go: opened anew for each attach, since the name's address or the bearer may have changed."""

    def reopen(self) -> None:
        """Resolves the server's name and opens the way. May block. Raises ``OSError``."""


@dataclass
class LinkState:
    """What ``status`` shows. Times by the device's UTC clock, microseconds."""

    attached: bool = False
    iccid: str = ""
    generation: int = 0
    rtt_us: int | None = None
    attaches: int = 0
    attached_since_us: int = 0
    trouble: str = "not attached yet"
    refused_datagrams: int = 0


class Link:
    """One device's link. Not thread-safe. ``clock_us``: one steady clock, UTC microseconds at its start.

    ``bearer``: whose registration is waited for before each attach; without one, this machine's own network.
    """

    def __init__(
        self,
        *,
        endpoint: ClientEndpoint,
        outbox: Outbox,
        agent_of: Callable[[Link], Agent],
        keys: KeyProvider,
        sim: SimCard,
        path: Path,
        bearer: Bearer | None = None,
        boot_counter: int,
        last_counter: Callable[[], int],
        clock_us: Callable[[], int],
        rng: random_module.Random | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.state = LinkState()
        self._outbox = outbox
        self._sender = Sender(endpoint, outbox)
        self._keys = keys
        self._sim = sim
        self._path = path
        self._bearer = bearer or NoBearer()
        self._boot_counter = boot_counter
        self._last_counter = last_counter
        self._clock_us = clock_us
        self._rng = rng or random_module.Random()
        self._failures = 0
        self._attach_at_us: int | None = None
        self._attach_until_us: int | None = None
        self._attaching_iccid = ""
        """Who the card is; ``_asked_iccid``: whom the ATTACH under way names, which may be another by now."""
        self._asked_iccid = ""
        self._identity_until_us: int | None = None
        self._card_limit = Limiter(AUTHENTICATE_PER_S, AUTHENTICATE_BURST)
        self._challenge: Challenged | None = None
        self._reattach_wanted = False
        self._poll_card_us = 0
        self.agent = agent_of(self)

    # --- driven by the shell -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Once: resolves what was left open, then attaches."""
        self._attach_at_us = self._clock_us()
        self.agent.boot()

    def receive(self, datagram: bytes) -> None:
        """Takes one datagram."""
        now_us = self._clock_us()
        self._handle(self.endpoint.receive(datagram, now_us), now_us)

    def tick(self) -> None:
        """Does what is due: timers, attaching, sending from the outbox."""
        now_us = self._clock_us()
        self._handle(self.endpoint.tick(now_us), now_us)
        self.agent.tick(now_us)
        if self._sim.tick():
            self.reattach()
        self._look_after_attach(now_us)
        self._answer_challenge()
        if self.endpoint.attached:
            self._sender.pump(now_us)
            self._poll_card(now_us)
        self._sim.release_if_idle()

    def next_wait_s(self) -> float:
        """How long the shell may wait for a datagram before ``tick`` is due."""
        now_us = self._clock_us()
        times = [self.endpoint.next_deadline_us(), self.agent.next_deadline_us(), self._attach_at_us, self._attach_until_us]
        due_us = min((at for at in times if at is not None), default=now_us + 1_000_000)
        return min(max(0.0, (due_us - now_us) / 1e6), OUTBOX_POLL_S)

    def take_output(self) -> list[bytes]:
        """The datagrams to send now."""
        return self.endpoint.take_output(self._clock_us())

    def registration(self) -> Registration:
        """The bearer's, as it is now. From any thread."""
        return self._bearer.registration()

    def use_identity(self) -> None:
        """Reads who the card is now and has the bearer register as that. Raises ``CardError`` and ``PeerError``."""
        uicc = self._sim.use()
        iccid = uicc.iccid()
        try:
            imsi = uicc.imsi() if iccid else ""
        except CardGone:
            raise
        except (CardError, PeerError) as error:
            log.warning("the IMSI cannot be read; the bearer goes by the ICCID", error=str(error))
            imsi = ""
        self._bearer.use_identity(iccid, imsi)
        self._attaching_iccid = iccid
        self._identity_until_us = self._clock_us() + int(ICCID_POLL_S * 1e6)

    def reattach(self) -> None:
        """The card's identity may have changed: attach anew, at once."""
        self._failures = 0
        self._identity_until_us = None
        self._reattach_wanted = True
        self._attach_at_us = self._clock_us()

    # --- attaching ---------------------------------------------------------------------------------------------------

    def _look_after_attach(self, now_us: int) -> None:
        if self._attach_until_us is not None and now_us >= self._attach_until_us:
            self._failed("the server does not answer; check SERVER_HOST, SERVER_PORT and the way between")
        if self._attach_at_us is not None and now_us >= self._attach_at_us:
            self._attach_at_us = None
            self._attach(now_us)

    def _attach(self, now_us: int) -> None:
        try:
            if self._identity_until_us is None or now_us >= self._identity_until_us:
                self.use_identity()
            registration = self._bearer.registration()
            if not (registration.registered and registration.data):
                return self._wait_for_network(registration)
            self._identity_until_us = None
            self._path.reopen()
        except (CardError, PeerError) as error:
            self._sim.drop()
            return self._failed(f"the SIM cannot be read: {error}")
        except OSError as error:
            return self._failed(str(error))
        self._reattach_wanted = False
        self._challenge = None
        self._asked_iccid = self._attaching_iccid
        began_us = self._clock_us()
        self._attach_until_us = began_us + int(ATTACH_TIMEOUT_S * 1e6)
        self.endpoint.attach(
            iccid=self._asked_iccid,
            boot_counter=self._boot_counter,
            epoch=self._outbox.epoch,
            last_counter=self._last_counter(),
            now_us=began_us,
        )
        return None

    def _wait_for_network(self, registration: Registration) -> None:
        """Looks again in a second, for as long as it takes; no card is read meanwhile."""
        trouble = f"not on the network: {registration_words(registration)}"
        if trouble != self.state.trouble:
            log.warning("not attached", why=trouble)
        self.state.attached = self.endpoint.attached
        self.state.trouble = trouble
        self._attach_until_us = None
        self._attach_at_us = self._clock_us() + int(REGISTRATION_POLL_S * 1e6)

    def _failed(self, trouble: str, at_least_s: float = 0.0) -> None:
        """Tries again later: exponential, with jitter, so that a thousand devices do not come back in one second."""
        delay_s = max(min(BACKOFF_FIRST_S * 2**self._failures, BACKOFF_MAX_S), at_least_s) * self._rng.uniform(0.5, 1.5)
        self._failures = min(self._failures + 1, 16)
        self._attach_until_us = None
        self._attach_at_us = self._clock_us() + int(delay_s * 1e6)
        self.state.attached = self.endpoint.attached
        self.state.trouble = trouble
        log.warning("not attached", why=trouble, again_in_s=round(delay_s, 1))

    # --- events ------------------------------------------------------------------------------------------------------

    def _handle(self, events: list[ClientEvent], now_us: int) -> None:
        for event in events:
            match event:
                case Acknowledged():
                    self._sender.acknowledged(event)
                case Challenged():
                    self._challenge = event
                    self._answer_challenge()
                case AttachedTo():
                    self._attached(event, now_us)
                case AttachRefused():
                    self._failed(_refusal_words(event.reason), event.retry_after_ms / 1000)
                case SessionLost():
                    self._lost(event)
                case CommandArrived():
                    self.agent.command(event)
                case Settled():
                    self.agent.settled(event)
                case BusyUntil():
                    self.state.trouble = "the server is busy"
                case Refused():
                    self.state.refused_datagrams += 1
                    metrics.DEVICE_BAD_DATAGRAMS.labels(event.reason).inc()

    def _answer_challenge(self) -> None:
        """Asks the key's holder, unless that was asked too often lately: then at a later tick."""
        event = self._challenge
        if event is None or not self._card_limit.take(self._clock_us()):
            return
        self._challenge = None
        try:
            answer = self._keys.authenticate(event.challenge)
        except (CardError, PeerError) as error:
            self._sim.drop()
            self._failed(f"the card does not answer the server's challenge: {error}")
            return
        self.endpoint.answer(answer.response, answer.session_key, self._clock_us())

    def _attached(self, event: AttachedTo, received_us: int) -> None:
        self._failures = 0
        self._attach_until_us = None
        if not self._reattach_wanted:
            self._attach_at_us = None
        self.state = LinkState(
            attached=True, iccid=self._asked_iccid, generation=event.generation, attaches=self.state.attaches + 1,
            attached_since_us=self._clock_us(), trouble="", refused_datagrams=self.state.refused_datagrams,
        )  # fmt: skip
        log.info("attached", iccid=identity_words(self._asked_iccid), generation=event.generation)
        self._poll_card_us = self._clock_us() + int(ICCID_POLL_S * 1e6)
        self._sender.begin()
        self.agent.attached(self._asked_iccid, event.server_time_us, received_us)

    def _lost(self, event: SessionLost) -> None:
        self.state.attached = False
        self.state.trouble = f"the session is over: {event.reason}"
        log.info("session lost", reason=event.reason)
        if self._attach_at_us is None and self._attach_until_us is None:
            self._attach_at_us = self._clock_us() + int(self._rng.uniform(0, BACKOFF_FIRST_S) * 1e6)

    def _poll_card(self, now_us: int) -> None:
        if now_us < self._poll_card_us:
            return
        self._poll_card_us = now_us + int(ICCID_POLL_S * 1e6)
        try:
            iccid = self._sim.use().iccid()
        except (CardError, PeerError) as error:
            self._sim.drop()
            log.warning("the SIM cannot be read", error=str(error))
            return
        if iccid != self.state.iccid and self._attach_until_us is None:
            log.warning("the SIM shows another profile than the session was attached with", iccid=identity_words(iccid))
            self.reattach()

    def describe(self) -> dict[str, Any]:
        """What a ping answers with."""
        stats = self._outbox.stats()
        return {
            "iccid": self.state.iccid, "rtt_us": self.endpoint.rtt_us, "outbox_waiting": stats.waiting,
            "outbox_dropped": stats.dropped_total, "registration": self.registration().evidence(),
        }  # fmt: skip


_CAUSE_WORDS = {
    "no_identity": "no profile is enabled",
    "no_coverage": "no coverage",
    "attaching": "registering",
    "denied": "the network refuses this SIM",
    "no_data": "registered, but the network carries no data",
    "modem_gone": "the modem does not answer",
    "wrong_identity": "the modem shows another SIM's identity than the card, and is restarted",
}


def registration_words(registration: Registration) -> str:
    """Why a modem is off the network, for people."""
    return _CAUSE_WORDS.get(registration.cause, registration.cause or str(registration.state))


def _refusal_words(reason: str) -> str:
    hint = {
        "bad_proof": "; check DEVICE_ID, DEVICE_KEY_VERSION and that the key is the one the platform showed",
        "unknown_device": "; enrol the device on the platform",
        "revoked": "; an operator revoked the device",
        "version": "; this modem client and the server speak different versions of the protocol",
    }.get(reason, "")
    return f"the server refused: {reason}{hint}"
