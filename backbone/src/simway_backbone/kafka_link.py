"""A connection to one Kafka broker, for one request after the other: the bytes by kafka-python, the waiting by the kernel."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, NamedTuple

from kafka.protocol.parser import KafkaProtocol

ANSWER_MAX_BYTES = 1_000_000
_RECEIVE_BYTES = 65_536
_SHORTEST_S = 0.001


class Broker(NamedTuple):
    """Where one listens."""

    host: str
    port: int


class Link:
    """Blocks: each call for ``timeout_s`` at most, but for what a name server takes, and for each address of a name.

    One thread asks; ``end`` may come from another and wakes it. Raises ``OSError``, and kafka-python's errors for what is no
    answer; after either the link is of no more use.
    """

    def __init__(self, broker: Broker, client_id: str, timeout_s: float) -> None:
        self._socket = socket.create_connection(broker, timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = KafkaProtocol(client_id=client_id, receive_message_max_bytes=ANSWER_MAX_BYTES)

    def ask(self, request: Any, timeout_s: float) -> Any:
        """The answer to a request of kafka-python's, which says its version."""
        self.send(request, timeout_s)
        return self.answer(timeout_s)

    def send(self, request: Any, timeout_s: float) -> None:
        """The first half of ``ask``."""
        self._socket.settimeout(timeout_s)
        self._protocol.send_request(request)
        self._socket.sendall(self._protocol.send_bytes())

    def answer(self, timeout_s: float) -> Any:
        """The second half of ``ask``."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._socket.settimeout(max(_SHORTEST_S, deadline_s - time.monotonic()))
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError("the broker ended the connection")
            for _, answer in self._protocol.receive_bytes(received):
                return answer

    def end(self) -> None:
        """At once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()
