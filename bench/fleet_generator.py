"""Load of many devices, in a process of its own: attaches up to 100,000 sessions over a few sockets, keeps them, sends in turns.

Protocol with the parent (``fleet``): a line of JSON in, a line of JSON out. ``{"attach": n}`` attaches until n devices are;
``{"send": turns, "readings": k}`` seals so many uplinks of each device ahead, then sends them, a device after the other, with at
most ``WINDOW`` datagrams unanswered. An empty line ends it. While it waits it keeps sessions alive.

Every device sends the same values, one a second from a day ago on, at the same times: only its key, its counter and its name
differ.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from simway_protocol.identity import derive_device_key
from simway_protocol.readings import Reading
from simway_protocol.senml import to_records
from simway_protocol.udp.bodies import PING_NONCE_BYTES, decode_ack
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.events import AttachRefused, Challenged, SessionLost
from simway_protocol.udp.frames import Type, decode_body, encode_body, parse_header
from simway_protocol.udp.keys import card_response

EPOCH = "00000000000000f1"
SOCKETS = 64
"""One handshake at a time on each: its answers name no session yet."""
WINDOW = 1_500
RETRY_LOOK_S = 0.25
KEEPALIVE_S = 45.0
"""Sessions end after 120 s of silence."""
SILENCE_MAX_S = 10.0
SECOND_US, DAY_US = 1_000_000, 86_400_000_000


def device_name(fleet: str, index: int) -> str:
    """The name of a device of a fleet."""
    return f"{fleet}-{index:06d}"


class Member:
    """An attached device."""

    __slots__ = ("link", "sent_s", "session")

    def __init__(self, link: socket.socket, session: Any) -> None:
        self.link, self.session, self.sent_s = link, session, time.monotonic()


class Fleet:
    """All of it, in one thread."""

    def __init__(self, name: str, port: int, master_hex: str) -> None:
        self._name, self._master = name, bytes.fromhex(master_hex)
        self._links = [_link(port) for _ in range(SOCKETS)]
        self._attaching: dict[socket.socket, tuple[str, ClientEndpoint]] = {}
        self._members: dict[bytes, Member] = {}
        self._by_age: deque[Member] = deque()
        self._seq = 1
        self._start_us = _now_us() - DAY_US
        self._unanswered = 0
        self._answered = 0
        self._readings = 1

    def attach(self, total: int) -> dict[str, Any]:
        """Attaches the next devices until ``total`` are; each says a PING, so that its session counts as live."""
        began, due = time.monotonic(), iter(range(len(self._by_age), total))
        looked = began
        while len(self._by_age) < total:
            for link in self._links:
                if link not in self._attaching and (index := next(due, None)) is not None:
                    self._begin(link, device_name(self._name, index))
            self._receive(0.05)
            if time.monotonic() - looked > RETRY_LOOK_S:
                looked = time.monotonic()
                for link, (device, client) in list(self._attaching.items()):
                    if any(isinstance(event, SessionLost) for event in client.tick(_now_us())):
                        self._begin(link, device)
                    else:
                        _flush(link, client)
                self.keep_alive()
        return {"attached": len(self._by_age), "elapsed_s": time.monotonic() - began}

    def send(self, turns: int, readings: int) -> dict[str, Any]:
        """Seals ahead, sends, and waits for the answers."""
        frames = list(self._sealed(turns, readings))
        self._unanswered = self._answered = 0
        began_s = moved_s = time.perf_counter()
        for member, frame in frames:
            while self._unanswered >= WINDOW and time.perf_counter() - moved_s < SILENCE_MAX_S:
                if self._receive(0.05):
                    moved_s = time.perf_counter()
            member.link.send(frame)
            self._unanswered += 1
        while self._unanswered > 0 and time.perf_counter() - moved_s < SILENCE_MAX_S:
            if self._receive(0.05):
                moved_s = time.perf_counter()
        return {
            "uplinks": self._answered, "lost": len(frames) - self._answered, "began_s": began_s,
            "elapsed_s": time.perf_counter() - began_s,
        }  # fmt: skip

    def keep_alive(self) -> None:
        """A PING for whom nothing was sent for a while."""
        now_s = time.monotonic()
        while self._by_age and now_s - self._by_age[0].sent_s > KEEPALIVE_S:
            member = self._by_age.popleft()
            body = encode_body({1: os.urandom(PING_NONCE_BYTES)})
            member.link.send(member.session.seal(Type.PING, body, 0, False))
            member.sent_s = now_s
            self._by_age.append(member)
        self._receive(0.0)

    def _sealed(self, turns: int, readings: int) -> Iterator[tuple[Member, bytes]]:
        self._readings = readings
        for _ in range(turns):
            first_us = self._start_us + self._seq * SECOND_US
            values = [Reading("sensor/0", first_us + at * SECOND_US, 20.0 + at / 7, "Cel") for at in range(readings)]
            body = encode_body({1: bytes.fromhex(EPOCH), 2: self._seq, 3: to_records(values)})
            self._seq += readings
            for member in self._by_age:
                member.sent_s = time.monotonic()
                yield member, member.session.seal(Type.DATA, body, 0, False)

    def _begin(self, link: socket.socket, device: str) -> None:
        client = ClientEndpoint(device=device, key_version=1, random=os.urandom)
        client.attach(iccid="8949000000000000001", boot_counter=1, epoch=EPOCH, last_counter=0, now_us=_now_us())
        self._attaching[link] = device, client
        _flush(link, client)

    def _receive(self, timeout_s: float) -> bool:
        """Takes what has come; whether something had."""
        ready = select.select(self._links, [], [], timeout_s)[0]
        for link in ready:
            try:
                while True:
                    self._take(link, link.recv(2048))
            except BlockingIOError:
                pass
        return bool(ready)

    def _take(self, link: socket.socket, datagram: bytes) -> None:
        header = parse_header(datagram)
        member = self._members.get(header.session_id)
        if member is None:
            self._advance(link, datagram)
        elif header.type is Type.ACK:
            ack = decode_ack(decode_body(member.session.unseal(datagram, header.counter, 0)))
            if ack.rejected or ack.later:
                raise SystemExit(f"the server did not log all: {ack}")
            done = sum(last - first + 1 for first, last in ack.logged) // self._readings
            self._answered += done
            self._unanswered -= done
        elif header.type is Type.RESET:
            raise SystemExit("the server has forgotten a session")

    def _advance(self, link: socket.socket, datagram: bytes) -> None:
        """On with the handshake, which is over at the first frame of the session: an ATTACH answered twice makes two sessions."""
        if link not in self._attaching:
            return
        device, client = self._attaching[link]
        for event in client.receive(datagram, _now_us()):
            if isinstance(event, Challenged):
                client.answer(*card_response(derive_device_key(self._master, device, 1), event.challenge), _now_us())
            elif isinstance(event, AttachRefused):
                raise SystemExit(f"{device} was refused: {event.reason}")
        session = client._session  # its keys, to encrypt ahead of the time that is measured
        if session is not None and session.confirmed:
            member = self._members[session.session_id] = Member(link, session)
            self._by_age.append(member)
            del self._attaching[link]
        else:
            _flush(link, client)


def _link(port: int) -> socket.socket:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    link.connect(("127.0.0.1", port))
    link.setblocking(False)
    return link


def _flush(link: socket.socket, client: ClientEndpoint) -> None:
    for datagram in client.take_output(_now_us()):
        link.send(datagram)


def _now_us() -> int:
    return time.time_ns() // 1_000


def main() -> None:
    """Does what the lines on standard input say; the parent writes one when it has the last answer, so ``select`` sees it."""
    fleet = Fleet(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    while True:
        while not select.select([sys.stdin], [], [], 1.0)[0]:
            fleet.keep_alive()
        line = sys.stdin.readline().strip()
        if not line:
            return
        order = json.loads(line)
        done = fleet.attach(order["attach"]) if "attach" in order else fleet.send(order["send"], order["readings"])
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
