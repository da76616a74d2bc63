"""What the tools share: where the repository lies, the settings of a local run, its ports, and the lock that it holds."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from honcho.environ import parse as parse_env_file
from simway_backbone.settings import Env

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"

HOSTS = {"WEB_HOST": "127.0.0.1", "UDP_HOST": "0.0.0.0", "METRICS_HOST": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a process of the platform listens on, and the setting that moves it."""

    setting: str
    default: int
    host_setting: str
    kind: socket.SocketKind = socket.SOCK_STREAM

    def number(self, settings: Mapping[str, str]) -> int:
        """Raises ``SettingError`` for what is no port."""
        return Env(settings).port(self.setting, self.default)

    def host(self, settings: Mapping[str, str]) -> str:
        return settings.get(self.host_setting) or HOSTS[self.host_setting]

    def trouble(self, settings: Mapping[str, str]) -> str | None:
        """What keeps a process from listening there, in words that name the port and the setting; None when it is free."""
        host, number = self.host(settings), self.number(settings)
        name = f"{number}/{'udp' if self.kind is socket.SOCK_DGRAM else 'tcp'} on {host}"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, self.kind) as probe:
            if self.kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, number))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return f"port {name} is taken: end what uses it, or choose another: {self.setting}={number + 1} make run"
                return f"cannot listen on port {name} ({self.setting}, {self.host_setting}): {error.strerror}"
        return None


WEB = Port("WEB_PORT", 8000, "WEB_HOST")
UDP = Port("UDP_PORT", 6001, "UDP_HOST", socket.SOCK_DGRAM)
METRICS = (
    Port("UDP_METRICS_PORT", 9101, "METRICS_HOST"),
    Port("RECORDER_METRICS_PORT", 9102, "METRICS_HOST"),
    Port("DISPATCHER_METRICS_PORT", 9103, "METRICS_HOST"),
    Port("MODEM_METRICS_PORT", 9104, "METRICS_HOST"),
    Port("WEB_METRICS_PORT", 9105, "METRICS_HOST"),
)
PORTS = (WEB, UDP, *METRICS)


def local_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a local run: ``.env`` below what the caller set, this venv's programs first in PATH."""
    file = ROOT / ".env"
    settings = {**(parse_env_file(file.read_text()) if file.exists() else {}), **environment}
    venv = VAR / "venv"
    settings |= {"PATH": f"{venv / 'bin'}{os.pathsep}{settings.get('PATH', os.defpath)}", "VIRTUAL_ENV": str(venv)}
    settings.setdefault("SERVER_PORT", str(UDP.number(settings)))
    settings.setdefault("PYTHONUNBUFFERED", "1")
    return settings


class RunLock:
    """Held by a running platform, so that two do not share one ``var/``. ``held`` tells whether this one got it."""

    def __init__(self) -> None:
        self.path = VAR / ".run.lock"
        self.held = False

    def __enter__(self) -> RunLock:
        VAR.mkdir(exist_ok=True)
        self._file = self.path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except BlockingIOError:
            pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
