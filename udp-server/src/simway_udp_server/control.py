"""What parent and worker say to each other over a SOCK_SEQPACKET pair: one JSON message a packet. The worker ends at its end."""

from __future__ import annotations

import socket
from contextlib import suppress

import msgspec

from simway_udp_server.totals import Family

PACKET_MAX_BYTES = 1_000_000


class Orders(msgspec.Struct):
    """From the parent. ``cookie_periods``: (started us, cookie key, private share), the newest last."""

    cookie_periods: list[tuple[int, bytes, bytes]]


class Report(msgspec.Struct):
    """From a worker, about once a second. ``problems``: why it is not ready; empty when it is."""

    families: list[Family]
    problems: list[str]


_orders = msgspec.json.Decoder(Orders)
_report = msgspec.json.Decoder(Report)


def make_pair() -> tuple[socket.socket, socket.socket]:
    """The parent's end and the worker's, both non-blocking."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PACKET_MAX_BYTES)
    return ours, theirs


def send_orders(control: socket.socket, orders: Orders) -> None:
    """Sends; a worker that is gone, or stuck with a full buffer, is the parent's to notice otherwise."""
    with suppress(OSError):
        control.send(msgspec.json.encode(orders))


def send_report(control: socket.socket, report: Report) -> None:
    """Sends; left out when the parent is gone or does not read: the next one says it all again."""
    with suppress(OSError):
        control.send(msgspec.json.encode(report))


def read_orders(control: socket.socket) -> Orders | None:
    """One message of the parent; None at the end. Raises ``BlockingIOError`` when there is none now."""
    packet = _receive(control)
    return _orders.decode(packet) if packet else None


def read_report(control: socket.socket) -> Report | None:
    """One message of a worker; None at the end. Raises ``BlockingIOError`` when there is none now."""
    packet = _receive(control)
    return _report.decode(packet) if packet else None


def _receive(control: socket.socket) -> bytes:
    try:
        return control.recv(PACKET_MAX_BYTES)
    except ConnectionError:
        return b""
