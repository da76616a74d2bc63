"""The card's proactive side (ETSI TS 102 223): what it wants the terminal to do, announced by 91xx.

States: idle -> pending (91xx on every success) -> fetched -> idle by TERMINAL RESPONSE. A reset ends all of it.
"""

from __future__ import annotations

from collections import deque

from simway_protocol.errors import PeerError
from simway_protocol.sim import status
from simway_protocol.sim.proactive import CommandType, ProactiveCommand, Refresh, TerminalResponse

from simway_virtual_sim.replies import Refusal, wrong_length


class Toolkit:
    """A queue of proactive commands, one open at a time."""

    def __init__(self) -> None:
        self._pending: deque[bytes] = deque()
        self._open: ProactiveCommand | None = None
        self._number = 0

    def reset(self) -> None:
        """Power-on: nothing is pending."""
        self._pending.clear()
        self._open = None
        self._number = 0

    @property
    def busy(self) -> bool:
        """A proactive command waits, or was fetched and not answered: no further session may begin."""
        return bool(self._pending) or self._open is not None

    @property
    def pending_bytes(self) -> int:
        """The length of what FETCH would give, 0 for nothing."""
        return len(self._pending[0]) if self._pending and self._open is None else 0

    def ask_refresh(self) -> None:
        """REFRESH, UICC reset."""
        self._number = self._number % 254 + 1
        self._pending.append(ProactiveCommand(self._number, CommandType.REFRESH, Refresh.UICC_RESET).encode())

    def fetch(self, length: int | None) -> bytes:
        """FETCH: 6Cxx for another length, 6985 when nothing waits."""
        if not self.pending_bytes:
            raise Refusal(status.CONDITIONS_NOT_SATISFIED)
        if length != self.pending_bytes:
            raise wrong_length(self.pending_bytes)
        data = self._pending.popleft()
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
