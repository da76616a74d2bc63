"""Server-sent events (HTML standard, 9.2.6), as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

LINE_MAX_BYTES = 8 * 2**20
"""A line that is longer is none of Simway's."""


class Event(NamedTuple):
    """``data``: parsed JSON."""

    name: str
    data: Any


def parse(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream, each once its blank line has come; one that breaks off is none. ``ValueError``: no JSON."""
    name, data = "message", list[str]()
    for line in _lines(pieces):
        if not line:
            if data:
                yield Event(name, json.loads("\n".join(data)))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    buffer = b""
    for piece in pieces:
        buffer += piece
        *whole, buffer = buffer.split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(buffer) > LINE_MAX_BYTES:
            raise ValueError("an event that is too long")
