"""The one way a process of Simway runs: log lines, signals, health and metrics over HTTP, and an ordered end with a deadline.

    def body(service: Service) -> None:           # in the main thread
        log = open_log(...)
        service.defer(log.close)                  # undone in reverse order once the body has returned
        service.on_stop(lambda: ...)              # called at SIGTERM or SIGINT, in another thread: wakes the body
        while not service.stopping.wait(1): ...

    run_service("recorder", body, metrics_host="127.0.0.1", metrics_port=9102)

The end: signal -> ``stopping`` is set, ``/health/ready`` says 503 -> ``on_stop`` callbacks -> the body returns -> what was
deferred, in reverse order. When that takes longer than the deadline, or at a second signal, the process ends anyway, with
status 1. Other exit statuses: 0 after an orderly end; 1 when the body failed; 2 when the service cannot start as it is set up
(``StartError``, ``SettingError``).
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import structlog

from simway_backbone import logs
from simway_backbone.health import Health, HealthServer
from simway_backbone.log import LogError
from simway_backbone.settings import SettingError

STOP_DEADLINE_S = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StartError(Exception):
    """The service cannot start here: the operator's fault. The text is one line, and says what to change."""


class PortTaken(StartError):
    """Another process has the port."""

    def __init__(self, setting: str, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is taken; end the program that has it, or set {setting} to another port")


def bind_error(error: OSError, setting: str, host: str, port: int) -> StartError:
    """What to raise when a socket could not be bound. ``setting``: the variable that names the port."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(setting, host, port)
    return StartError(f"cannot listen on {host}:{port} ({error.strerror or error}); change {setting} or the host beside it")


class Service:
    """What a body gets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        self.health = Health(name)
        self.metrics_port: int | None = None
        """Where health and metrics are served; None when they are not."""
        self._lock = threading.Lock()
        self._on_stop: list[Callable[[], object]] = []
        self._deferred: list[Callable[[], object]] = []

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Calls back once, in another thread, when the service is to stop; at once when it already is."""
        with self._lock:
            if not self.stopping.is_set():
                self._on_stop.append(callback)
                return
        callback()

    def defer(self, callback: Callable[[], object]) -> None:
        """Calls back in the main thread after the body has returned or failed, the last deferred first."""
        self._deferred.append(callback)

    def stop(self) -> None:
        """What a signal does: from any thread, any number of times."""
        with self._lock:
            if self.stopping.is_set():
                return
            self.stopping.set()
        self.health.stopping = True
        for callback in self._on_stop:
            _call(callback, "on_stop")

    def undo(self) -> None:
        """Runs what was deferred; an error is logged and does not keep the rest from running."""
        while self._deferred:
            _call(self._deferred.pop(), "deferred")


Body = Callable[[Service], object]


def run_service(
    name: str,
    body: Body,
    *,
    metrics_host: str = "127.0.0.1",
    metrics_port: int | None = None,
    log_level: str = "info",
    log_format: str = "console",
    stop_deadline_s: float = STOP_DEADLINE_S,
    metrics_setting: str | None = None,
) -> None:
    """Runs ``body`` until it returns or a signal ends it; raises ``SystemExit`` when the status is not 0.

    ``metrics_port``: 0 takes any free one, None serves none. ``metrics_setting``: the variable to name when that port is taken
    (default: from the name's first word, as ``RECORDER_METRICS_PORT``). Must be called in the main thread.
    """
    logs.configure(name, log_level, log_format)
    service = Service(name)
    watcher = _Watcher(service, stop_deadline_s)
    watcher.start()
    setting = metrics_setting or f"{name.partition('-')[0].upper()}_METRICS_PORT"
    try:
        status = _run(service, body, metrics_host, metrics_port, setting)
    finally:
        watcher.finish()
    if status:
        raise SystemExit(status)


def _run(service: Service, body: Body, host: str, port: int | None, setting: str) -> int:
    log = structlog.get_logger(service.name)
    try:
        if port is not None:
            server = _serve_health(service, host, port, setting)
            service.defer(server.close)
        log.info("started", pid=os.getpid(), metrics_port=service.metrics_port)
        body(service)
    except (StartError, SettingError) as error:
        print(f"error: {service.name}: {error}", file=sys.stderr, flush=True)
        return 2
    except LogError as error:
        log.error("failed", error=str(error))
        return 1
    except Exception:
        log.exception("failed")
        return 1
    finally:
        service.stop()
        service.undo()
    log.info("stopped")
    return 0


def _serve_health(service: Service, host: str, port: int, setting: str) -> HealthServer:
    try:
        server = HealthServer(service.health, host, port)
    except OSError as error:
        raise bind_error(error, setting, host, port) from error
    service.metrics_port = server.port
    server.start()
    return server


def _call(callback: Callable[[], object], what: str) -> None:
    try:
        callback()
    except Exception:
        structlog.get_logger("service").exception(f"{what} callback failed")


class _Watcher:
    """Turns signals into ``Service.stop``, in a thread of its own, and ends the process when stopping takes too long.

    The handler only writes a byte: it may run between any two steps of the main thread, which may hold the lock of an ``Event``.
    """

    def __init__(self, service: Service, deadline_s: float) -> None:
        self._service, self._deadline_s = service, deadline_s
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._pid = os.getpid()
        self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)

    def start(self) -> None:
        """Takes the signals."""
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        self._thread.start()

    def finish(self) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._here.send(b"\x00")
        self._thread.join()
        self._here.close()
        self._there.close()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a fork that kept our handlers: it has no watcher
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        with contextlib.suppress(BlockingIOError):
            self._here.send(bytes([number]))

    def _watch(self) -> None:
        log = structlog.get_logger(self._service.name)
        received = self._there.recv(1)
        if received == b"\x00":
            return
        log.info("stopping", signal=signal.Signals(received[0]).name)
        threading.Thread(target=self._service.stop, name="stop", daemon=True).start()
        self._there.settimeout(self._deadline_s)
        try:
            again = self._there.recv(1)
        except TimeoutError:
            again = b"\xff"
        if again == b"\x00":
            return
        why = f"not stopped after {self._deadline_s:g} s" if again == b"\xff" else "second signal"
        log.error("ending now", why=why)
        if again == b"\xff":
            faulthandler.dump_traceback(all_threads=True)
        os._exit(1)
