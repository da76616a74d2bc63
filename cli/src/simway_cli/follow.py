"""Follows a device's event stream over reconnections."""

from __future__ import annotations

import time
from collections.abc import Iterator

from simway_cli.client import Client
from simway_cli.errors import Away, Refused
from simway_cli.events import Event, parse
from simway_cli.output import Screen

AGAIN_S = 2.0
"""Between the end of a stream and the next one."""
AWAY_MAX_S = 60.0
"""A server that was there and is away for longer than this is given up."""


def events(client: Client, screen: Screen, device: str) -> Iterator[Event]:
    """Events of a device for as long as anybody listens; each (re)connection begins with ``ready``: look then at what was missed.

    Raises ``CliError`` when the first connection fails, and when the server stays away for ``AWAY_MAX_S``.
    """
    connected_s: float | None = None
    while True:
        try:
            with client.stream("events", {"device": device}) as pieces:
                for event in parse(pieces):
                    connected_s = time.monotonic()
                    yield event
        except Away as error:
            if connected_s is None or time.monotonic() - connected_s > AWAY_MAX_S:
                raise
            screen.note(f"{error}; trying again")
        except ValueError as error:
            raise Away(f"the event stream of {client.url} cannot be read: {error}") from error
        except Refused as error:
            if connected_s is None or error.status != 429 or time.monotonic() - connected_s > AWAY_MAX_S:
                raise
        time.sleep(AGAIN_S)
