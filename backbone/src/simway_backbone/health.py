"""Health and metrics over HTTP: one small server in one thread.

``GET /health/live``: 200 unless a check said that only a restart helps. ``GET /health/ready``: 200 when every check is well.
A process that waits for its log or its database is alive and not ready, and so is one that begins. Both answer
``{"status": ..., "checks": {name: "ok" | what is wrong}}``, with 503 otherwise. ``GET /metrics``: Prometheus text.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from simway_backbone import metrics

CLIENT_TIMEOUT_S = 2.0


class Health:
    """Named checks, set by whoever knows. Thread-safe."""

    def __init__(self, process: str = "") -> None:
        """``process``: whose metrics are served, by its name in ``metrics.SERVED_BY``; else all that there are."""
        self._problems: dict[str, str | None] = {}
        self._fatal: dict[str, str] = {}
        self._within_s: dict[str, float] = {}
        self._heard_s: dict[str, float] = {}
        self.stopping = False
        self.metrics: Callable[[], bytes] = lambda: metrics.exposition(lambda: metrics.families(process))
        """Gives the Prometheus text; a parent of several workers may replace it."""

    def set(self, name: str, problem: str | None, *, fatal: bool = False) -> None:
        """``problem``: None when all is well, else what is wrong. ``fatal``: only a restart helps, so ``live`` fails too."""
        self._problems[name] = problem
        self._heard_s[name] = time.monotonic()
        if problem is not None and fatal:
            self._fatal[name] = problem
        else:
            self._fatal.pop(name, None)

    def starting(self, *names: str) -> None:
        """The checks that this process will ``set``: it is not ready before each of them was."""
        for name in names:
            self._heard_s.setdefault(name, time.monotonic())
            self._problems.setdefault(name, "starting")

    def expect(self, name: str, within_s: float) -> None:
        """From now on the check is not well either when ``set`` is not called for it for so long: who knows of it hangs."""
        self._heard_s.setdefault(name, time.monotonic())
        self._problems.setdefault(name, None)
        self._within_s[name] = within_s

    def checks(self) -> dict[str, str | None]:
        """What is wrong, by check; None where all is well."""
        return {name: problem or self._silence(name) for name, problem in list(self._problems.items())}

    def _silence(self, name: str) -> str | None:
        within_s = self._within_s.get(name)
        silent_s = time.monotonic() - self._heard_s[name]
        return None if within_s is None or silent_s <= within_s else f"no answer for {silent_s:.0f} s"

    @property
    def alive(self) -> bool:
        """False when only a restart helps."""
        return not self._fatal

    @property
    def ready(self) -> bool:
        """True when all checks are well and the service is not stopping. A process of which nothing is known yet is not ready."""
        checks = self.checks()
        return bool(checks) and not self.stopping and not any(checks.values())

    def report(self, well: bool) -> bytes:
        """The JSON that is answered."""
        known = bool(self._problems)
        status = "ok" if well else "stopping" if self.stopping else "failing" if known else "starting"
        checks = {name: problem or "ok" for name, problem in self.checks().items()}
        return json.dumps({"status": status, "checks": checks}).encode() + b"\n"

    def exposition(self) -> bytes:
        """What ``/metrics`` answers: ``metrics``, with the checks as they are now among them."""
        for name, problem in self.checks().items():
            metrics.HEALTH_CHECK.labels(name).set(0 if problem else 1)
        metrics.READY.set(int(self.ready))
        return self.metrics()


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    health: Health

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, self.health.exposition())
        elif path in ("/health/live", "/health/ready"):
            well = self.health.alive if path == "/health/live" else self.health.ready
            self._answer(200 if well else 503, "application/json", self.health.report(well))
        else:
            self._answer(404, "text/plain", b"there are /health/live, /health/ready and /metrics\n")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: these are asked every few seconds."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nobody's trouble."""


class HealthServer:
    """Serves a ``Health``; bound when made (raises ``OSError``), serving from ``start`` to ``pause`` or ``close``.

    A fork may ``start`` what its parent made, and paused.
    """

    def __init__(self, health: Health, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"health": health})
        self._server = _Server((host, port), handler)
        self.port: int = self._server.server_address[1]
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to answer."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Ends answering; who asks meanwhile waits, and is answered after the next ``start``."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Ends answering and frees the port."""
        self.pause()
        self._server.server_close()
