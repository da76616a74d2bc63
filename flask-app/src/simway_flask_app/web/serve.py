"""Runs the app under gunicorn, embedded: one worker process with threads, its event streams bounded and prompt to end.

The socket is bound before gunicorn starts, so that a taken port is one clear line and exit code 2. The worker opens the
store itself, after the fork.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import ThreadWorker

from simway_flask_app.web import limits
from simway_flask_app.web.app import services_of
from simway_flask_app.web.problems import MEDIA_TYPE, Problem, problem_body

log = structlog.get_logger(__name__)

EXIT_ORPHAN = 1
EXIT_PORT_TAKEN = 2
GRACEFUL_S = 5
"""How long requests under way may take once the server is told to stop."""
KEEPALIVE_S = 5
BACKLOG = 128
REQUEST_LINE_MAX_BYTES = 4_094
HEADERS_MAX = 100


class PortTaken(Exception):
    """The address cannot be listened on. The text names it and the setting."""


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises ``PortTaken``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
        raise PortTaken(f"web: port {port} on {host} {why}; set WEB_PORT to another port") from error
    return listener


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A thread worker that ends the event streams when it is told to stop, and answers what is no HTTP with problem details."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM, and SIGINT: no new requests; those under way get ``GRACEFUL_S``."""
        super().handle_exit(sig, frame)
        self._end_streams()

    handle_quit = handle_exit

    def is_parent_alive(self) -> bool:
        """False when the parent was killed: then this worker ends too, and its streams with it.

        Nobody is left to kill it where a request does not end, and an interpreter waits for its threads: so it ends itself.
        """
        alive: bool = super().is_parent_alive()
        if not alive:
            self._end_streams()
            last = threading.Timer(GRACEFUL_S, os._exit, (EXIT_ORPHAN,))
            last.daemon = True
            last.start()
        return alive

    def _end_streams(self) -> None:
        app = getattr(self, "wsgi", None)
        if app is not None:
            services_of(app).live.stop()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answers a request that gunicorn could not parse."""
        if not isinstance(exc, http_errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _parse_status(exc)
        body = problem_body(Problem(status, "bad_request", "This is no HTTP request that this server takes."))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
            f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode() + body)
        except OSError:
            self.log.debug("the client was gone before its error could be told")


def _parse_status(error: Exception) -> int:
    if isinstance(error, http_errors.LimitRequestHeaders):
        return 431
    return 414 if isinstance(error, http_errors.LimitRequestLine) else 400


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, make_app: Callable[[], Flask], listener: socket.socket) -> None:
        self._make_app, self._listener = make_app, listener
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": f"fd://{self._listener.detach()}",
            "worker_class": Worker,
            "workers": 1,
            "threads": limits.THREADS,
            "worker_connections": 1000,
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACEFUL_S,
            "timeout": 30,
            "limit_request_line": REQUEST_LINE_MAX_BYTES,
            "limit_request_fields": HEADERS_MAX,
            "control_socket_disable": True,
            "loglevel": "warning",
            "proc_name": "simway-web",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make_app()


def serve(make_app: Callable[[], Flask], *, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT, then ends the process. ``make_app`` runs in the worker. Exit code 2: the port is taken."""
    try:
        listener = listen(host, port)
    except PortTaken as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_PORT_TAKEN)
    log.info("serving", url=f"http://{host}:{listener.getsockname()[1]}/")
    _Server(make_app, listener).run()
