"""A device for tests: the protocol's own client endpoint on a real UDP socket, its key in hand, in the caller's thread."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence

from simway_protocol.identity import derive_device_key
from simway_protocol.readings import Reading
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import Acknowledged, AttachedTo, AttachRefused, Challenged, ClientEvent
from simway_protocol.udp.keys import card_response

EPOCH = "9f3c5a7e01b2d4c6"
DEADLINE_S = 60.0


def now_us() -> int:
    return time.time_ns() // 1_000


class UdpDevice:
    """Speaks to ``server``. ``events`` holds all that came, in order; ``logged`` the sequence numbers acknowledged as logged."""

    def __init__(
        self,
        server: tuple[str, int],
        master_secret: bytes,
        device: str = "demo",
        *,
        key_version: int = 1,
        iccid: str = "8949000000000000011",
    ) -> None:
        self.device, self.server, self.iccid = device, server, iccid
        self.key = derive_device_key(master_secret, device, key_version)
        self.endpoint = ClientEndpoint(device=device, key_version=key_version, random=os.urandom)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.events: list[ClientEvent] = []
        self.logged: set[int] = set()
        self.rejected: dict[int, str] = {}

    def close(self) -> None:
        self.socket.close()

    def attach(self, *, wait: bool = True, last_counter: int = 0) -> None:
        """Attaches; with ``wait`` until a new session stands, else ``AssertionError`` names the refusal."""
        before, refusals = self._sessions(), len(self._refused())
        self.endpoint.attach(iccid=self.iccid, boot_counter=1, epoch=EPOCH, last_counter=last_counter, now_us=now_us())
        if wait:
            self.run_until(lambda: self._sessions() > before or len(self._refused()) > refusals)
            assert self._sessions() > before, self._refused()

    def send(self, readings: Sequence[Reading], first_seq: int = 1) -> None:
        """Sends readings as the window allows, again in each new session, and waits until each has its outcome."""
        numbers = range(first_seq, first_seq + len(readings))
        end_s = time.monotonic() + DEADLINE_S
        seq, sessions = first_seq, self._sessions()
        while open_ := [number for number in numbers if number not in self.logged and number not in self.rejected]:
            assert time.monotonic() < end_s, f"not answered: {open_[0]}..{open_[-1]}; last events: {self.events[-3:]}"
            if self._sessions() != sessions:
                seq, sessions = open_[0], self._sessions()
            while seq < numbers.stop and self.endpoint.window() > 0:
                seq += self.endpoint.send_data(seq, readings[seq - first_seq :], [], now_us())
            self.turn()

    def run_until(self, condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        end_s = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end_s, f"in vain; events: {self.events[-5:]}"
            self.turn()

    def turn(self, wait_s: float = 0.02) -> None:
        """Sends what is due, waits at most ``wait_s`` for a datagram, takes it."""
        self._take(self.endpoint.tick(now_us()))
        self._flush()
        self.socket.settimeout(wait_s)
        try:
            datagram = self.socket.recv(2_048)
        except TimeoutError:
            return
        self._take(self.endpoint.receive(datagram, now_us()))
        self._flush()

    def of(self, kind: type) -> list[ClientEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def _sessions(self) -> int:
        return len(self.of(AttachedTo))

    def _refused(self) -> list[ClientEvent]:
        return self.of(AttachRefused)

    def _flush(self) -> None:
        for datagram in self.endpoint.take_output(now_us()):
            self.socket.sendto(datagram, self.server)

    def _take(self, events: Sequence[ClientEvent]) -> None:
        for event in events:
            self.events.append(event)
            if isinstance(event, Challenged):
                self.endpoint.answer(*card_response(self.key, event.challenge), now_us())
            elif isinstance(event, Acknowledged):
                for first, last in event.logged:
                    self.logged.update(range(first, last + 1))
                for first, last, reason in event.rejected:
                    self.rejected.update(dict.fromkeys(range(first, last + 1), reason))
