"""DATA frames on their way: the congestion window, when each is due again, and what the server's ranges settle.

Loss is judged by time (each frame has its own time-out, doubled each time) and by order (a frame is due again when frames sent
well after it are acknowledged). The window opens as acknowledgements come, and closes to 0.7 when a frame is lost (RFC 9438) or
put off by the server, or when a queue stands (as RFC 6817 asks of bulk traffic), but not below 4 frames, or 2: a device that
drains what it kept must not hold up those that just go on.
"""

from __future__ import annotations

from collections.abc import Iterable

from simway_protocol.messages import Range
from simway_protocol.udp.queueing import QueueGauge
from simway_protocol.udp.timing import WINDOW_INITIAL, WINDOW_MAX, RttEstimator

WINDOW_LOSS_MIN, WINDOW_QUEUE_MIN = 4.0, 2.0
REORDER_FRAMES = 8
"""A frame is taken as lost when one sent this many transmissions later is acknowledged."""


class Flying:
    """One DATA frame. ``open``: its ranges that have no outcome yet."""

    __slots__ = ("attempts", "due_us", "open", "plain", "sent_us", "serial")

    def __init__(self, plain: bytes, ranges: list[Range], now_us: int) -> None:
        self.plain = plain
        self.open = ranges
        self.attempts = 0
        self.sent_us = 0
        self.serial = 0
        self.due_us = now_us


class Flight:
    """The frames in flight, in the order in which they were made."""

    __slots__ = ("_queue", "_recovering_until_us", "_serial", "_threshold", "frames", "window")

    def __init__(self) -> None:
        self.frames: list[Flying] = []
        self.window: float = WINDOW_INITIAL
        self._threshold: float = WINDOW_MAX
        self._queue = QueueGauge()
        self._serial = 0
        self._recovering_until_us = 0

    @property
    def room(self) -> int:
        """How many frames more the window takes."""
        return max(0, int(self.window) - len(self.frames))

    def add(self, plain: bytes, ranges: list[Range], now_us: int) -> None:
        """Takes a frame; it is due at once."""
        self.frames.append(Flying(plain, ranges, now_us))

    def clear(self) -> None:
        """Forgets all of it: the shell offers it again."""
        self.frames.clear()

    def due(self, now_us: int) -> list[Flying]:
        """The frames to send now, the oldest first."""
        return [frame for frame in self.frames if frame.due_us <= now_us]

    @property
    def next_us(self) -> int | None:
        """When the next is due."""
        return min((frame.due_us for frame in self.frames), default=None)

    def sent(self, frame: Flying, rtt: RttEstimator, now_us: int) -> None:
        """``frame`` goes out now."""
        if frame.attempts and self._close(WINDOW_LOSS_MIN, rtt, now_us):
            rtt.back_off()
        self._serial += 1
        frame.serial = self._serial
        frame.attempts += 1
        frame.sent_us = now_us
        frame.due_us = now_us + rtt.wait_us(frame.attempts)

    def settle(self, ranges: Iterable[Range], rtt: RttEstimator, now_us: int) -> None:
        """Takes the ranges that are logged or rejected now."""
        newest, judged = 0, False
        for frame in self._take_settled(ranges):
            if frame.attempts == 1:
                rtt_us = max(now_us - frame.sent_us, 1)
                rtt.sample(rtt_us)
                judged |= self._queue.sample(rtt_us, frame.serial, self._serial, rtt.var_us)
                newest = max(newest, frame.serial)
            if not self._queue.standing:
                self.window = min(WINDOW_MAX, self.window + (1 if self.window < self._threshold else 1 / self.window))
        if judged:
            if self._queue.rebase(self._queue.standing and self.window <= WINDOW_QUEUE_MIN, now_us):
                self._threshold = WINDOW_MAX
            elif self._queue.standing:
                self._close(WINDOW_QUEUE_MIN, rtt, now_us)
        for frame in self.frames:
            if frame.attempts and frame.serial + REORDER_FRAMES <= newest and frame.sent_us + rtt.patience_us <= now_us:
                frame.due_us = min(frame.due_us, now_us)

    def put_off(self, ranges: Iterable[Range], rtt: RttEstimator, now_us: int) -> None:
        """Takes the ranges that the server asks for again later: its log does not keep up."""
        if self._take_settled(ranges):
            self._close(WINDOW_LOSS_MIN, rtt, now_us)

    def _take_settled(self, ranges: Iterable[Range]) -> list[Flying]:
        """Takes out, and gives, the frames that have nothing open without ``ranges``."""
        ranges = list(ranges)
        settled: list[Flying] = []
        staying: list[Flying] = []
        for frame in self.frames:
            frame.open = subtract(frame.open, ranges)
            (staying if frame.open else settled).append(frame)
        self.frames = staying
        return settled

    def _close(self, least: float, rtt: RttEstimator, now_us: int) -> bool:
        """To 0.7, not below ``least``, at most once a round trip; False when one was closed for already."""
        if now_us < self._recovering_until_us:
            return False
        self._threshold = max(self.window * 0.7, least)
        self.window = min(self.window, self._threshold)
        self._recovering_until_us = now_us + (rtt.srtt_us or rtt.rto_us)
        return True


def subtract(ranges: list[Range], gone: list[Range]) -> list[Range]:
    """What of ``ranges`` is left without ``gone``."""
    for out_first, out_last in gone:
        if all(last < out_first or first > out_last for first, last in ranges):
            continue
        left: list[Range] = []
        for first, last in ranges:
            if last < out_first or first > out_last:
                left.append((first, last))
                continue
            if first < out_first:
                left.append((first, out_first - 1))
            if last > out_last:
                left.append((out_last + 1, last))
        ranges = left
    return ranges


class Pacer:
    """Spreads a window over a round trip: a burst at once, then one frame an interval."""

    __slots__ = ("_burst", "_next_us")

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._next_us = 0
        """When the next frame would be on schedule; it may run ahead of the clock by a burst."""

    def interval_us(self, window: float, srtt_us: int | None) -> int:
        """A window each 4/5 of a round trip."""
        return int((srtt_us or 10_000) * 4 / (5 * max(window, 1.0)))

    def take(self, now_us: int, interval_us: int) -> bool:
        """True when one more frame may go now."""
        self._next_us = max(self._next_us, now_us)
        if self._next_us - now_us > interval_us * (self._burst - 1):
            return False
        self._next_us += interval_us
        return True

    def ready_us(self, interval_us: int) -> int:
        """When ``take`` is True next."""
        return self._next_us - interval_us * (self._burst - 1)
