"""The card's proactive side (ETSI TS 102 223): what it wants the terminal to do, announced by 91xx.

States: idle -> pending (91xx on every success) -> fetched -> idle by TERMINAL RESPONSE. A reset ends all of it. A REFRESH goes
before everything else; what the card's own application (``reporter``) wants is offered when nothing else waits, and taken back
when a switch comes: an offer alone makes no session, and no switch fails for it.
"""

from __future__ import annotations

from collections import deque

from simway_protocol.errors import PeerError
from simway_protocol.sim import status
from simway_protocol.sim.proactive import ProactiveCommand, Refresh, TerminalResponse
from simway_protocol.sim.proactive_commands import Refresh as RefreshCommand
from simway_protocol.sim.proactive_envelopes import parse_envelope

from simway_virtual_sim.replies import Refusal, wrong_length
from simway_virtual_sim.reporter import Reporter

_NUMBERS = 254


class Toolkit:
    """A queue of proactive commands, one open at a time."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.reset()

    def reset(self) -> None:
        """Power-on: nothing is pending, and no terminal is known."""
        self._pending: deque[bytes] = deque()
        self._offer = b""
        self._open: ProactiveCommand | None = None
        self._open_is_offer = False
        self._number = 0
        self._reporter.reset()

    @property
    def busy(self) -> bool:
        """A REFRESH waits, or a command was fetched and not answered: no further session may begin."""
        return bool(self._pending) or self._open is not None

    @property
    def pending_bytes(self) -> int:
        """The length of what FETCH would give, 0 for nothing."""
        self._offer_next()
        return len(self._next) if self._open is None else 0

    @property
    def _next(self) -> bytes:
        return self._pending[0] if self._pending else self._offer

    # --- what the card wants -------------------------------------------------------------------------------------------

    def ask_refresh(self) -> None:
        """REFRESH, UICC reset."""
        self._reporter.abandon()
        self._offer = b""
        self._pending.append(RefreshCommand(Refresh.UICC_RESET).encode(self._count()).encode())

    def _offer_next(self) -> None:
        if self._offer or self.busy:
            return
        wanted = self._reporter.wants()
        if wanted is not None:
            self._offer = wanted.encode(self._count()).encode()

    def _count(self) -> int:
        self._number = self._number % _NUMBERS + 1
        return self._number

    # --- what the terminal does ----------------------------------------------------------------------------------------

    def terminal_profile(self, profile: bytes) -> None:
        """TERMINAL PROFILE: what the terminal can do, from now on."""
        self._offer = b""
        self._reporter.profile(profile)

    def polled(self) -> None:
        """STATUS."""
        if not self.busy:
            self._reporter.polled()

    def fetch(self, length: int | None) -> bytes:
        """FETCH: 6Cxx for another length, 6985 when nothing waits."""
        if not self.pending_bytes:
            raise Refusal(status.CONDITIONS_NOT_SATISFIED)
        if length != self.pending_bytes:
            raise wrong_length(self.pending_bytes)
        data, self._open_is_offer = self._next, not self._pending
        if self._open_is_offer:
            self._offer = b""
        else:
            self._pending.popleft()
        self._open = ProactiveCommand.decode(data)
        return data

    def terminal_response(self, data: bytes) -> None:
        """TERMINAL RESPONSE to the command fetched last; 6985 without one, 6A80 for another's."""
        if self._open is None:
            raise Refusal(status.CONDITIONS_NOT_SATISFIED)
        try:
            response = TerminalResponse.decode(data)
        except PeerError as error:
            raise Refusal(status.WRONG_DATA) from error
        if response[:3] != self._open[:3]:
            raise Refusal(status.WRONG_DATA)
        self._open = None
        if self._open_is_offer:
            self._reporter.answered(response)

    def envelope(self, data: bytes) -> None:
        """ENVELOPE: the card asked for no event and started no timer, so there is nothing to do. 6A80 for what is none."""
        try:
            parse_envelope(data)
        except PeerError as error:
            raise Refusal(status.WRONG_DATA) from error
