"""Load for the udp-server, in a process of its own: attaches sessions, encrypts every datagram ahead, then sends and counts.

Protocol with the parent: prints ``ready``, waits for a line, runs, prints one JSON object. ``rate_hz`` 0 means as fast as the
server acknowledges, with at most ``window`` datagrams of a session in flight.
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

from simway_protocol.identity import derive_device_key
from simway_protocol.readings import Reading
from simway_protocol.senml import to_records
from simway_protocol.udp.bodies import decode_ack
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import Challenged
from simway_protocol.udp.frames import Type, decode_body, encode_body, parse_header
from simway_protocol.udp.keys import card_response

EPOCH = "00000000000000b1"
SILENCE_MAX_S = 5.0
STEADY_TICK_S = 0.002
"""At a steady rate what is due is sent this often: a finer clock would cost the cores that are measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. ``master_hex``: the master secret, from which the devices' keys come."""

    port: int
    master_hex: str
    devices: tuple[str, ...]
    uplinks: int
    readings_per_uplink: int
    rate_hz: float = 0
    window: int = 48


class Sender:
    """One device: its session, its datagrams made ahead, what is in flight."""

    def __init__(self, device: str, load: Load, uplinks: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.connect(("127.0.0.1", load.port))
        self._socket.setblocking(False)
        self._per = load.readings_per_uplink
        self._session = _attach(self._socket, device, bytes.fromhex(load.master_hex))
        self._frames = deque(self._frame(index) for index in range(uplinks))
        self._in_flight: dict[int, float] = {}
        self._next = 0
        self.latencies_s: list[float] = []

    def _frame(self, index: int) -> bytes:
        now_us = time.time_ns() // 1_000
        first = index * self._per
        readings = [
            Reading(f"sensor/{at}", now_us - 3_600_000_000 + (first + at) * 10, 20.0 + at / 7, "Cel") for at in range(self._per)
        ]
        body = {1: bytes.fromhex(EPOCH), 2: first + 1, 3: to_records(readings)}
        return self._session.seal(Type.DATA, encode_body(body), now_us, False)

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    @property
    def left(self) -> int:
        """Datagrams not yet acknowledged."""
        return len(self._frames) + len(self._in_flight)

    def send(self, window: int) -> bool:
        """Sends the next datagram if it may."""
        if not self._frames or len(self._in_flight) >= window:
            return False
        try:
            self._socket.send(self._frames[0])
        except BlockingIOError:
            return False
        self._frames.popleft()
        self._in_flight[self._next] = time.perf_counter()
        self._next += 1
        return True

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
                if ack.rejected or ack.later:
                    raise SystemExit(f"the server did not log all: {ack}")
                self._settle(ack.logged)

    def _settle(self, ranges: list[tuple[int, int]]) -> None:
        now = time.perf_counter()
        for first, last in ranges:
            for index in range((first - 1) // self._per, last // self._per):
                sent = self._in_flight.pop(index, None)
                if sent is not None:
                    self.latencies_s.append(now - sent)


def _attach(link: socket.socket, device: str, master: bytes) -> object:
    key = derive_device_key(master, device, 1)
    client = ClientEndpoint(device=device, key_version=1, random=os.urandom)
    now_us = time.time_ns() // 1_000
    client.attach(iccid="8949000000000000001", boot_counter=1, epoch=EPOCH, last_counter=0, now_us=now_us)
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
    senders = [Sender(device, load, load.uplinks // len(load.devices)) for device in load.devices]
    total = sum(sender.left for sender in senders)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    _fast(senders, load.window) if load.rate_hz == 0 else _steady(senders, load.rate_hz)
    elapsed_s = time.perf_counter() - started
    latencies = [value for sender in senders for value in sender.latencies_s]
    left = sum(sender.left for sender in senders)
    print(json.dumps({"uplinks": total - left, "lost": left, "elapsed_s": elapsed_s, "latencies_s": latencies}), flush=True)


def _fast(senders: list[Sender], window: int) -> None:
    moved = time.monotonic()
    while any(sender.left for sender in senders) and time.monotonic() - moved < SILENCE_MAX_S:
        sent = False
        for sender in senders:
            while sender.send(window):
                sent = True
        ready = select.select(senders, [], [], 0.0 if sent else 0.05)[0]
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


def command(load: Load) -> list[str]:
    """The command line that runs ``load``."""
    return [sys.executable, "-m", "bench.generator", json.dumps(asdict(load))]


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    run(Load(**{**given, "devices": tuple(given["devices"])}))
