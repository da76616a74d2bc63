"""The device as its card's terminal (``simway_protocol.sim.terminal``): clock, outbox and radio around ``terminal_core``."""

from __future__ import annotations

import hashlib
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import structlog
from simway_protocol.sim import report
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.proactive import ProactiveCommand, TerminalResponse
from simway_protocol.sim.proactive_objects import Address

from simway_modem_client.outbox import Outbox, OutboxClosed
from simway_modem_client.sources import tell_dropped
from simway_modem_client.terminal_channels import Answer, IsPlatform
from simway_modem_client.terminal_core import PROFILE, Surroundings, TerminalCore

REFRESHES_BURST = 3
REFRESH_EVERY_S = 300
"""A card that asks for more resets than this is refused them for ``PAUSE_S``."""
PAUSE_S = 60
"""So long a card waits that could not be satisfied, whatever it wants."""
STORE_MAX_S = 2.0
"""A pack that the disk does not take in this time is not acknowledged to the card, which sends it again."""
_TEST_TAC = "00999900"
_SERIAL_DIGITS = 6

log = structlog.get_logger(__name__)


class SimTerminal:
    """One device's terminal, for the thread that uses the card. ``perform`` blocks on the outbox, at most ``STORE_MAX_S``.

    ``clock_us``: UTC microseconds on a steady clock. ``registration``: the radio as it is now.
    """

    profile = PROFILE

    def __init__(
        self,
        *,
        device: str,
        outbox: Outbox,
        clock_us: Callable[[], int],
        registration: Callable[[], Registration],
        is_platform: IsPlatform,
    ) -> None:
        self._outbox = outbox
        self._clock_us = clock_us
        self._registration = registration
        self._core = TerminalCore(imei_of(device), is_platform)
        self._polled_us = clock_us()
        self._paused_until_us = 0
        self._refreshes: deque[int] = deque()
        self.endless = 0
        """How often a card had to be left although it wanted still more."""

    # --- as the card's side of the client sees it ----------------------------------------------------------------------

    def perform(self, command: ProactiveCommand) -> TerminalResponse:
        """As ``Terminal.perform``."""
        answer = self._core.perform(command, Surroundings(self._clock_us(), self._registration()))
        if answer.pack is not None:
            answer = self._store(answer)
        log.debug("the SIM asked", command=command.name, result=f"{answer.result:02X}", more=answer.additional.hex())
        return TerminalResponse.to(command, answer.result, answer.additional, *answer.items)

    def card_reset(self) -> None:
        """As ``Terminal.card_reset``."""
        self._core.card_reset()
        self._polled_us = self._clock_us()

    def envelope(self) -> bytes | None:
        """As ``Terminal.envelope``."""
        return self._core.envelope(self._clock_us())

    def envelope_delivered(self) -> None:
        """As ``Terminal.envelope_delivered``."""
        self._core.envelope_delivered(self._clock_us())

    # --- for whoever looks after the card ------------------------------------------------------------------------------

    def wanted(self, *, pending: bool) -> bool:
        """Whether the card is to be looked after now. ``pending``: its latest status word was 91xx."""
        if self._clock_us() < self._paused_until_us:
            return False
        return pending or self.poll_due or self.envelope() is not None

    @property
    def poll_due(self) -> bool:
        """The card asked for a STATUS by now."""
        interval_s = self._core.poll_interval_s
        return interval_s is not None and self._clock_us() - self._polled_us >= interval_s * 1_000_000

    def polled(self) -> None:
        """The card had its STATUS, or cannot have it now."""
        self._polled_us = self._clock_us()

    def may_refresh(self) -> bool:
        """A card asks for a reset: True when it has not asked too often. Takes one from its allowance."""
        now_us = self._clock_us()
        self._refreshes = deque((at for at in self._refreshes if now_us - at < REFRESH_EVERY_S * 1_000_000), REFRESHES_BURST)
        if len(self._refreshes) < REFRESHES_BURST:
            self._refreshes.append(now_us)
            return True
        self.pause("it asks for one reset after another")
        return False

    def pause(self, why: str) -> None:
        """The card does not come to an end: it waits a while, and everything else goes on."""
        self.endless += 1
        self._paused_until_us = self._clock_us() + PAUSE_S * 1_000_000
        log.warning("the SIM wants something without an end; leaving it for a while", why=why, pause_s=PAUSE_S)

    def describe(self) -> dict[str, Any]:
        """Counts and the poll interval, for status and people."""
        return {
            "poll_interval_s": self._core.poll_interval_s, "commands": self._core.commands, "beyond": self._core.beyond,
            "endless": self.endless, **asdict(self._core.channels.counts),
        }  # fmt: skip

    # --- inside --------------------------------------------------------------------------------------------------------

    def _store(self, answer: Answer) -> Answer:
        """The receipt is true: it is made once the readings are on the disk."""
        assert answer.pack is not None
        entries, refused = answer.pack.entries, answer.pack.refused
        if refused:
            log.warning("the SIM sent records that are no readings of its own; counted", records=refused)
        if entries and not self._put(answer):
            log.warning("what the SIM sent cannot be stored; it will send again", why=self._outbox.trouble or "too slow")
            return self._core.channels.not_stored(answer)
        log.info("the SIM speaks", sensors=sorted({entry.sensor for entry in entries}), readings=len(entries))
        return self._core.channels.stored(answer)

    def _put(self, answer: Answer) -> bool:
        assert answer.pack is not None
        if self._outbox.trouble is not None:
            return False
        try:
            tell_dropped(self._outbox.put(answer.pack.entries))
        except OutboxClosed:
            return False
        return self._outbox.flush(STORE_MAX_S)


def platform_at(host: str, port: int) -> IsPlatform:
    """What of the addresses that a card may name is the platform: the one that SERVER_HOST and SERVER_PORT mean, and the
    placeholder of ``report``. Asking may block on the resolver."""

    def is_platform(address: Address, to_port: int) -> bool:
        if address == report.PLATFORM_ADDRESS:
            return to_port == report.PLATFORM_PORT
        if to_port != port:
            return False
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError:
            return False
        return str(address) in {place[0] for *_, place in found}

    return is_platform


def imei_of(device: str) -> str:
    """A device without a modem has no IMEI: one of the range for tests (reporting body 00), always the same for a device id."""
    digest = int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], "big")
    return f"{_TEST_TAC}{digest % 10**_SERIAL_DIGITS:0{_SERIAL_DIGITS}d}0"
