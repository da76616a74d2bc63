"""The sessions of one worker, and which of a device's sessions counts.

A session is *unconfirmed* from ATTACHED until its first valid frame under the traffic keys, at most one for a device; then it is
*live*, at most one for a device. Only live sessions are told of: an unconfirmed one comes and goes in silence.
"""

from __future__ import annotations

from simway_protocol.udp.events import SessionEnded
from simway_protocol.udp.frames import COUNTER_MAX
from simway_protocol.udp.server_session import Session
from simway_protocol.udp.timing import SECOND_US, UNCONFIRMED_TIMEOUT_US

_COUNTER_ROOM = 1_000_000
"""A session whose own counter comes this near to the end is over."""


class SessionTable:
    """Sessions by id and by device, and the highest attach generation seen of each device."""

    def __init__(self, idle_timeout_us: int, sessions_max: int) -> None:
        self.by_id: dict[bytes, Session] = {}
        self.live: dict[str, Session] = {}
        self._unconfirmed: dict[str, Session] = {}
        self._generations: dict[str, int] = {}
        self.idle_timeout_us = idle_timeout_us
        self._max = sessions_max
        self.next_sweep_us: int | None = None

    def is_full_for(self, device: str) -> bool:
        """Whether a device without a session would be one too many."""
        return len(self.by_id) >= self._max and device not in self.live and device not in self._unconfirmed

    def next_generation(self, device: str, least: int) -> int:
        """``least``, or one more than the highest seen."""
        generation = max(least, self._generations.get(device, 0) + 1)
        self._generations[device] = generation
        return generation

    def add(self, session: Session, now_us: int) -> None:
        """Takes an unconfirmed session in; it replaces another of its device."""
        replaced = self._unconfirmed.get(session.device)
        if replaced is not None:
            self._remove(replaced)
        self.by_id[session.session_id] = self._unconfirmed[session.device] = session
        if self.next_sweep_us is None:
            self.next_sweep_us = now_us + self._sweep_interval_us

    def confirm(self, session: Session) -> list[SessionEnded]:
        """Makes a session the live one of its device; its predecessor ends."""
        del self._unconfirmed[session.device]
        older = self.live.get(session.device)
        ended = self.end([older] if older else [], "superseded")
        session.confirmed, session.answer = True, b""
        self.live[session.device] = session
        return ended

    def of(self, device: str) -> list[Session]:
        """The sessions of a device: none, one or two."""
        return [table[device] for table in (self.live, self._unconfirmed) if device in table]

    def supersede(self, device: str, generation: int) -> list[SessionEnded]:
        """Ends the device's sessions older than ``generation``, and goes on above it."""
        self._generations[device] = max(generation, self._generations.get(device, 0))
        return self.end([session for session in self.of(device) if session.generation < generation], "superseded")

    def end(self, sessions: list[Session], reason: str) -> list[SessionEnded]:
        """Removes sessions; what is to be told of them."""
        for session in sessions:
            self._remove(session)
        return [
            SessionEnded(session.device, session.session_id, session.generation, reason)
            for session in sessions
            if session.confirmed
        ]

    def sweep(self, now_us: int) -> list[SessionEnded]:
        """Ends what was silent for too long, or has used up its counters, if it is time to look."""
        if self.next_sweep_us is None or now_us < self.next_sweep_us:
            return []
        over = [session for session in self.by_id.values() if self._is_over(session, now_us)]
        ended = self.end(over, "idle")
        self.next_sweep_us = now_us + self._sweep_interval_us if self.by_id else None
        return ended

    def begin_anew(self, now_us: int) -> None:
        """No silence began after ``now_us``: the clock was set back."""
        for session in self.by_id.values():
            session.last_us = min(session.last_us, now_us)
        if self.next_sweep_us is not None:
            self.next_sweep_us = min(self.next_sweep_us, now_us + self._sweep_interval_us)

    def _is_over(self, session: Session, now_us: int) -> bool:
        limit_us = self.idle_timeout_us if session.confirmed else UNCONFIRMED_TIMEOUT_US
        return now_us - session.last_us >= limit_us or session.counter >= COUNTER_MAX - _COUNTER_ROOM

    def _remove(self, session: Session) -> None:
        del self.by_id[session.session_id]
        del (self.live if session.confirmed else self._unconfirmed)[session.device]

    @property
    def _sweep_interval_us(self) -> int:
        return min(max(self.idle_timeout_us // 8, SECOND_US // 10), 5 * SECOND_US)
