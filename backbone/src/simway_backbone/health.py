"""Health and metrics over HTTP: one small server in one thread.

``GET /health/live``: 200 unless a check said that only a restart helps. ``GET /health/ready``: 200 when every check is well.
Both answer ``{"status": ..., "checks": {name: "ok" | what is wrong}}``, with 503 otherwise. ``GET /metrics``: Prometheus text.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

CLIENT_TIMEOUT_S = 2.0


class Health:
    """Named checks, set by whoever knows. Thread-safe."""

    def __init__(self) -> None:
        self._problems: dict[str, str | None] = {}
        self._fatal: dict[str, str] = {}
        self.stopping = False
        self.metrics: Callable[[], bytes] = lambda: generate_latest(REGISTRY)
        """Gives the Prometheus text; a parent of several workers may replace it."""

    def set(self, name: str, problem: str | None, *, fatal: bool = False) -> None:
        """``problem``: None when all is well, else what is wrong. ``fatal``: only a restart helps, so ``live`` fails too."""
        self._problems[name] = problem
        if problem is not None and fatal:
            self._fatal[name] = problem
        else:
            self._fatal.pop(name, None)

    @property
    def alive(self) -> bool:
        """False when only a restart helps."""
        return not self._fatal

    @property
    def ready(self) -> bool:
        """True when all checks are well and the service is not stopping."""
        return not self.stopping and all(problem is None for problem in list(self._problems.values()))

    def report(self, well: bool) -> bytes:
        """The JSON that is answered."""
        status = "ok" if well else "stopping" if self.stopping else "failing"
        checks = {name: problem or "ok" for name, problem in list(self._problems.items())}
        return json.dumps({"status": status, "checks": checks}).encode() + b"\n"


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT_S
    health: Health

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, self.health.metrics())
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
    """Serves a ``Health``; bound when made (raises ``OSError``), serving from ``start`` to ``close``."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"health": health})
        self._server = _Server((host, port), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self) -> None:
        """Ends answering and frees the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
