"""The pairs of log and store that whole-platform tests run on, and the real servers behind one of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from simway_testing import Unavailable, kafka_server, postgres_server, scratch, unavailable
from simway_testing.waiting import wait_for

SQLITE, REAL = "sqlite", "kafka+postgres"
PAIRS = [pytest.param(pair, marks=pytest.mark.xdist_group(pair)) for pair in (SQLITE, REAL)]
"""Parameters for a fixture; one worker of pytest-xdist (``scheduling``) takes all tests of a pair."""
RESTARTED_WITHIN_S = 90.0

Serve = Callable[[Path], AbstractContextManager[tuple[str, "subprocess.Popen[bytes]"]]]


class Server:
    """A real server that a test can kill and start again; it comes back at the same address with what it had."""

    def __init__(self, serve: Serve, directory: Path) -> None:
        """``directory`` lies directly below a folder that everybody may enter: PostgreSQL does not run as root."""
        self._serve, self._directory = serve, directory
        self._open()

    def _open(self) -> None:
        self._running = self._serve(self._directory)
        self.url, self.process = self._running.__enter__()

    def kill(self) -> None:
        """SIGKILL to the server's main process."""
        self.process.kill()
        self.process.wait()
        self.close()

    def start(self) -> None:
        """Starts it again, which PostgreSQL refuses until the last orphan of the killed one is gone."""

        def opened() -> bool:
            try:
                self._open()
            except Unavailable:
                return False
            return True

        wait_for(opened, RESTARTED_WITHIN_S, f"a second start in {self._directory}")

    def close(self) -> None:
        self._running.__exit__(None, None, None)


@contextmanager
def servers_of(pair: str) -> Iterator[dict[str, Server]]:
    """``kafka`` and ``postgres``, each of its own, for the pair that uses them; skips the test where they cannot be had."""
    kinds: dict[str, Serve] = {"kafka": kafka_server.server, "postgres": postgres_server.server} if pair == REAL else {}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        try:
            for name, serve in kinds.items():
                servers[name] = Server(serve, stack.enter_context(scratch(name)))
                stack.callback(servers[name].close)
        except Unavailable as missing:
            unavailable(str(missing))
        yield servers


def urls(servers: dict[str, Server]) -> dict[str, str]:
    """``log_url`` and ``store_url`` of a platform on these servers; none for the embedded pair, whose files go to its folder."""
    if not servers:
        return {}
    return {"log_url": servers["kafka"].url, "store_url": postgres_server.database(servers["postgres"].url)}
