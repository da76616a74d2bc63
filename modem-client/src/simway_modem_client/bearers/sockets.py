"""UDP sockets of the host, over whichever network it chooses or over one that is named."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from simway_protocol.sim.bearer import PathError


def connect(host: str, port: int, local_port: int, interface: str = "", attempt: int = 0) -> socket.socket:
    """A non-blocking UDP socket to the server, its name resolved anew. Blocks on the resolver. Raises ``PathError``.

    ``interface``: a network interface's name (``wwan0``) or one of this machine's addresses; empty: the host chooses.
    ``attempt``: of a name's addresses the first that can be sent to is taken, beginning with this one, so that one behind which
    nobody answers does not keep a device from the next.
    """
    address_of = _address(interface)
    try:
        found = socket.getaddrinfo(host, port, _family(address_of), socket.SOCK_DGRAM)
    except OSError as error:
        raise PathError(f"cannot resolve {host} (SERVER_HOST): {error}") from error
    begin = attempt % len(found)
    troubles: list[OSError] = []
    for family, kind, protocol, _name, address in found[begin:] + found[:begin]:
        try:
            opened = socket.socket(family, kind, protocol)
        except OSError as error:
            troubles.append(error)
            continue
        try:
            opened.setblocking(False)
            _bind(opened, family, local_port, interface, address_of)
            opened.connect(address)
        except OSError as error:
            opened.close()
            troubles.append(error)
            continue
        return opened
    over = f" over {interface} (MODEM_INTERFACE)" if interface else ""
    words = "; ".join(dict.fromkeys(map(str, troubles)))
    raise PathError(f"cannot send from port {local_port} (LOCAL_PORT) to {host}:{port}{over}: {words}") from troubles[0]


def _address(interface: str) -> Any:
    try:
        return ipaddress.ip_address(interface)
    except ValueError:
        return None


def _family(address: Any) -> int:
    if address is None:
        return socket.AF_UNSPEC
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _bind(opened: socket.socket, family: int, local_port: int, interface: str, address: Any) -> None:
    if interface and address is None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
    opened.bind((everywhere if address is None else str(address), local_port))
