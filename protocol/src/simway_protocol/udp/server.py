"""The server's end of the UDP protocol, sans-IO: datagrams and calls in, events and datagrams out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simway_protocol.outcomes import Outcome
from simway_protocol.udp.cookie import CookiePeriod
from simway_protocol.udp.events import Address, ServerEvent

__all__ = ["CookiePeriod", "ServerEndpoint"]

IDLE_TIMEOUT_US = 120_000_000
SESSIONS_MAX = 100_000


class ServerEndpoint:
    """All sessions of one worker. Not thread-safe; nothing blocks. ``now_us``: one clock, UTC microseconds."""

    def __init__(
        self,
        *,
        worker_index: int,
        device_key: Callable[[str, int], bytes],
        check_device: Callable[[str, int], str | None],
        random: Callable[[int], bytes],
        idle_timeout_us: int = IDLE_TIMEOUT_US,
        sessions_max: int = SESSIONS_MAX,
    ) -> None:
        raise NotImplementedError

    def set_cookie_periods(self, periods: Sequence[CookiePeriod]) -> None:
        """The periods alive, the newest last; call about every 30 s with the newest two."""
        raise NotImplementedError

    def receive(self, datagram: bytes, address: Address, now_us: int) -> list[ServerEvent]:
        """Takes one datagram; never raises, whatever the bytes."""
        raise NotImplementedError

    def acknowledge(
        self, session_id: bytes, epoch: str, first: int, last: int, outcome: Outcome, detail: str = "", later_ms: int = 0
    ) -> None:
        """Says what became of the sequence numbers ``first``..``last``; coalesced until ``take_output``."""
        raise NotImplementedError

    def submit(self, device: str, command_id: bytes, type: str, body: bytes, mac: bytes, expires_us: int) -> None:
        """Holds a command, cancel or confirm until a validated session lives; then sends it until answered. Idempotent."""
        raise NotImplementedError

    def forget(self, device: str, command_id: bytes) -> None:
        """Sends nothing more for this command."""
        raise NotImplementedError

    def settle(self, session_id: bytes, command_id: bytes, what: str) -> None:
        """``what``: result or closed; it is in the log now, and the device is told."""
        raise NotImplementedError

    def supersede(self, device: str, generation: int) -> list[ServerEvent]:
        """Drops sessions of the device older than ``generation``."""
        raise NotImplementedError

    def refuse(self, device: str, reason: str) -> list[ServerEvent]:
        """Ends all sessions of the device (revoked)."""
        raise NotImplementedError

    def busy(self, retry_after_ms: int) -> None:
        """While above 0, HELLO is answered by BUSY."""
        raise NotImplementedError

    def tick(self, now_us: int) -> list[ServerEvent]:
        """Does what is due by time; call at ``next_deadline_us`` and after ``submit``."""
        raise NotImplementedError

    def next_deadline_us(self) -> int | None:
        """When ``tick`` is wanted next; may lie in the past."""
        raise NotImplementedError

    def take_output(self, now_us: int) -> list[tuple[bytes, Address]]:
        """The datagrams to send now, one ACK for each session that has something acknowledged."""
        raise NotImplementedError

    @property
    def sessions(self) -> int:
        """How many sessions live."""
        raise NotImplementedError
