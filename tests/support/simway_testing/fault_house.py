"""The platform under load, with everything about it that can be broken: real processes, real servers, disks with a bound."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil

from simway_testing import fault_fence, kafka_server, postgres_server, scratch
from simway_testing.fault_device import Device, Fed, Feeder, Importing
from simway_testing.fault_disk import Disk
from simway_testing.fault_plan import KAFKA, QUOTA_DEVICES, SESSION_TIMEOUT_S, Plan
from simway_testing.fault_proxy import Proxy
from simway_testing.pairs import Server
from simway_testing.platform import Platform, Process, free_port
from simway_testing.waiting import wait_for

RECORDER = "exec python -m simway_flask_app recorder"
OUTBOX_DISK_BYTES = 24_000_000
STORE_DISK_BYTES = 400_000_000
NARROW_BYTES = 65_536
"""The outbox of one device is so small that a cut network makes it drop readings."""
NARROW_TEXT_CHARS, NARROW_BURST = 600, 4
STARTED_TOGETHER = 4
READY_WITHIN_S = 120.0


class House:
    """Made by ``open_house``. ``processes``: of the platform, by name; ``servers``: ``broker`` and ``database``, if any."""

    def __init__(self, plan: Plan, platform: Platform, servers: dict[str, Server], disks: dict[str, Disk], way: str) -> None:
        self.plan, self.platform, self.servers, self.disks, self.way = plan, platform, servers, disks, way
        self.api = platform.api
        self.processes: dict[str, Process] = {name: platform.processes[name] for name in ("udp-server", "dispatcher", "web")}
        self.processes |= {f"recorder-{at}": self._recorder(at) for at in range(1, plan.load.recorders + 1)}
        self.proxy = Proxy(platform.udp, plan.key)
        self.devices: dict[str, Device] = {}
        self.feeder: Feeder | None = None

    @property
    def log_url(self) -> str:
        return self.platform.settings["LOG_URL"]

    @property
    def store_url(self) -> str:
        return self.platform.settings["STORE_URL"]

    def start(self) -> None:
        """Everything up, every device acknowledged once, the load flowing."""
        self.platform.init()
        if self.plan.pair == KAFKA:
            fault_fence.watch(self.store_url)
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            process.wait_ready(READY_WITHIN_S)
        for at, name in enumerate(self.plan.load.devices, 1):
            self.devices[name] = self._device(at, name)
        for device in self.devices.values():
            device.prepare()
        for begin in range(0, len(self.devices), STARTED_TOGETHER):
            group = list(self.devices.values())[begin : begin + STARTED_TOGETHER]
            for device in group:
                device.start()
                if isinstance(device, Fed):
                    device.feed(1)
            wait_for(partial(_all_heard, group), READY_WITHIN_S, partial(_tails, group))
        fed = [device for device in self.devices.values() if isinstance(device, Fed)]
        self.feeder = Feeder(fed, self.plan.load.rate_hz)

    def stop_feeding(self) -> None:
        """No further reading enters any outbox from outside."""
        if self.feeder:
            self.feeder.close()
            self.feeder = None

    def close(self) -> None:
        """Ends every process that it started."""
        self.stop_feeding()
        for process in (*(device.process for device in self.devices.values()), *self.processes.values()):
            if process.running:
                send(process.pid, signal.SIGCONT)
            process.ask_to_stop()
        for process in self.processes.values():
            process.stop()
        self.platform.stop_modems()
        self.proxy.close()

    def acknowledged(self) -> int:
        """By all outboxes, so far."""
        return sum(device.acknowledged() for device in self.devices.values())

    def running_processes(self) -> dict[str, Process]:
        """Everything that is meant to run and may be killed, by the name of the target."""
        return self.processes | {name: device.process for name, device in self.devices.items()}

    def _recorder(self, at: int) -> Process:
        port = str(free_port())
        settings = self.platform.settings | {"RECORDER_METRICS_PORT": port}
        log = self.platform.directory / "logs" / f"recorder-{at}.log"
        return Process(f"recorder-{at}", RECORDER, settings, log, f"http://127.0.0.1:{port}/health/ready")

    def _device(self, at: int, name: str) -> Device:
        settings = {"SERVER_PORT": str(self.proxy.port), "LOG_LEVEL": "warning"}
        if name.startswith("csv"):
            return Importing(self.platform, name, **settings)
        if at == QUOTA_DEVICES + 1:
            return Fed(
                self.platform, name, text=NARROW_TEXT_CHARS, burst=NARROW_BURST, OUTBOX_MAX_BYTES=str(NARROW_BYTES), **settings
            )
        device = Fed(self.platform, name, **settings)
        if at <= QUOTA_DEVICES:
            self.disks[name] = Disk(device.folder, self.way, OUTBOX_DISK_BYTES, lambda: _pid_of(device.process))
        return device


@contextmanager
def open_house(plan: Plan, directory: Path, way: str) -> Iterator[House]:
    """A house that is not yet started. ``directory``: where its files lie, but for those of the servers below.

    Raises ``Unavailable`` where the pair's servers cannot be had.
    """
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        disks: dict[str, Disk] = {}
        urls: dict[str, str] = {}
        if plan.pair == KAFKA:
            broker_folder, database_folder = stack.enter_context(scratch("broker")), stack.enter_context(scratch("database"))
            disks["broker"] = Disk(broker_folder / "data", way, STORE_DISK_BYTES, lambda: [servers["broker"].process.pid])
            for name, serve, folder in (
                ("broker", kafka_server.server, broker_folder), ("database", _durable, database_folder),
            ):  # fmt: skip
                servers[name] = Server(serve, folder)
                stack.callback(_close_server, servers[name])
            urls = {"log_url": servers["broker"].url, "store_url": postgres_server.database(servers["database"].url)}
        else:
            urls = {"log_url": f"sqlite:///{directory}/log", "store_url": f"sqlite:///{directory}/store/store.db"}
        platform = Platform(
            directory, **urls, SIGNAL_INTERVAL_S="5", UDP_WORKERS="2", GROUP_SESSION_TIMEOUT_S=str(SESSION_TIMEOUT_S)
        )
        house = House(plan, platform, servers, disks, way)
        if plan.pair != KAFKA:
            disks["log"] = Disk(directory / "log", way, STORE_DISK_BYTES, lambda: _pid_of(house.processes["udp-server"]))
            recorders = [process for name, process in house.processes.items() if name.startswith("recorder")]
            disks["database"] = Disk(directory / "store", way, STORE_DISK_BYTES, lambda: _pids_of(recorders))
        stack.callback(house.close)
        yield house


def send(pid: int, number: int) -> None:
    """A signal to a process and all that it forked."""
    processes: Iterable[psutil.Process] = []
    try:
        process = psutil.Process(pid)
        processes = (process, *process.children(recursive=True))
    except psutil.NoSuchProcess:
        pass
    for one in processes:
        try:
            one.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _durable(directory: Path) -> AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
    """A database that keeps what it has committed, as one in use does."""
    return postgres_server.server(directory, durable=True)


def _close_server(server: Server) -> None:
    send(server.process.pid, signal.SIGCONT)
    server.close()


def _pid_of(process: Process) -> list[int]:
    return [process.pid] if process.running else []


def _pids_of(processes: Iterable[Process]) -> list[int]:
    return [pid for process in processes for pid in _pid_of(process)]


def _all_heard(devices: list[Device]) -> bool:
    return all(device.acknowledged() for device in devices)


def _tails(devices: list[Device]) -> str:
    return "\n".join(f"{device.name}: {device.process.tail()[-800:]}" for device in devices)
