"""Bearers: what carries datagrams, and what a switch over it proves. Found by name, as card drivers are.

``none``: this machine's own network, for a card in a reader on a desk. ``at``: a modem on a serial port. ``virtual``: a simulated
radio, from the package virtual-sim.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from simway_protocol.sim.bearer import BEARER_GROUP, Bearer, BearerOpener, BearerUnusable


def bearer_names() -> list[str]:
    """The names that ``BEARER`` may have on this machine."""
    return sorted(point.name for point in entry_points(group=BEARER_GROUP))


def open_bearer(name: str, settings: Mapping[str, str]) -> Bearer:
    """Opens a bearer by its name. Raises ``BearerUnusable`` with a text that says what to do."""
    found = next(iter(entry_points(group=BEARER_GROUP, name=name)), None)
    if found is None:
        raise BearerUnusable(f"there is no bearer {name!r} (BEARER); installed: {', '.join(bearer_names()) or 'none'}")
    opener: BearerOpener = found.load()
    return opener(settings)


__all__ = ["Bearer", "BearerUnusable", "bearer_names", "open_bearer"]
