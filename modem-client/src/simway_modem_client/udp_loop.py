"""The shell around ``Link``: one UDP socket, one thread, a wait that ends with a datagram, a deadline or a wake-up."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from simway_protocol.sim.bearer import Bearer, DatagramSocket

from simway_modem_client.bearers import sockets
from simway_modem_client.link import Link

DATAGRAMS_A_ROUND = 1_024
"""More than a socket holds: after a card that took minutes, all that came meanwhile is heard before silence is judged."""
DATAGRAM_ROOM_BYTES = 2_048


class UdpPath:
    """The way to the server over a bearer (``link.Path``). A datagram that cannot be sent now is lost, as on any network."""

    def __init__(self, bearer: Bearer, host: str, port: int, local_port: int = 0) -> None:
        self._bearer = bearer
        self._host, self._port, self._local_port = host, port, local_port
        self.socket: DatagramSocket | None = None
        self._attempt = -1
        self._answered = False

    def reopen(self) -> None:
        """As ``link.Path.reopen``. After an address that did not answer, the name's next one."""
        self.close()
        if not self._answered:
            self._attempt += 1
        self._answered = False
        self.socket = self._bearer.open_socket(self._connect)

    def _connect(self, interface: str) -> DatagramSocket:
        return sockets.connect(self._host, self._port, self._local_port, interface, self._attempt)

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
            datagram = self.socket.recv(DATAGRAM_ROOM_BYTES)
        except OSError:
            return None
        self._answered = True
        return datagram

    def is_readable(self) -> bool:
        """There is more to receive, or an error to be told."""
        return self.socket is not None and bool(select.select([self.socket], [], [], 0)[0])

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
            if datagram is not None:
                self._link.receive(datagram)
            elif not self._path.is_readable():  # an ICMP error, or a datagram that a radio loses, hides none behind it
                return

    def _drain(self) -> bool:
        try:
            return len(self._wake_out.recv(4_096)) == 4_096
        except BlockingIOError:
            return False
