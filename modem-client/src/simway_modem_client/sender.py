"""From the outbox into DATA frames, in order; from ACKs back into the outbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from simway_protocol.limits import RANGES_MAX_PER_FRAME
from simway_protocol.messages import Range
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import Acknowledged

from simway_modem_client import ranges
from simway_modem_client.outbox import Outbox, Stored

READ_AHEAD = 1_000
"""Readings fetched from the outbox at once."""
OFFERED_MAX = 128
"""Readings offered to the endpoint for one frame at most; it takes as many as fit."""
OFFERED_MORE = 8
"""So many more than fitted into the last frame are offered for the next one."""


class Sender:
    """Feeds one endpoint from one outbox. Not thread-safe."""

    def __init__(self, endpoint: ClientEndpoint, outbox: Outbox) -> None:
        self._endpoint = endpoint
        self._outbox = outbox
        self._ahead: deque[Stored] = deque()
        self._next_seq = 0
        self._seen_version = -1
        self._dropped: list[Range] = []
        self._dropped_sent: list[Range] = []
        self._again: list[Range] = []
        self._offer = OFFERED_MAX

    def begin(self) -> None:
        """A new session: everything that is not acknowledged goes again, from the oldest on."""
        self._outbox.flush()
        self._ahead.clear()
        self._next_seq = 0
        self._seen_version = -1
        self._dropped_sent = []
        self._again = []

    def pump(self, now_us: int) -> None:
        """Makes as many DATA frames as the endpoint's window takes."""
        if self._endpoint.window() <= 0:
            return
        version = self._outbox.version()
        if version != self._seen_version:
            self._dropped = ranges.subtract(self._outbox.dropped(), self._dropped_sent)
            self._seen_version = version
            if self._dropped and self._ahead:  # what was read ahead may be among them: a frame must not hold a number twice
                self._next_seq = self._ahead[0].seq
                self._ahead.clear()
        elif not self._ahead and not self._dropped and not self._again:
            return
        while self._endpoint.window() > 0 and self._send_one(now_us):
            pass

    def acknowledged(self, event: Acknowledged) -> None:
        """Outcomes for ranges: logged and rejected leave the outbox; what is to come later is offered again."""
        self._outbox.acknowledge(event.epoch, event.logged, event.rejected)
        done = ranges.normalise([*event.logged, *((first, last) for first, last, _reason in event.rejected)])
        self._dropped_sent = ranges.subtract(self._dropped_sent, done)
        if event.later:
            later = ranges.normalise(event.later)
            self._dropped_sent = ranges.subtract(self._dropped_sent, later)
            self._again = ranges.normalise([*self._again, *later])
            self._seen_version = -1

    def _send_one(self, now_us: int) -> bool:
        dropped = self._dropped[:RANGES_MAX_PER_FRAME]
        run = self._next_run()
        if not run and not dropped:
            return False
        first_seq = run[0].seq if run else dropped[0][0]
        taken = self._endpoint.send_data(first_seq, [stored.reading for stored in run], dropped, now_us)
        self._took(run, taken)
        self._dropped_sent = ranges.normalise([*self._dropped_sent, *dropped])
        self._dropped = self._dropped[len(dropped) :]
        return taken > 0 or bool(dropped)

    def _took(self, run: list[Stored], taken: int) -> None:
        if not taken:
            return
        self._offer = min(OFFERED_MAX, taken + OFFERED_MORE if taken < len(run) else 2 * self._offer)
        if self._again:
            self._again = ranges.subtract(self._again, [(run[0].seq, run[taken - 1].seq)])
            return
        for _ in range(taken):
            self._ahead.popleft()

    def _next_run(self) -> list[Stored]:
        """The next readings whose numbers follow each other: what is asked for again, then what was never sent."""
        while self._again:
            first, last = self._again[0]
            held = [stored for stored in self._outbox.read(first, min(self._offer, last - first + 1)) if stored.seq <= last]
            if held:
                gone = [(first, held[0].seq - 1)] if held[0].seq > first else []
                self._again = ranges.subtract(self._again, gone)
                return _leading_run(held, self._offer)
            self._again = self._again[1:]
        if not self._ahead:
            self._ahead.extend(self._outbox.read(self._next_seq, READ_AHEAD))
            if self._ahead:
                self._next_seq = self._ahead[-1].seq + 1
        return _leading_run(self._ahead, self._offer)


def _leading_run(readings: Iterable[Stored], most: int) -> list[Stored]:
    run: list[Stored] = []
    for stored in readings:
        if len(run) == most or (run and stored.seq != run[-1].seq + 1):
            break
        run.append(stored)
    return run
