"""Listens for news of the store in a thread of its own, for who waits for something else meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import structlog

from simway_flask_app.store.news import News
from simway_flask_app.store.port import StoreError

log = structlog.get_logger()

POLL_S = 0.5
RETRY_S = 1.0
PACE_S = 0.005
"""Between two calls: on SQLite every commit is news, and a busy recorder has hundreds a second."""


class Listener:
    """Calls ``on_news``, in its own thread, whenever something may have been decided, until ``stopping`` is set."""

    def __init__(self, news: News, on_news: Callable[[], object], *, stopping: Event) -> None:
        self._news, self._on_news, self._stopping = news, on_news, stopping
        self._thread = Thread(target=self._run, name="news", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self) -> None:
        """Waits, not for long, for the end, which ``stopping`` brings."""
        self._thread.join(2 * POLL_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._news.wait(POLL_S):
                    self._on_news()
                    self._stopping.wait(PACE_S)
            except StoreError as error:
                log.info("no news of the store; it is looked at without", detail=str(error))
                self._stopping.wait(RETRY_S)
        self._news.close()
