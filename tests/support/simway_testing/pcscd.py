"""A pcscd of our own: its own socket and its own virtual readers (vpcd), so that several run at once beside the machine's.

pcscd takes a listening socket as systemd gives it (``LISTEN_FDS``); clients find it by ``PCSCLITE_CSOCK_NAME``, which
``running`` sets for this process and its children. Nothing here needs root.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from simway_testing import Unavailable, scratch
from simway_testing.ports import free_port
from simway_testing.waiting import wait_for

SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"
INSTALL_LINE = "sudo apt-get install pcscd vsmartcard-vpcd"
_DRIVERS = ("/usr/lib/pcsc/drivers/serial/libifdvpcd.so", "/usr/lib/*/pcsc/drivers/serial/libifdvpcd.so")
_READER = """FRIENDLYNAME "{name}"
DEVICENAME /dev/null:{port:#x}
LIBPATH {driver}
CHANNELID {port:#x}
"""
_START_S = 20
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Reader:
    """One slot. ``name``: as PC/SC lists it; ``port``: where a card connects to by vpcd's protocol, on 127.0.0.1."""

    name: str
    port: int


@dataclass(frozen=True)
class Pcscd:
    """A running pcscd. ``environment``: what its clients need."""

    socket: Path
    readers: tuple[Reader, ...]

    @property
    def environment(self) -> dict[str, str]:
        return {SOCKET_VARIABLE: str(self.socket)}


@contextmanager
def running(directory: Path) -> Iterator[Pcscd]:
    """Starts a pcscd with two empty readers and ends it. ``Unavailable`` where pcscd or vpcd is not installed."""
    program, driver = _installed()
    path, first_port = directory / "pcscd.comm", free_port(count=2)
    readers = tuple(Reader(f"Virtual PCD 00 0{slot}", first_port + slot) for slot in range(2))
    config = directory / "reader.conf"
    config.write_text(_READER.format(name="Virtual PCD", port=first_port, driver=driver))
    before = os.environ.get(SOCKET_VARIABLE)
    with socket.socket(socket.AF_UNIX) as listener, (directory / "pcscd.log").open("wb") as log:
        listener.bind(str(path))
        listener.listen(16)
        arguments = [sys.executable, "-c", _LAUNCH, str(listener.fileno()), program, "--foreground", "--config", str(config)]
        service = subprocess.Popen(arguments, pass_fds=[listener.fileno()], stdout=log, stderr=log)
    try:
        wait_for(lambda: _listens(service, first_port + 1, directory / "pcscd.log"), _START_S, "pcscd opened its readers")
        os.environ[SOCKET_VARIABLE] = str(path)
        yield Pcscd(path, readers)
    finally:
        os.environ.pop(SOCKET_VARIABLE, None)
        if before is not None:
            os.environ[SOCKET_VARIABLE] = before
        service.send_signal(signal.SIGTERM)
        service.wait(_START_S)


_shared: list[Pcscd] = []
_sitting: dict[int, Callable[[], None]] = {}


def take(slot: int, leave: Callable[[], None]) -> Reader:
    """A reader of ``shared``, 0 or 1, for a card that stays: whoever had it is made to leave, as ``leave`` will be."""
    reader = shared().readers[slot]
    vacate(slot)
    _sitting[slot] = leave
    return reader


def vacate(slot: int) -> None:
    """Empties a reader of ``shared``."""
    if leave := _sitting.pop(slot, None):
        leave()


def shared() -> Pcscd:
    """One for the whole of this process, started at first use and ended with the process.

    The only one that this process may speak to: the handles of two pcscd are alike, and libpcsclite takes one for the other.
    """
    if not _shared:
        stack = ExitStack()
        _shared.append(stack.enter_context(running(stack.enter_context(scratch("pcscd")))))
        atexit.register(stack.close)
        for slot in (0, 1):
            atexit.register(vacate, slot)
    return _shared[0]


def _installed() -> tuple[str, str]:
    program = shutil.which("pcscd") or shutil.which("pcscd", path="/usr/sbin:/sbin")
    driver = next((str(path) for pattern in _DRIVERS for path in Path("/").glob(pattern[1:])), None)
    if program is None or driver is None:
        raise Unavailable(f"pcscd with vpcd: {INSTALL_LINE}")
    try:
        import smartcard  # noqa: F401
    except ImportError as error:
        raise Unavailable("pyscard: tools/bootstrap card") from error
    return program, driver


def _listens(service: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if service.poll() is not None:
        raise Unavailable(f"pcscd ended with {service.returncode}: {log.read_text(errors='replace')[-500:]}")
    listening = f":{port:04X} "
    return any(listening in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())
