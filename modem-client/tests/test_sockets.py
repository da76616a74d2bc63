"""The way to the server: every address of its name has its turn, and whatever waits is heard."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from simway_modem_client.bearers import sockets
from simway_modem_client.bearers.none import NoBearer
from simway_modem_client.udp_loop import UdpLoop, UdpPath
from simway_protocol.sim.bearer import PathError

Addresses = Callable[..., None]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)
        yield bound


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """What every name resolves to."""

    def are(*hosts: str) -> None:
        found = [
            (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM, 17, "", (host, port)) for host, port in
            [(host, 9) for host in hosts]
        ]  # fmt: skip
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: list(found))

    return are


def connect(attempt: int) -> socket.socket:
    return sockets.connect("iot.example.org", 9, 0, attempt=attempt)


def test_an_address_that_cannot_be_sent_to_is_passed_over(addresses: Addresses) -> None:
    addresses("255.255.255.255", "127.0.0.1")  # broadcasts are refused to sockets that did not ask for them
    with connect(0) as way:
        assert way.getpeername()[0] == "127.0.0.1"


def test_addresses_take_turns(addresses: Addresses) -> None:
    addresses("127.0.0.1", "127.0.0.2", "127.0.0.3")
    seen = []
    for attempt in range(4):
        with connect(attempt) as way:
            seen.append(way.getpeername()[0])
    assert seen == ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]


def test_when_none_can_be_sent_to_it_says_why(addresses: Addresses) -> None:
    addresses("255.255.255.255", "255.255.255.255")
    with pytest.raises(PathError, match="cannot send from port 0"):
        connect(0)


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(PathError, match="SERVER_HOST"):
        sockets.connect("no such host.invalid", 9, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        with pytest.raises(PathError, match="LOCAL_PORT"):
            sockets.connect("127.0.0.1", 9, taken.getsockname()[1])


def test_the_next_address_has_its_turn_only_after_one_that_did_not_answer(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    connect_really = sockets.connect

    def connect_noting(host: str, port: int, local_port: int, interface: str, attempt: int) -> socket.socket:
        asked.append(attempt)
        return connect_really(host, port, local_port, interface, attempt)

    monkeypatch.setattr(sockets, "connect", connect_noting)
    path = UdpPath(NoBearer(), *server.getsockname())
    path.reopen()
    path.reopen()
    path.send(b"up")
    _datagram, device = server.recvfrom(10)
    server.sendto(b"down", device)
    assert path.receive() == b"down"
    path.reopen()
    path.reopen()
    assert asked == [0, 1, 1, 2]
    path.close()


class HeardLink:
    """The part of ``Link`` that a wait calls."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def receive(self, datagram: bytes) -> None:
        self.heard.append(datagram)


def test_all_that_came_while_a_card_was_slow_is_heard_in_one_wait(server: socket.socket) -> None:
    path = UdpPath(NoBearer(), *server.getsockname())
    path.reopen()
    path.send(b"up")
    _datagram, device = server.recvfrom(10)
    for number in range(150):
        server.sendto(str(number).encode(), device)
    link = HeardLink()
    loop = UdpLoop(link, path)  # type: ignore[arg-type]
    loop._wait(0)
    assert link.heard == [str(number).encode() for number in range(150)]
    loop.close()


def test_an_error_hides_no_datagram_behind_it(server: socket.socket) -> None:
    class LosesEveryOther:
        """As the virtual radio's socket tells a datagram that it loses."""

        def __init__(self, inner: socket.socket) -> None:
            self._inner, self._count = inner, 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def recv(self, room_bytes: int) -> bytes:
            self._count += 1
            datagram = self._inner.recv(room_bytes)
            if self._count % 2:
                raise BlockingIOError("the radio lost the datagram")
            return datagram

    path = UdpPath(NoBearer(), *server.getsockname())
    path.reopen()
    path.send(b"up")
    _datagram, device = server.recvfrom(10)
    for number in range(6):
        server.sendto(str(number).encode(), device)
    path.socket = LosesEveryOther(path.socket)  # type: ignore[assignment, arg-type]
    link = HeardLink()
    loop = UdpLoop(link, path)  # type: ignore[arg-type]
    loop._wait(0)
    assert link.heard == [b"1", b"3", b"5"]
    loop.close()
