"""The real server endpoint of the UDP protocol behind a real socket, in a thread: what ``simway-modem`` attaches to in tests."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from typing import Any

from simway_protocol import senml
from simway_protocol.commands import Body, BodyType, Kind, command_mac, encode_body
from simway_protocol.outcomes import Outcome
from simway_protocol.readings import Reading
from simway_protocol.udp.events import CommandProgress, DataReceived, SessionAttached
from simway_protocol.udp.server import CookiePeriod, ServerEndpoint

KEY = bytes(range(32))
"""Every device's key."""


def now_us() -> int:
    return time.time_ns() // 1000


class UdpServer:
    """The real server endpoint behind a socket, in a thread; what it was sent is in its lists."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.02)
        self.port = self.socket.getsockname()[1]
        self.endpoint = ServerEndpoint(
            worker_index=0, device_key=lambda _device, _version: KEY, check_device=lambda _device, _version: None,
            random=secrets.token_bytes,
        )  # fmt: skip
        self.endpoint.set_cookie_periods([CookiePeriod(now_us(), secrets.token_bytes(32), secrets.token_bytes(32))])
        self.readings: dict[tuple[str, int], Reading] = {}
        self.attached: list[SessionAttached] = []
        self.progress: list[CommandProgress] = []
        self._confirm: dict[bytes, Body] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, body: Body) -> None:
        if body.kind is Kind.SWITCH:
            self._confirm[body.command_id] = body
        encoded = encode_body(body)
        with self._lock:
            self.endpoint.submit(
                body.device, body.command_id, body.type.name.lower(), encoded, command_mac(KEY, encoded), body.expires_us
            )  # fmt: skip

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.socket.close()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                received = self.socket.recvfrom(2_048)
            except TimeoutError:
                received = None
            with self._lock:
                events = self.endpoint.receive(*received, now_us()) if received else []
                events += self.endpoint.tick(now_us())
                confirmations = [body for event in events if (body := self._handle(event))]
            for body in confirmations:
                self.submit(body)
            with self._lock:
                for datagram, address in self.endpoint.take_output(now_us()):
                    self.socket.sendto(datagram, address)

    def _handle(self, event: Any) -> Body | None:
        if isinstance(event, SessionAttached):
            self.attached.append(event)
        elif isinstance(event, DataReceived):
            found = senml.resolve(event.records, None)
            self.readings.update({(event.epoch, event.first_seq + at): reading for at, reading in enumerate(found)})
            last = event.first_seq + len(found) - 1
            self.endpoint.acknowledge(event.session_id, event.epoch, event.first_seq, last, Outcome.LOGGED)
        elif isinstance(event, CommandProgress):
            self.progress.append(event)
            if event.event in ("result", "closed"):
                self.endpoint.settle(event.session_id, event.command_id, event.event)
            body = self._confirm.get(event.command_id)
            if body and event.event == "result" and event.outcome == "executed" and event.iccid == body.target_iccid:
                return body._replace(type=BodyType.CONFIRM)
        return None
