"""The real platform as real processes: the commands of ``Procfile`` on ephemeral ports, with their data in a folder of their own.

``Front`` is what end-to-end tests see of a platform wherever it runs: the REST API, the UDP port, and modem clients that a test
starts itself. ``Platform`` runs one here and can kill any process of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests
from honcho.environ import parse_procfile

from simway_testing import REPOSITORY
from simway_testing.api import Api
from simway_testing.ports import free_port
from simway_testing.waiting import wait_for

DEMO_DEVICE = "demo"
READY_WITHIN_S = 120.0
STOP_WITHIN_S = 40.0
ORPHANS_END_WITHIN_S = 60.0
LOG_TAIL_CHARS = 6000
MODEM = "exec simway-modem run"


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run. One that has ended does not, though its parent has yet to ask (on a busy machine init takes its time)."""
    return [process for process in processes if process.is_running() and not _ended(process)]


def _ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def base_environment() -> dict[str, str]:
    """This environment without settings of the platform, this interpreter's programs first in PATH."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "CI")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment | {"PYTHONUNBUFFERED": "1"}


class Process:
    """One process of the platform, in a session of its own. Its output is appended to ``log``."""

    def __init__(self, name: str, command: str, settings: Mapping[str, str], log: Path, ready_url: str) -> None:
        self.name, self.command, self.settings, self.log, self.ready_url = name, command, dict(settings), log, ready_url
        self._popen: subprocess.Popen[bytes] | None = None
        self._asked = False

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs, or before it was started."""
        return self._popen.poll() if self._popen is not None else None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    def start(self, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Starts it, again if it ended; does not wait until it is ready."""
        assert not self.running, f"{self.name} is running"
        self._asked = False
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command, shell=True, cwd=REPOSITORY, env=base_environment() | self.settings, stdin=stdin, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        return self._popen

    def ready(self) -> bool:
        """Whether its health endpoint says ready; ``AssertionError`` when it has ended."""
        assert self.running, f"{self.name} ended with code {self._popen.returncode if self._popen else None}:\n{self.tail()}"
        try:
            return requests.get(self.ready_url, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def wait_ready(self, seconds: float = READY_WITHIN_S) -> None:
        wait_for(self.ready, seconds, lambda: f"{self.name} ready at {self.ready_url}:\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL to the process alone, as an operator or the kernel would; what it forked must notice and end by itself."""
        forked = psutil.Process(self.pid).children(recursive=True)
        os.kill(self.pid, signal.SIGKILL)
        assert self._popen is not None
        self._popen.wait(STOP_WITHIN_S)
        wait_for(
            lambda: not living(forked), ORPHANS_END_WITHIN_S,
            lambda: f"{self.name} was killed, what it forked lives on: {living(forked)}",
        )  # fmt: skip

    def ask_to_stop(self) -> None:
        """SIGTERM, once: a second one would cut its end short. Does not wait."""
        if self._popen is not None and self.running and not self._asked:
            self._popen.terminate()
        self._asked = True

    def stop(self) -> int:
        """SIGTERM and the exit code; SIGKILL to its whole session (and -9) when it does not end in time."""
        if self._popen is None:
            return 0
        try:
            self.ask_to_stop()
            return self._popen.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.sweep()

    def sweep(self) -> None:
        """Kills whatever is left of its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self._popen is not None
        self._popen.wait(STOP_WITHIN_S)

    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARS:] if self.log.exists() else ""


class Front:
    """The front doors of a platform, and a folder for what a test's own modem clients keep."""

    def __init__(self, api: Api, udp: tuple[str, int], directory: Path) -> None:
        self.api, self.udp, self.directory = api, udp, directory
        self.modems: list[Process] = []

    def modem_settings(self, device: str, key_hex: str) -> dict[str, str]:
        """The settings of a modem client for ``device``, with its key in a file and a virtual SIM of its own."""
        home = self.directory / "modems" / device
        home.mkdir(parents=True, exist_ok=True)
        key_file = home / "device.key"
        if not key_file.exists():
            key_file.touch(mode=0o600)
            key_file.write_text(key_hex)
        return {
            "DEVICE_ID": device, "DEVICE_KEY_FILE": str(key_file), "MODEM_DIR": str(home / "modem"), "SERVER_HOST": self.udp[0],
            "SERVER_PORT": str(self.udp[1]), "MODEM_METRICS_PORT": str(free_port()),
        }  # fmt: skip

    def modem(self, device: str, key_hex: str, *, command: str = MODEM, **settings: str) -> Process:
        """A modem client of the test's own, not yet started; ended with the platform at the latest."""
        settings = self.modem_settings(device, key_hex) | settings
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        ready = f"http://127.0.0.1:{settings['MODEM_METRICS_PORT']}/health/ready"
        modem = Process(f"modem-{device}", command, settings, logs / f"modem-{device}.log", ready)
        self.modems.append(modem)
        return modem

    def stop_modems(self) -> None:
        for modem in self.modems:
            modem.ask_to_stop()
        for modem in self.modems:
            modem.stop()
        self.modems.clear()

    def tails(self) -> dict[str, str]:
        """The end of every log, by name: what a failed test shows."""
        return {modem.name: modem.tail() for modem in self.modems}


class Platform(Front):
    """A platform of its own below ``directory``: embedded, or on the log and store that the URLs name."""

    def __init__(self, directory: Path, *, log_url: str | None = None, store_url: str | None = None, **settings: str) -> None:
        self.directory = directory
        var = directory / "var"
        ports = {
            "WEB_PORT": free_port(), "UDP_PORT": free_port(socket.SOCK_DGRAM), "UDP_METRICS_PORT": free_port(),
            "RECORDER_METRICS_PORT": free_port(), "DISPATCHER_METRICS_PORT": free_port(), "MODEM_METRICS_PORT": free_port(),
            "WEB_METRICS_PORT": free_port(),
        }  # fmt: skip
        self.settings = {
            "LOG_URL": log_url or f"sqlite:///{var / 'log'}", "STORE_URL": store_url or f"sqlite:///{var / 'store.db'}",
            "MASTER_SECRET_FILE": str(var / "secrets/master.key"), "SESSION_SECRET_FILE": str(var / "secrets/session.key"),
            "ADMIN_TOKEN_FILE": str(var / "admin.token"), "DEVICE_KEY_FILE": str(var / "secrets/demo.key"),
            "GRAFANA_TOKEN_FILE": str(var / "secrets/grafana.token"), "MODEM_DIR": str(var / "modem"), "DEVICE_ID": DEMO_DEVICE,
            "WEB_HOST": "127.0.0.1", "UDP_HOST": "127.0.0.1", "METRICS_HOST": "127.0.0.1", "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(ports["UDP_PORT"]), "SWITCHES_PER_DAY": "0",
            **{name: str(port) for name, port in ports.items()}, **settings,
        }  # fmt: skip
        ready = {
            "web": f"http://127.0.0.1:{ports['WEB_PORT']}/api/v1/health",
            **{
                name: f"http://127.0.0.1:{ports[port]}/health/ready"
                for name, port in (
                    ("udp-server", "UDP_METRICS_PORT"), ("recorder", "RECORDER_METRICS_PORT"),
                    ("dispatcher", "DISPATCHER_METRICS_PORT"), ("modem", "MODEM_METRICS_PORT"),
                )
            },
        }  # fmt: skip
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        var.mkdir(exist_ok=True)
        commands = parse_procfile((REPOSITORY / "Procfile").read_text()).processes
        self.processes = {
            name: Process(name, command, self.settings, directory / "logs" / f"{name}.log", ready[name])
            for name, command in commands.items()
        }
        super().__init__(Api(f"http://127.0.0.1:{ports['WEB_PORT']}", None), ("127.0.0.1", ports["UDP_PORT"]), directory)

    def start(self) -> None:
        """``init``, then every process; returns once all are ready."""
        self.init()
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            process.wait_ready()

    def init(self) -> None:
        """Makes secrets, schema, topics and the demo device where they are missing."""
        command, env = [sys.executable, "-m", "simway_flask_app", "init"], base_environment() | self.settings
        done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"init failed ({done.returncode}):\n{done.stdout}\n{done.stderr}"
        self.api.token = Path(self.settings["ADMIN_TOKEN_FILE"]).read_text().strip()

    def stop(self) -> dict[str, int]:
        """Ends everything, the devices first, then all services at once; the exit code of each."""
        for modem in (devices := [*self.modems, self.processes["modem"]]):
            modem.ask_to_stop()
        for modem in devices:
            modem.stop()
        self.modems.clear()
        for process in self.processes.values():
            process.ask_to_stop()
        return {name: process.stop() for name, process in reversed(self.processes.items())}

    def tails(self) -> dict[str, str]:
        return {process.name: process.tail() for process in self.processes.values()} | super().tails()


@contextmanager
def running(directory: Path, *, log_url: str | None = None, store_url: str | None = None, **settings: str) -> Iterator[Platform]:
    """A platform that is up and ready; nothing of it is left afterwards."""
    platform = Platform(directory, log_url=log_url, store_url=store_url, **settings)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()
