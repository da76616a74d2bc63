"""A relay between a device and its UDP server that keeps what the server sent: whoever sits on the way can send it again."""

from __future__ import annotations

import selectors
import socket
import threading

from simway_protocol.errors import PeerError
from simway_protocol.udp.frames import Type, parse_header

DATAGRAM_ROOM_BYTES = 2_048
LOOK_S = 0.1


class UdpRelay:
    """Passes datagrams both ways in a thread of its own. ``port``: where the device sends to, on 127.0.0.1."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self.port = int(self._front.getsockname()[1])
        self._ways: dict[tuple[str, int], socket.socket] = {}
        self._device: tuple[str, int] | None = None
        self._seen: list[bytes] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; blocks until the thread is over."""
        self._ending.set()
        self._thread.join()
        for open_socket in (self._front, *self._ways.values()):
            open_socket.close()
        self._selector.close()

    def commands(self) -> list[bytes]:
        """Every COMMAND datagram that the server sent so far, in order."""
        return [datagram for datagram in list(self._seen) if _type_of(datagram) is Type.COMMAND]

    def to_device(self, datagram: bytes) -> None:
        """Sends these bytes to the device's newest address as if they came from the server."""
        assert self._device is not None, "the device has not sent anything yet"
        self._front.sendto(datagram, self._device)

    def _run(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(LOOK_S):
                try:
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]
                except OSError:  # a port that nobody listens on now: lost, as on any way
                    continue

    def _pass_on(self, source: socket.socket, device: tuple[str, int] | None) -> None:
        datagram, address = source.recvfrom(DATAGRAM_ROOM_BYTES)
        if device is None:
            self._device = address
            self._way_of(address).sendto(datagram, self._server)
        else:
            self._seen.append(datagram)
            self._front.sendto(datagram, device)

    def _way_of(self, device: tuple[str, int]) -> socket.socket:
        if device not in self._ways:
            way = self._ways[device] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._selector.register(way, selectors.EVENT_READ, device)
        return self._ways[device]


def _type_of(datagram: bytes) -> Type | None:
    try:
        return parse_header(datagram).type
    except PeerError:
        return None
