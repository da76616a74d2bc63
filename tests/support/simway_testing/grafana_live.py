"""What a real Grafana's Live channel holds, asked for as a browser does: by its websocket (Centrifuge's JSON protocol, RFC 6455).

The answer to a subscription carries the channel's last frame. The REST API lists channels, but without what is in them.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

_TEXT, _MASKED = 0x81, 0x80
_TIMEOUT_S = 10


def last_values(url: str, user: str, password: str, channel: str) -> list[tuple[str, Any, int]]:
    """Sensor, value and nanoseconds of each row of the last frame of ``stream/simway/<channel>``; [] while there is none."""
    with closing(_open(url, user, password)) as connection:
        _send(connection, {"id": 1, "connect": {"name": "test"}})
        _send(connection, {"id": 2, "subscribe": {"channel": f"1/stream/simway/{channel}"}})
        reader = connection.makefile("rb")
        while True:
            for line in _message(reader).splitlines():
                reply = json.loads(line)
                if reply.get("id") == 2:
                    return _rows(reply.get("subscribe", {}).get("data"))


def _rows(data: dict[str, Any] | None) -> list[tuple[str, Any, int]]:
    if not data or "data" not in data:
        return []
    labels, times, values = data["data"]["values"]
    nanos = (data["data"].get("nanos") or [None, None])[1] or [0] * len(times)
    return [
        (label.removeprefix("sensor="), value, t_ms * 1_000_000 + ns)
        for label, t_ms, ns, value in zip(labels, times, nanos, values, strict=True)
    ]


def _open(url: str, user: str, password: str) -> socket.socket:
    parts = urlsplit(url.rstrip("/"))
    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    connection: socket.socket = socket.create_connection((host, port), timeout=_TIMEOUT_S)
    if secure:
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    key = base64.b64encode(os.urandom(16)).decode()
    account = base64.b64encode(f"{user}:{password}".encode()).decode()
    connection.sendall(
        f"GET {parts.path}/api/live/ws HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {account}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1) or b"(closed)\r\n\r\n"
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        connection.close()
        raise ConnectionError(f"{url}/api/live/ws: {head.decode(errors='replace')[:200]}")
    return connection


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    body, mask = json.dumps(message).encode(), os.urandom(4)
    length = bytes([_MASKED | len(body)]) if len(body) < 126 else bytes([_MASKED | 126]) + len(body).to_bytes(2, "big")
    connection.sendall(bytes([_TEXT]) + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(body)))


def _message(reader: Any) -> bytes:
    """The next message, whole; what comes in parts is joined."""
    whole, final = b"", False
    while not final:
        first, length = reader.read(2)
        final, length = bool(first & 0x80), length & 0x7F
        if length > 125:
            length = int.from_bytes(reader.read(2 if length == 126 else 8), "big")
        body = reader.read(length)
        if first & 0x0F == 8:
            raise ConnectionError(f"Grafana closed the websocket: {body[2:].decode(errors='replace')}")
        whole += body
    return whole
