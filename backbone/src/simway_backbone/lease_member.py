"""A member of a group that is kept by leases (``leases``): a thread takes its turns, whatever the thread that reads is doing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from simway_backbone import group_reader
from simway_backbone.group_reader import Shares
from simway_backbone.leases import BEATS_PER_SESSION, HUNGRY_S, LeaseTable, Turn
from simway_backbone.log import LogUnavailable

CLOSE_S = 5.0
"""How long closing waits for a turn under way."""

_log = structlog.get_logger("log")


class LeaseMember:
    """See ``Membership``. Joins at once. ``clock_s``: the clock that all members of the group share."""

    def __init__(
        self, table: LeaseTable, member: str, session_s: float, *, stall_s: float | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._table, self._member, self._session_s, self._clock_s = table, member, session_s, clock_s
        self._stall_s = group_reader.STALL_S if stall_s is None else stall_s
        self._shares = Shares()
        self._lock = threading.Lock()
        self._excess: frozenset[int] = frozenset()
        self._let_go: frozenset[int] = frozenset()
        self._asked_s: dict[int, float] = {}
        self._error: LogUnavailable | None = None
        self._tried_s = self._polled_s = clock_s()
        self._awake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name=f"group-{member}", daemon=True)
        self._thread.start()

    def current(self) -> dict[int, int]:
        """See ``Membership``. Nothing after a sleep longer than the session: others have been given it by now.

        A turn that failed takes nothing away: what keeps this one from the table keeps the others, too.
        """
        with self._lock:
            now_s = self._clock_s()
            stalled, self._polled_s = now_s - self._polled_s > self._stall_s, now_s
            if now_s - self._tried_s > self._session_s:
                self._shares.clear()
        if stalled:
            self._awake.set()
        return self._shares.now()

    def wait(self, timeout_s: float) -> None:
        """See ``Membership``."""
        self._shares.wait(timeout_s)
        if self._error is not None and not self._shares.now():
            raise self._error

    def caught_up(self, shares: Mapping[int, int]) -> None:
        """See ``Membership``."""
        with self._lock:
            done = self._excess - shares.keys()
            self._let_go, self._excess = self._let_go | done, self._excess - done
        if done:
            self._awake.set()

    def close(self) -> None:
        """See ``Membership``."""
        self._closing = True
        self._awake.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closing:
            pause_s = self._session_s / BEATS_PER_SESSION
            try:
                if self._clock_s() - self._polled_s > self._stall_s:
                    self._step_out()
                else:
                    turn = self._take_turn()
                    if len(turn.held) < turn.quota:
                        pause_s = min(pause_s, HUNGRY_S)
            except LogUnavailable as error:
                _log.warning("no turn in the group", member=self._member, error=str(error))
                self._error = error
            except Exception as error:
                _log.exception("no turn in the group", member=self._member)
                self._error = LogUnavailable(f"no turn in the group: {error!r}")
            self._awake.wait(pause_s)
            self._awake.clear()
        try:
            self._table.leave(self._member)
        except LogUnavailable as error:
            _log.warning("left the group without a word", member=self._member, error=str(error))

    def _take_turn(self) -> Turn:
        with self._lock:
            let_go = self._let_go | self._overdue()
        began_s = self._clock_s()
        try:
            turn = self._table.turn(self._member, self._session_s, let_go)
        finally:
            self._tried_s = began_s
        with self._lock:
            self._error = None
            self._let_go -= let_go
            if turn.anew:
                self._shares.clear()
            self._shares.take(turn.excess)
            self._asked_s = {partition: self._asked_s.get(partition, began_s) for partition in turn.excess}
            self._excess = turn.excess - self._let_go
            self._shares.give(turn.held - turn.excess)
        return turn

    def _overdue(self) -> frozenset[int]:
        """What the reader was asked for a whole session ago, and holds on to: others do not wait for it longer."""
        now_s = self._clock_s()
        return frozenset(partition for partition, asked_s in self._asked_s.items() if now_s - asked_s > self._session_s)

    def _step_out(self) -> None:
        """Nobody has polled for long: who reads hangs, and the group goes on without."""
        if self._shares.now():
            _log.warning("left the group: nothing has polled", member=self._member, for_s=self._stall_s)
        self._shares.clear()
        self._table.leave(self._member)
