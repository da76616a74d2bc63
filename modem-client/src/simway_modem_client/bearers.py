"""Bearers: what carries datagrams, and what a switch over it proves.

``none``: this machine's own network. The card sits in a reader on a desk and has no radio, so a switch proves the card's state
only (proof ``card-only``). Bearers with a radio prove ``bearer``.
"""

from __future__ import annotations

import socket
from typing import Protocol

from simway_modem_client.link import PathError


class Bearer(Protocol):
    """Opens the way to the server."""

    name: str
    proof: str

    def open_socket(self, host: str, port: int, local_port: int) -> socket.socket:
        """A non-blocking UDP socket to the server, its name resolved anew. Blocks on the resolver. Raises ``OSError``."""


class NoBearer:
    """The host's own network."""

    name = "none"
    proof = "card-only"

    def open_socket(self, host: str, port: int, local_port: int) -> socket.socket:
        """As ``Bearer.open_socket``."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise PathError(f"cannot resolve {host} (SERVER_HOST): {error}") from error
        family, kind, protocol, _name, address = found[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            opened.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", local_port))
            opened.connect(address)
        except OSError as error:
            opened.close()
            raise PathError(f"cannot send from port {local_port} (LOCAL_PORT) to {host}:{port}: {error}") from error
        return opened
