"""What could not be admitted goes to ``dead-letter``, as long as there is room: it never holds up the way of the readings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from simway_backbone.log import Log
from simway_protocol import messages
from simway_protocol.messages import DeadLetter

from simway_ingest.appender import Appender

LETTERS_MAX = 2_000


class DeadLetters:
    """A bounded way to ``dead-letter``. ``by_reason`` counts all that were handed in, ``lost`` those that are not kept."""

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop, *, letters_max: int = LETTERS_MAX) -> None:
        self._appender = Appender(log, loop, "dead-letter", records_max=letters_max)
        self.by_reason: dict[str, int] = {}

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Queues letters; returns at once, whatever state the log is in."""
        for letter in letters:
            reason = str(letter.reason)
            self.by_reason[reason] = self.by_reason.get(reason, 0) + 1
            self._appender.add(letter.device.encode() or None, messages.encode(letter))

    @property
    def lost(self) -> int:
        """Letters for which there was no room, or that the log refused."""
        return self._appender.lost

    async def close(self, deadline_s: float) -> None:
        """Waits until the log has what was handed in, at most ``deadline_s``."""
        await self._appender.close(deadline_s)
