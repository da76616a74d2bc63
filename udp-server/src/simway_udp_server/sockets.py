"""The UDP sockets: made by the parent, one a worker, on one port; and how many datagrams the kernel threw away."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from simway_backbone.service import bind_error

RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
"""Asked for; without CAP_NET_ADMIN the kernel gives at most twice ``net.core.rmem_max``."""
_SO_RCVBUFFORCE = 33


def open_sockets(host: str, port: int, count: int) -> list[socket.socket]:
    """``count`` non-blocking sockets on one port, among which the kernel spreads flows (SO_REUSEPORT).

    ``port`` 0 takes any free one. Raises ``StartError`` when another program has it, even if that would share it.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        port = _free_port(family, address)
        return [_open(family, (address[0], port)) for _ in range(count)]
    except OSError as error:
        raise bind_error(error, "UDP_PORT", host, port) from error


def _free_port(family: int, address: tuple[object, ...]) -> int:
    """Binds once without sharing: with it, a second platform on this port would take half of our devices unnoticed."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def _open(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        with suppress(OSError):
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    _enlarge_buffer(made)
    made.setblocking(False)
    made.bind(address)
    return made


def _enlarge_buffer(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BUFFER_BYTES)
    with suppress(OSError):  # only with CAP_NET_ADMIN
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)


def inode_of(made: socket.socket) -> int:
    """What ``/proc/net/udp`` knows the socket by."""
    return os.fstat(made.fileno()).st_ino


def kernel_drops(inodes: Iterable[int], tables: Iterable[str] = ("/proc/net/udp", "/proc/net/udp6")) -> int:
    """Datagrams that the kernel threw away because a socket's buffer was full; 0 where there is no ``/proc``."""
    wanted = set(inodes)
    drops = 0
    for table in tables:
        with suppress(OSError):
            drops += parse_drops(Path(table).read_text(), wanted)
    return drops


def parse_drops(table: str, inodes: set[int]) -> int:
    """The sum of the column ``drops`` over the rows of ``inodes`` in the text of ``/proc/net/udp`` (proc(5))."""
    rows = (line.split() for line in table.splitlines()[1:])
    return sum(int(row[12]) for row in rows if len(row) > 12 and row[9].isdigit() and int(row[9]) in inodes)
