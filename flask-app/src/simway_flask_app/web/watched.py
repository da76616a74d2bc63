"""Health and metrics of the web, on a port of their own: asked without a token, so not on the port that the public reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from simway_backbone.health import Health, HealthServer
from simway_backbone.service import bind_error

from simway_flask_app.periodic import Periodic
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.watching import PERIOD_S, StoreWatch


class WatchedWeb:
    """The port is bound when this is made; the parent answers on it until the store is there, its worker from then on."""

    def __init__(self, host: str, port: int) -> None:
        """Raises ``StartError``."""
        self.health = Health("web")
        try:
            self._server = HealthServer(self.health, host, port)
        except OSError as error:
            raise bind_error(error, "WEB_METRICS_PORT", host, port) from error

    @contextmanager
    def answering(self) -> Iterator[None]:
        """The parent answers, while it waits."""
        self._server.start()
        try:
            yield
        finally:
            self._server.pause()

    def start(self, store: SqlStore) -> None:
        """In the worker: watches the store and answers, as long as the process lives."""
        Periodic("watch", StoreWatch(store, self.health).look, PERIOD_S, stopping=Event()).start()
        self._server.start()
