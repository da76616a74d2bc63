"""The network between devices and the UDP server: a proxy with weather, in a thread of its own."""

from __future__ import annotations

import heapq
import itertools
import random
import selectors
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

from simway_testing.fault_weather import CALM, Weather, fates

DATAGRAM_ROOM_BYTES = 2_048
LOOK_S = 0.1

Address = tuple[str, int]


class Proxy:
    """Passes datagrams both ways. ``port``: where devices send to, on 127.0.0.1; each has an address of its own at the server."""

    def __init__(self, server: Address, seed: str) -> None:
        self._server, self._rng = server, random.Random(f"proxy/{seed}")
        self._front = _socket()
        self._front.bind(("127.0.0.1", 0))
        self.port = int(self._front.getsockname()[1])
        self.counts: Counter[str] = Counter()
        """Datagrams by what became of them: ``passed``, ``dropped``, ``duplicated`` (which passed, too); and ``rebinds``."""
        self.weather: Weather = CALM
        self._ways: dict[Address, socket.socket] = {}
        self._due: list[tuple[float, int, socket.socket, Address, bytes]] = []
        self._order = itertools.count()
        self._rebind = threading.Event()
        self._ending = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def rebind(self) -> None:
        """From now on the server sees every device at another address, as after a restart of a NAT."""
        self._rebind.set()

    def close(self) -> None:
        """Ends it; blocks until the thread is over."""
        self._ending.set()
        self._thread.join()
        for one in (self._front, *self._ways.values()):
            one.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            if self._rebind.is_set():
                self._rebind.clear()
                self._forget_ways()
            for key, _ in self._selector.select(self._pause_s()):
                self._take(key.fileobj, key.data)  # type: ignore[arg-type]
            self._deliver()

    def _pause_s(self) -> float:
        return min(LOOK_S, max(0.0, self._due[0][0] - time.monotonic())) if self._due else LOOK_S

    def _take(self, source: socket.socket, device: Address | None) -> None:
        while True:
            try:
                datagram, sender = source.recvfrom(DATAGRAM_ROOM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # a port that nobody listens on now says so: lost, as on any way
                continue
            out, to = (self._way_of(sender), self._server) if device is None else (self._front, device)
            self._decide(out, to, datagram)

    def _decide(self, out: socket.socket, to: Address, datagram: bytes) -> None:
        delays_s = fates(self.weather, self._rng)
        self.counts["dropped" if not delays_s else "passed"] += 1
        self.counts["duplicated"] += len(delays_s) > 1
        now_s = time.monotonic()
        for delay_s in delays_s:
            heapq.heappush(self._due, (now_s + delay_s, next(self._order), out, to, datagram))

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            _, _, out, to, datagram = heapq.heappop(self._due)
            with suppress(OSError):  # nobody listens, or a way that is gone: lost
                out.sendto(datagram, to)

    def _way_of(self, device: Address) -> socket.socket:
        if device not in self._ways:
            way = self._ways[device] = _socket()
            self._selector.register(way, selectors.EVENT_READ, device)
        return self._ways[device]

    def _forget_ways(self) -> None:
        for way in self._ways.values():
            self._selector.unregister(way)
            way.close()
        self._ways.clear()
        self.counts["rebinds"] += 1


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
