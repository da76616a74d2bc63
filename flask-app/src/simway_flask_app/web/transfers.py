"""Exports and imports under way: bounded in number, and none waits for ever for a peer that stands still."""

from __future__ import annotations

import socket
import threading

from flask import Request

from simway_flask_app.web import limits
from simway_flask_app.web.problems import Problem


class Transfers:
    """The places for exports and imports. Thread-safe."""

    def __init__(self, places: int = limits.TRANSFERS_MAX) -> None:
        self._places = threading.BoundedSemaphore(places)

    def begin(self, request: Request) -> Transfer:
        """Takes a place, and bounds how long the peer may stand still. Raises a 429 ``Problem`` where none is free."""
        if not self._places.acquire(blocking=False):
            detail = f"{limits.TRANSFERS_MAX} exports and imports are under way, which is all there may be. Try again later."
            raise Problem(429, "too_many_transfers", detail, headers={"Retry-After": str(limits.TRANSFER_RETRY_S)})
        peer = request.environ.get("gunicorn.socket")
        if isinstance(peer, socket.socket):
            peer.settimeout(limits.TRANSFER_STALL_S)
        return Transfer(self._places, peer if isinstance(peer, socket.socket) else None)


class Transfer:
    """One place that is taken."""

    def __init__(self, places: threading.BoundedSemaphore, peer: socket.socket | None) -> None:
        self._places, self._peer = places, peer
        self._over = False

    def end(self) -> None:
        """Gives the place back; a second call does nothing."""
        if self._over:
            return
        self._over = True
        self._places.release()
        if self._peer is not None and self._peer.fileno() >= 0:
            self._peer.settimeout(None)
