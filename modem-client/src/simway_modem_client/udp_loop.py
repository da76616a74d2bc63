"""The shell around ``Link``: one UDP socket, one thread, a wait that ends with a datagram, a deadline or a wake-up."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from simway_protocol.sim.bearer import Bearer, DatagramSocket

from simway_modem_client.link import Link

DATAGRAMS_A_ROUND = 64
DATAGRAM_ROOM_BYTES = 2_048


class UdpPath:
    """The way to the server over a bearer (``link.Path``). A datagram that cannot be sent now is lost, as on any network."""

    def __init__(self, bearer: Bearer, host: str, port: int, local_port: int = 0) -> None:
        self._bearer = bearer
        self._host, self._port, self._local_port = host, port, local_port
        self.socket: DatagramSocket | None = None

    def reopen(self) -> None:
        """As ``link.Path.reopen``."""
        self.close()
        self.socket = self._bearer.open_socket(self._host, self._port, self._local_port)

    def send(self, datagram: bytes) -> None:
        """Sends one datagram."""
        if self.socket is None:
            return
        try:
            self.socket.send(datagram)
        except OSError:
            return  # full buffer, no route, a port that is closed now: the endpoint repeats what stays unanswered

    def receive(self) -> bytes | None:
        """One datagram, or None when there is none."""
        if self.socket is None:
            return None
        try:
            return self.socket.recv(DATAGRAM_ROOM_BYTES)
        except OSError:
            return None

    def close(self) -> None:
        """Closes the socket."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class UdpLoop:
    """Runs a link until told to stop. ``wake`` may be called from any thread."""

    def __init__(self, link: Link, path: UdpPath) -> None:
        self._link = link
        self._path = path
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    def wake(self) -> None:
        """Ends the wait."""
        try:
            self._wake_in.send(b"\0")
        except BlockingIOError:
            return  # it is being woken already

    def run(self, is_over: Callable[[], bool], each_round: Callable[[], None] = lambda: None) -> None:
        """Blocks until ``is_over``. ``each_round`` is called after every wait."""
        self._link.start()
        while not is_over():
            self._link.tick()
            self._send()
            self._wait(self._link.next_wait_s())
            self._send()  # a RECEIPT is out before the card works on the command
            each_round()
        self._send()

    def close(self) -> None:
        """Closes the sockets."""
        self._path.close()
        self._wake_in.close()
        self._wake_out.close()

    def _send(self) -> None:
        for datagram in self._link.take_output():
            self._path.send(datagram)

    def _wait(self, wait_s: float) -> None:
        waiting: list[socket.socket | DatagramSocket] = [self._wake_out, *([self._path.socket] if self._path.socket else [])]
        readable, _, _ = select.select(waiting, [], [], wait_s)
        if self._wake_out in readable:
            while self._drain():
                pass
        for _ in range(DATAGRAMS_A_ROUND):
            datagram = self._path.receive()
            if datagram is None:
                return
            self._link.receive(datagram)

    def _drain(self) -> bool:
        try:
            return len(self._wake_out.recv(4_096)) == 4_096
        except BlockingIOError:
            return False
