"""Sources: where readings come from. Each runs in a thread of its own and puts what it has into the outbox."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import structlog

from simway_modem_client.outbox import Outbox

BAD_LINES_NAMED = 100
"""So many bad lines are named one by one; further ones are only counted."""

log = structlog.get_logger(__name__)


@dataclass
class SourceReport:
    """What came of a source that ended. ``skipped``: lines that were refused; ``error``: why it could not go on, if so."""

    lines: int = 0
    entered: int = 0
    skipped: int = 0
    error: str = ""

    @property
    def exit_code(self) -> int:
        """0: all entered; 3: some lines were skipped; 1: it could not go on."""
        if self.error:
            return 1
        return 3 if self.skipped else 0


class Source(Protocol):
    """Puts readings into the outbox until it has no more, or ``stopping`` is set. Blocks; raises ``OutboxClosed``."""

    ends: bool
    """Whether it has an end, after which the modem client drains the outbox and ends too."""

    def run(self, outbox: Outbox, stopping: threading.Event) -> SourceReport:
        """Runs to the end."""


class BadLines:
    """Names bad lines, counts them all."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.count = 0

    def skip(self, number: int, why: str) -> None:
        """One line was skipped. ``number``: from 1, as editors count."""
        self.count += 1
        if self.count <= BAD_LINES_NAMED:
            log.warning("line skipped", line=number, source=self._what, why=why)
        if self.count == BAD_LINES_NAMED:
            log.warning("further bad lines are counted, not named", source=self._what)


def tell_dropped(dropped: int) -> None:
    """The outbox told its source that older readings had to go."""
    if dropped:
        log.warning("the outbox is full: the oldest readings were dropped and are counted", dropped=dropped)
