"""Load for the udp-server, in a process of its own: attaches sessions, encrypts every datagram ahead, then sends and counts.

Protocol with the parent (``sending``): prints ``ready``, waits for a line, runs, prints one JSON object. Each datagram goes out
once, and again only when the server said to come later. Times are of the monotonic clock, which all processes of the machine
share.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from simway_protocol.identity import derive_device_key
from simway_protocol.readings import Reading
from simway_protocol.senml import to_records
from simway_protocol.udp.bodies import decode_ack
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import Challenged
from simway_protocol.udp.flight import Flight, Pacer
from simway_protocol.udp.frames import Type, decode_body, encode_body, parse_header
from simway_protocol.udp.keys import card_response
from simway_protocol.udp.timing import PACING_BURST, RttEstimator

SILENCE_MAX_S = 5.0
FAST_TICK_S, PACED_TICK_S = 0.05, 0.001
STEADY_TICK_S = 0.002
"""At a steady rate what is due is sent this often: a finer clock would cost the cores that are measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, in all. ``master_hex``: the master secret, from which the devices' keys come.

    ``rate_hz``: uplinks a second of all devices together; 0 means as fast as the server acknowledges, with at most ``window``
    datagrams of a session in flight, or, with ``window`` 0, as many as the protocol's own flight control allows. An uplink holds
    one reading of each of so many sensors, and the next one is ``interval_us`` later; 0 for ``start_us`` lets the last be of now.
    ``tolerant``: what is told to come later is counted, and does not come again. ``stamps``: the result names for each device
    when its uplinks went out first.
    """

    port: int
    master_hex: str
    devices: tuple[str, ...]
    uplinks: int
    readings_per_uplink: int
    rate_hz: float = 0
    window: int = 48
    epoch: str = "00000000000000b1"
    start_us: int = 0
    interval_us: int = 1_000_000
    tolerant: bool = False
    stamps: bool = False

    @property
    def uplinks_each(self) -> int:
        """Uplinks of one device."""
        return self.uplinks // len(self.devices)


class Sender:
    """One device: its session, its datagrams made ahead, what is in flight."""

    def __init__(self, device: str, load: Load) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.connect(("127.0.0.1", load.port))
        self._socket.setblocking(False)
        self._load, self._per = load, load.readings_per_uplink
        self._session = _attach(self._socket, device, load)
        self._start_us = load.start_us or time.time_ns() // 1_000 - load.uplinks_each * load.interval_us
        self._frames = deque(map(self._frame, range(load.uplinks_each)))
        self._in_flight: dict[int, float] = {}
        self._again: deque[tuple[float, int, float]] = deque()
        self._next = 0
        self.device, self.later = device, 0
        self._flight = None if load.window else FlightControl()
        self.answered: list[tuple[int, float]] = []
        self.sent_s: list[float] = []

    def _frame(self, index: int) -> bytes:
        t_us = self._start_us + index * self._load.interval_us
        readings = [Reading(f"sensor/{at}", t_us + at, 20.0 + at / 7, "Cel") for at in range(self._per)]
        body = {1: bytes.fromhex(self._load.epoch), 2: index * self._per + 1, 3: to_records(readings)}
        return self._session.seal(Type.DATA, encode_body(body), time.time_ns() // 1_000, False)

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    @property
    def left(self) -> int:
        """Datagrams not yet acknowledged."""
        return len(self._frames) + len(self._in_flight) + len(self._again)

    def send(self, window: int) -> bool:
        """Sends the next datagram if it may."""
        if not self._frames or len(self._in_flight) >= window or (self._flight and not self._flight.may_send()):
            return False
        try:
            self._socket.send(self._frames[0])
        except BlockingIOError:
            return False
        self._frames.popleft()
        if self._flight:
            self._flight.sent(self._next)
        self._in_flight[self._next] = sent_s = time.perf_counter()
        self._next += 1
        if self._load.stamps:
            self.sent_s.append(sent_s)
        return True

    def send_again(self) -> None:
        """Sends what was told to come later and is due, under a counter of its own; it has waited since it went out first."""
        while self._again and self._again[0][0] <= time.perf_counter():
            _, index, sent_s = self._again[0]
            try:
                self._socket.send(self._frame(index))
            except BlockingIOError:
                return
            self._again.popleft()
            if self._flight:
                self._flight.sent(index)
            self._in_flight[index] = sent_s

    def receive(self) -> None:
        """Takes every answer that has come."""
        while True:
            try:
                datagram = self._socket.recv(2048)
            except BlockingIOError:
                return
            header = parse_header(datagram)
            if header.type is Type.ACK:
                ack = decode_ack(decode_body(self._session.unseal(datagram, header.counter, 0)))
                if ack.rejected:
                    raise SystemExit(f"the server did not log all: {ack}")
                self.answered += self._settle(ack.logged)
                self._put_off(self._settle(ack.later), ack.later_ms)

    def _put_off(self, refused: list[tuple[int, float]], later_ms: int) -> None:
        if self._load.tolerant:
            self.later += len(refused)
            return
        now_s = time.perf_counter()
        self._again.extend((now_s + later_ms / 1000, index, now_s - wait_s) for index, wait_s in refused)

    def _settle(self, ranges: list[tuple[int, int]]) -> list[tuple[int, float]]:
        """Takes what has an outcome out of the flight; index and wait of each."""
        now = time.perf_counter()
        indexes = (index for first, last in ranges for index in range((first - 1) // self._per, last // self._per))
        settled = [(index, now - self._in_flight.pop(index)) for index in indexes if index in self._in_flight]
        if self._flight:
            self._flight.settled(settled)
        return settled


class FlightControl:
    """How many datagrams a modem client would have in flight, and when: the protocol's own parts, without what repeats."""

    def __init__(self) -> None:
        self._flight, self._rtt, self._pacer = Flight(), RttEstimator(), Pacer(PACING_BURST)

    def may_send(self) -> bool:
        """Whether one more may go out now."""
        interval_us = self._pacer.interval_us(self._flight.window, self._rtt.srtt_us)
        return self._flight.room > 0 and self._pacer.take(_monotonic_us(), interval_us)

    def sent(self, index: int) -> None:
        """It went out."""
        now_us = _monotonic_us()
        self._flight.add(b"", [(index, index)], now_us)
        self._flight.sent(self._flight.frames[-1], self._rtt, now_us)

    def settled(self, answers: list[tuple[int, float]]) -> None:
        """They have an outcome."""
        self._flight.settle([(index, index) for index, _ in answers], self._rtt, _monotonic_us())


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1_000


def _attach(link: socket.socket, device: str, load: Load) -> Any:
    key = derive_device_key(bytes.fromhex(load.master_hex), device, 1)
    client = ClientEndpoint(device=device, key_version=1, random=os.urandom)
    now_us = time.time_ns() // 1_000
    client.attach(iccid="8949000000000000001", boot_counter=1, epoch=load.epoch, last_counter=0, now_us=now_us)
    deadline = time.monotonic() + 30
    while not client.attached:
        if time.monotonic() > deadline:
            raise SystemExit(f"{device} could not attach within 30 s")
        now_us = time.time_ns() // 1_000
        for datagram in client.take_output(now_us):
            link.send(datagram)
        if select.select([link], [], [], 0.05)[0]:
            for event in client.receive(link.recv(2048), time.time_ns() // 1_000):
                if isinstance(event, Challenged):
                    client.answer(*card_response(key, event.challenge), time.time_ns() // 1_000)
        client.tick(time.time_ns() // 1_000)
    return client._session  # its keys, to encrypt ahead of the time that is measured


def run(load: Load) -> None:
    """Does what the module says."""
    senders = [Sender(device, load) for device in load.devices]
    total = sum(sender.left for sender in senders)
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.perf_counter()
    if load.rate_hz:
        _steady(senders, load.rate_hz)
    else:
        _fast(senders, load.window or load.uplinks_each, FAST_TICK_S if load.window else PACED_TICK_S)
    elapsed_s = time.perf_counter() - began_s
    left, later = sum(sender.left for sender in senders), sum(sender.later for sender in senders)
    result = {
        "uplinks": total - left - later, "lost": left, "later": later, "began_s": began_s, "elapsed_s": elapsed_s,
        "latencies_s": [wait_s for sender in senders for _, wait_s in sender.answered],
        "sent_s": {sender.device: sender.sent_s for sender in senders if load.stamps},
        "answered_s": {sender.device: sender.answered for sender in senders if load.stamps},
    }  # fmt: skip
    print(json.dumps(result), flush=True)


def _fast(senders: list[Sender], window: int, tick_s: float) -> None:
    moved = time.monotonic()
    while any(sender.left for sender in senders) and time.monotonic() - moved < SILENCE_MAX_S:
        sent = False
        for sender in senders:
            sender.send_again()
            while sender.send(window):
                sent = True
        ready = select.select(senders, [], [], 0.0 if sent else tick_s)[0]
        for sender in ready:
            sender.receive()
        if sent or ready:
            moved = time.monotonic()


def _steady(senders: list[Sender], rate_hz: float) -> None:
    started, sent = time.perf_counter(), 0
    moved = time.monotonic()
    while any(sender.left for sender in senders) and time.monotonic() - moved < SILENCE_MAX_S:
        due = int((time.perf_counter() - started) * rate_hz)
        while sent < due and any(
            sender.send(1_000_000) for sender in senders[sent % len(senders) :] + senders[: sent % len(senders)]
        ):
            sent += 1
        for sender in select.select(senders, [], [], STEADY_TICK_S)[0]:
            sender.receive()
            moved = time.monotonic()
        for sender in senders:
            sender.send_again()


def command(load: Load) -> list[str]:
    """The command line that runs ``load``."""
    return [sys.executable, "-m", "bench.generator", json.dumps(asdict(load))]


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    run(Load(**{**given, "devices": tuple(given["devices"])}))
