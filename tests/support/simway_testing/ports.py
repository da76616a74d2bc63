"""Ports for the servers of tests: below those that the system gives to outgoing connections, one of which may else have a port
before the server for which it was found is there.
"""

from __future__ import annotations

import os
import socket

FIRST, PORTS = 10_000, 22_000
_BLOCK = 100
_at = os.getpid() * 97 * _BLOCK % PORTS
"""Where this process looks next: processes that were started together begin far from each other, and none comes back soon."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, *, count: int = 1) -> int:
    """The first of ``count`` ports side by side that nobody uses at this moment, and that was not given out lately."""
    global _at
    while True:
        first, _at = FIRST + _at, (_at + count) % (PORTS - count)
        if all(_is_free(first + number, kind) for number in range(count)):
            return first


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
