"""A real PostgreSQL for tests, from the system's packages: its own data in a given folder, an ephemeral port on 127.0.0.1.

It keeps nothing safe (``fsync=off``) unless asked to: a test server. PostgreSQL refuses to run as root, so root runs it as
``postgres`` or ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from simway_testing import Unavailable
from simway_testing.ports import free_port

START_S = 60.0
STOP_S = 20.0
_SETTINGS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "64MB", "max_wal_size": "1GB",
    "max_connections": "60", "autovacuum_naptime": "60s", "log_min_messages": "fatal",
}  # fmt: skip
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextmanager
def running(directory: Path, *, durable: bool = False) -> Iterator[str]:
    """A server with its data in ``directory``; gives its URL. Raises ``Unavailable`` when PostgreSQL is not installed.

    ``durable``: it syncs as one in use does, which a bench wants and a test does not.
    """
    with server(directory, durable=durable) as (url, _process):
        yield url


@contextmanager
def server(directory: Path, *, durable: bool = False) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """As ``running``, with the process, for tests that stop the server. Called again on a folder, it goes on with its data."""
    tools = _tools()
    data, password_file = directory / "data", directory / "password"
    identity = _unprivileged(directory)
    if not data.exists():
        password_file.write_text(secrets.token_hex(16))
        password_file.chmod(0o644 if identity else 0o600)
        _initdb(tools, data, password_file, identity)
    port = _port_of(directory)
    command = [str(tools / "postgres"), "-D", str(data), "-p", str(port)]
    settings = _SETTINGS if durable else _SETTINGS | _UNSAFE
    command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (directory / "postgres.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, **identity)
    url = f"postgresql://simway:{password_file.read_text()}@127.0.0.1:{port}/postgres"
    try:
        _await_ready(url, process, directory / "postgres.log")
        yield url, process
    finally:
        _stop(process)


def database(url: str) -> str:
    """Makes an empty database on the server and gives its URL."""
    name = f"simway_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]  # the name is made here
    return url.rsplit("/", 1)[0] + f"/{name}"


def _tools() -> Path:
    """The folder with ``initdb`` and ``postgres``: on the PATH, or where Debian hides them (the newest version)."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise Unavailable("PostgreSQL is not installed: apt-get install postgresql (no service has to run)")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _unprivileged(directory: Path) -> dict[str, Any]:
    """How ``subprocess`` leaves root, whose ``directory`` it hands over; nothing for everybody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(directory, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Unavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")


def _initdb(tools: Path, data: Path, password_file: Path, identity: dict[str, Any]) -> None:
    command = [str(tools / "initdb"), "-D", str(data), "-U", "simway", "--auth=scram-sha-256", f"--pwfile={password_file}",
               "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=data.parent, check=False, **identity)
    if done.returncode:
        raise Unavailable(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _port_of(directory: Path) -> int:
    """A free port, kept for the folder: a server started again is found where it was."""
    kept = directory / "port"
    if kept.exists():
        return int(kept.read_text())
    port = free_port()
    kept.write_text(str(port))
    return port


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise Unavailable(f"PostgreSQL did not start: {error}\n{log.read_text()[-2000:]}") from error
            time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
