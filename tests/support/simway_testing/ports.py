"""Ports for the servers of tests: below those that the system gives to outgoing connections, one of which may else have a port
before the server for which it was found is there. A server that is down for a moment keeps its port, too: no two processes give
out of the same block.
"""

from __future__ import annotations

import errno
import os
import socket

FIRST, BLOCK, BLOCKS = 10_000, 100, 220
_leases: list[socket.socket] = []
"""Bound to names that nobody else can have (unix(7), abstract) until this process ends."""
_left = range(0)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, *, count: int = 1) -> int:
    """The first of ``count`` ports side by side that nobody uses at this moment and this process has not given out."""
    global _left
    assert count <= BLOCK
    while True:
        while len(_left) < count:
            _left = _lease()
        ports, _left = _left[:count], _left[count:]
        if all(_is_free(port, kind) for port in ports):
            return ports[0]


def _lease() -> range:
    """The ports of a block that no process has. Processes that come soon after each other begin far from each other."""
    for number in range(BLOCKS):
        block = (os.getpid() * 97 + number) % BLOCKS
        lease = socket.socket(socket.AF_UNIX)
        try:
            lease.bind(f"\0simway-test-ports-{block}")
        except OSError as error:
            lease.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        _leases.append(lease)
        first = FIRST + block * BLOCK
        return range(first, first + BLOCK)
    raise RuntimeError("all ports for tests are given out")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
