"""Both endpoints over a link in memory that loses, doubles, delays and reorders datagrams, from a seed."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from simway_protocol.identity import derive_device_key
from simway_protocol.outcomes import Outcome
from simway_protocol.readings import Reading
from simway_protocol.senml import resolve
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.cookie import CookiePeriod
from simway_protocol.udp.events import (
    Acknowledged,
    AttachedTo,
    AttachRefused,
    Challenged,
    ClientEvent,
    DataReceived,
    ServerEvent,
    SessionLost,
)
from simway_protocol.udp.keys import card_response
from simway_protocol.udp.server import ServerEndpoint

T0_US = 1_790_000_000_000_000
MASTER = bytes(range(32))
DEVICE = "meter-1"
EPOCH = "00112233445566ff"
CLIENT_ADDRESS = ("192.0.2.7", 6002)
S_US = 1_000_000


def device_key(device: str, version: int) -> bytes:
    return derive_device_key(MASTER, device, version)


def periods(seed: int = 1) -> list[CookiePeriod]:
    source = random.Random(seed)
    return [CookiePeriod(T0_US, source.randbytes(32), source.randbytes(32)) for _ in range(2)]


def make_server(seed: int = 2, **more: Any) -> ServerEndpoint:
    settings: dict[str, Any] = {
        "worker_index": 0, "device_key": device_key, "check_device": lambda device, version: None,
        "random": random.Random(seed).randbytes,
    }  # fmt: skip
    server = ServerEndpoint(**(settings | more))
    server.set_cookie_periods(periods())
    return server


def make_client(seed: int = 3, device: str = DEVICE) -> ClientEndpoint:
    return ClientEndpoint(device=device, key_version=1, random=random.Random(seed).randbytes)


def attach(client: ClientEndpoint, now_us: int = T0_US, iccid: str = "8949000000000000001", last_counter: int = 0) -> None:
    client.attach(iccid=iccid, boot_counter=1, epoch=EPOCH, last_counter=last_counter, now_us=now_us)


@dataclass
class Weather:
    """``loss`` and ``doubling``: probabilities; delays in microseconds, drawn evenly."""

    loss: float = 0.0
    doubling: float = 0.0
    delay_us: tuple[int, int] = (10_000, 10_000)


@dataclass
class Link:
    """One client, one server, one clock. The client's shell answers challenges and offers readings from an outbox."""

    client: ClientEndpoint
    server: ServerEndpoint
    weather: Weather = field(default_factory=Weather)
    seed: int = 4
    now_us: int = T0_US
    address: tuple[str, int] = CLIENT_ADDRESS
    key: bytes = device_key(DEVICE, 1)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.queue: list[tuple[int, int, str, bytes, tuple[str, int]]] = []
        self.order = count()
        self.client_events: list[ClientEvent] = []
        self.server_events: list[ServerEvent] = []
        self.outbox: dict[int, Reading] = {}
        self.next_seq = 1
        self.offered_to = 0
        self.stored: dict[int, Any] = {}
        self.to_server: list[bytes] = []
        self.to_client: list[bytes] = []
        self.acknowledging = True
        self.reattaching = True

    # --- the network ---------------------------------------------------------------------------------------------------------

    def push(self, way: str, datagram: bytes, address: tuple[str, int]) -> None:
        (self.to_server if way == "up" else self.to_client).append(datagram)
        for _ in range(1 + (self.random.random() < self.weather.doubling)):
            if self.random.random() >= self.weather.loss:
                at_us = self.now_us + self.random.randint(*self.weather.delay_us)
                heapq.heappush(self.queue, (at_us, next(self.order), way, datagram, address))

    def flush(self) -> None:
        for datagram in self.client.take_output(self.now_us):
            self.push("up", datagram, self.address)
        for datagram, address in self.server.take_output(self.now_us):
            self.push("down", datagram, address)

    def run(self, until: Any = None, for_us: int = 60 * S_US) -> None:
        """Goes on until ``until()`` or until the time is over."""
        end_us = self.now_us + for_us
        while self.now_us < end_us and not (until is not None and until()):
            self.offer()
            self.flush()
            times = [self.client.next_deadline_us(), self.server.next_deadline_us(), self.queue[0][0] if self.queue else None]
            next_us = min([time for time in times if time is not None], default=end_us)
            self.now_us = min(max(next_us, self.now_us + 1), end_us)
            while self.queue and self.queue[0][0] <= self.now_us:
                _, _, way, datagram, address = heapq.heappop(self.queue)
                self.deliver(way, datagram, address)
            self.on_client(self.client.tick(self.now_us))
            self.on_server(self.server.tick(self.now_us))
        if until is not None:
            assert until(), f"not within {for_us} us"

    def deliver(self, way: str, datagram: bytes, address: tuple[str, int]) -> None:
        if way == "up":
            self.on_server(self.server.receive(datagram, address, self.now_us))
        elif address == self.address:
            self.on_client(self.client.receive(datagram, self.now_us))

    # --- the shells ----------------------------------------------------------------------------------------------------------

    def on_client(self, events: list[ClientEvent]) -> None:
        self.client_events += events
        for event in events:
            if isinstance(event, Challenged):
                self.client.answer(*card_response(self.key, event.challenge), self.now_us)
            elif isinstance(event, AttachedTo):
                self.offered_to = min(self.outbox, default=self.next_seq) - 1
            elif isinstance(event, Acknowledged):
                for first, last in event.logged:
                    for seq in range(first, last + 1):
                        self.outbox.pop(seq, None)
            elif isinstance(event, SessionLost | AttachRefused) and self.reattaching:
                attach(self.client, self.now_us)

    def offer(self) -> None:
        while self.client.window():
            waiting = [seq for seq in sorted(self.outbox) if seq > self.offered_to]
            if not waiting:
                return
            first = waiting[0]
            run = [self.outbox[seq] for index, seq in enumerate(waiting) if seq == first + index]
            taken = self.client.send_data(first, run, [], self.now_us)
            assert taken
            self.offered_to = first + taken - 1

    def on_server(self, events: list[ServerEvent]) -> None:
        self.server_events += events
        for event in events:
            if isinstance(event, DataReceived) and self.acknowledging:
                entries = resolve(event.records, None)
                for seq, entry in enumerate(entries, event.first_seq):
                    assert self.stored.setdefault(seq, entry) == entry
                last = event.first_seq + len(entries) - 1
                self.server.acknowledge(event.session_id, event.epoch, event.first_seq, last, Outcome.LOGGED)

    def fill(self, how_many: int) -> dict[int, Reading]:
        start, self.next_seq = self.next_seq, self.next_seq + how_many
        self.outbox |= {seq: Reading("cpu.load", T0_US + seq * 1_000_003, seq / 7, "%") for seq in range(start, start + how_many)}
        return dict(self.outbox)

    def attached(self) -> None:
        """Attaches and waits for the server to know it."""
        attach(self.client, self.now_us)
        self.run(lambda: self.client.attached and len(self.of("SessionAttached")) > 0)

    def of(self, name: str) -> list[Any]:
        """Events of both sides by the name of their class."""
        return [event for event in [*self.client_events, *self.server_events] if type(event).__name__ == name]


def make_link(**more: Any) -> Link:
    return Link(make_client(), make_server(), **more)
