"""Links between devices and a server in simulated time: a bottleneck and its buffer, seeded jitter and loss, a full server.

The devices run the protocol's own flight control (``Flight``, ``RttEstimator``, ``Pacer``) over an endless backlog of full
frames; nothing is sealed or parsed, and nothing waits. Times are microseconds from the start.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from simway_protocol.udp.flight import Flight, Flying, Pacer
from simway_protocol.udp.timing import PACING_BURST, RttEstimator

FRAME_BYTES = 1_200
SECOND_US = 1_000_000

Delay = Callable[[random.Random, int], int]
"""The time there and back of a frame that leaves the bottleneck now, without the bottleneck."""


def steady(delay_us: int) -> Delay:
    """Always the same."""
    return lambda _rng, _now_us: delay_us


def cellular(low_us: int = 20_000, high_us: int = 100_000, spike_us: int = 500_000, spikes: float = 0.01) -> Delay:
    """Anything from ``low_us`` to ``high_us``, and now and then ``spike_us``; frames overtake each other."""
    return lambda rng, _now_us: spike_us if rng.random() < spikes else rng.randint(low_us, high_us)


def changing(before: Delay, at_us: int, after: Delay) -> Delay:
    """Another link from ``at_us`` on."""
    return lambda rng, now_us: (before if now_us < at_us else after)(rng, now_us)


@dataclass(frozen=True)
class Link:
    """What lies between the devices and the log."""

    delay: Delay
    bytes_per_s: int
    buffer_us: int = SECOND_US
    """What would wait longer than this at the bottleneck is lost."""
    loss: float = 0.0
    flush_us: int = 1
    """The server answers what came in such a period at its end."""
    retry_after_us: int = 0
    """If not 0, the full buffer is the server's: it does not lose a frame, but asks for it again after this long."""

    @property
    def frames_per_s(self) -> float:
        """The bottleneck's capacity."""
        return self.bytes_per_s / FRAME_BYTES

    def carries(self, seconds: float) -> float:
        """How many frames the bottleneck can carry in that time."""
        return seconds * self.frames_per_s


@dataclass
class Device:
    """One sender and what became of its frames."""

    flight: Flight = field(default_factory=Flight)
    rtt: RttEstimator = field(default_factory=RttEstimator)
    pacer: Pacer = field(default_factory=lambda: Pacer(PACING_BURST))
    made: int = 0
    paused_until_us: int = 0
    again: list[int] = field(default_factory=list)

    def interval_us(self) -> int:
        """The pace."""
        return self.pacer.interval_us(self.flight.window, self.rtt.srtt_us)

    def fill(self, now_us: int) -> None:
        """Makes frames of the backlog, as many as the window takes."""
        while now_us >= self.paused_until_us and self.flight.room:
            number = self.again.pop() if self.again else self.made
            self.made = max(self.made, number + 1)
            self.flight.add(b"", [(number, number)], now_us)

    def take_output(self, now_us: int) -> list[int]:
        """The frames that go out now."""
        going: list[int] = []
        for frame in self.flight.due(now_us):
            if not self.pacer.take(now_us, self.interval_us()):
                break
            going.append(_number(frame))
            self.flight.sent(frame, self.rtt, now_us)
        return going

    def next_us(self) -> int:
        """When something is due."""
        due_us = self.flight.next_us
        if due_us is None:
            return self.paused_until_us
        return max(due_us, self.pacer.ready_us(self.interval_us()))


class Simulation:
    """``devices`` senders over one link."""

    def __init__(self, link: Link, seed: int, devices: int = 1) -> None:
        self.devices = [Device() for _ in range(devices)]
        self.waits: list[tuple[int, int]] = []
        """When a frame came to the bottleneck, and how long the bottleneck had it wait behind others."""
        self.arrived: list[list[int]] = [[] for _ in range(devices)]
        """When each frame came to the log for the first time, by device."""
        self.transmissions = 0
        self._known: list[set[int]] = [set() for _ in range(devices)]
        self._link, self._rng, self._now_us, self._free_us, self._order = link, random.Random(seed), 0, 0, 0
        self._events: list[tuple[int, int, int, int, bool]] = []

    def run(self, until_us: int) -> Simulation:
        """Goes on until then."""
        while self._now_us < until_us:
            for index, device in enumerate(self.devices):
                device.fill(self._now_us)
                for number in device.take_output(self._now_us):
                    self._transmit(index, number)
            wanted_us = min(device.next_us() for device in self.devices)
            if self._events:
                wanted_us = min(wanted_us, self._events[0][0])
            self._now_us = max(wanted_us, self._now_us + 1)
            self._answer()
        return self

    def frames_per_s(self, begin_s: float, end_s: float) -> float:
        """Frames that came for the first time in that time, of all devices, per second."""
        begin_us, end_us = begin_s * SECOND_US, end_s * SECOND_US
        return sum(begin_us <= t_us < end_us for times in self.arrived for t_us in times) / (end_s - begin_s)

    def wait_us(self, share: float, begin_s: float) -> int:
        """The wait that this share of frames did not exceed from then on."""
        waits = sorted(wait for t_us, wait in self.waits if t_us >= begin_s * SECOND_US)
        return waits[int(share * (len(waits) - 1))]

    def _transmit(self, index: int, number: int) -> None:
        link, now_us = self._link, self._now_us
        self.transmissions += 1
        wait_us = max(0, self._free_us - now_us)
        if wait_us > link.buffer_us:
            if link.retry_after_us:
                self._push(now_us + link.delay(self._rng, now_us), index, number, False)
            return
        self.waits.append((now_us, wait_us))
        self._free_us = now_us + wait_us + FRAME_BYTES * SECOND_US // link.bytes_per_s
        if self._rng.random() < link.loss:
            return
        if number not in self._known[index]:
            self._known[index].add(number)
            self.arrived[index].append(self._free_us)
        if self._rng.random() < link.loss:
            return
        logged_us = -(-self._free_us // link.flush_us) * link.flush_us
        self._push(logged_us + link.delay(self._rng, now_us), index, number, True)

    def _push(self, at_us: int, index: int, number: int, logged: bool) -> None:
        self._order += 1
        heappush(self._events, (at_us, self._order, index, number, logged))

    def _answer(self) -> None:
        while self._events and self._events[0][0] <= self._now_us:
            _, _, index, number, logged = heappop(self._events)
            device = self.devices[index]
            if logged:
                device.flight.settle([(number, number)], device.rtt, self._now_us)
            elif any(_number(frame) == number for frame in device.flight.frames):
                device.flight.put_off([(number, number)], device.rtt, self._now_us)
                device.again.append(number)
                device.paused_until_us = self._now_us + self._link.retry_after_us


def _number(frame: Flying) -> int:
    return frame.open[0][0]
