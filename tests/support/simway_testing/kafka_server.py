"""A real Kafka broker for tests: one process in KRaft mode (broker and controller), its data in a given folder, on 127.0.0.1.

The jars come from Maven Central, by the pom beside this package, once, into ``var/kafka/libs``; several test processes may ask at
the same time. Java 17 and Maven must be installed.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simway_testing import REPOSITORY, Unavailable
from simway_testing.ports import free_port

START_S = 90.0
STOP_S = 10.0
POM = REPOSITORY / "tests" / "support" / "kafka" / "pom.xml"
CACHE = REPOSITORY / "var" / "kafka"
_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
_JAVA = ("-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")
_LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
"""


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """A broker with its data in ``directory``; gives ``kafka://127.0.0.1:port``. Raises ``Unavailable`` without Java or Maven."""
    with server(directory) as (url, _process):
        yield url


@contextmanager
def server(directory: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """As ``running``, with the process, for tests that stop the broker. Called again on a folder, it goes on with its data."""
    java = shutil.which("java")
    if not java:
        raise Unavailable("Java is not installed: apt-get install openjdk-17-jre-headless")
    class_path = f"{_jars()}/*"
    properties = directory / "server.properties"
    (directory / "log4j2.properties").write_text(_LOG4J)
    command = [java, *_JAVA, f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}", "-cp", class_path]
    if not properties.exists():
        properties.write_text(_properties(directory))
        _format(directory, [*command, "kafka.tools.StorageTool", "format", "-t", _identity(), "-c", str(properties)])
    with (directory / "broker.log").open("ab") as log:
        command += ["kafka.Kafka", str(properties)]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, preexec_fn=_die_with_parent)  # noqa: PLW1509
    try:
        port = int((directory / "port").read_text())
        _await_ready(port, process, directory / "broker.log")
        yield f"kafka://127.0.0.1:{port}", process
    finally:
        _stop(process)


def _format(directory: Path, tool: list[str]) -> None:
    """Formats the broker's storage: by ``tool`` the first time, which takes a JVM; later as it did then, with other ids."""
    data, kept = directory / "data", CACHE / "libs" / "bootstrap.checkpoint"
    if kept.exists():
        data.mkdir(exist_ok=True)
        shutil.copyfile(kept, data / kept.name)
        identities = f"cluster.id={_identity()}\ndirectory.id={_identity()}\n"
        (data / "meta.properties").write_text(f"version=1\nnode.id=1\n{identities}")
        return
    done = subprocess.run(tool, capture_output=True, text=True, check=False, cwd=directory)
    if done.returncode:
        raise Unavailable(f"Kafka's storage could not be formatted: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    beside = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}")
    shutil.copyfile(data / kept.name, beside)
    beside.replace(kept)


def _identity() -> str:
    """A random id as Kafka writes them; none begins with a dash, which its tools would take for an option."""
    return "A" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _properties(directory: Path) -> str:
    port = free_port(count=2)
    controller = port + 1
    (directory / "port").write_text(str(port))
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": directory / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "group.initial.rebalance.delay.ms": 0,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "log.cleaner.dedupe.buffer.size": 4_194_304,
        "log.cleaner.backoff.ms": 500,
        "log.retention.check.interval.ms": 500,
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 5000,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _jars() -> Path:
    """The folder with the broker's jars, fetched when it is not there or the pom has changed."""
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    libs, mark = CACHE / "libs", CACHE / "libs" / "pom.sha256"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != wanted:
            _fetch(libs)
            mark.write_text(wanted)
    return libs


def _fetch(libs: Path) -> None:
    maven = shutil.which("mvn")
    if not maven:
        raise Unavailable("Maven is not installed (it fetches the Kafka broker): apt-get install maven openjdk-17-jre-headless")
    shutil.rmtree(libs, ignore_errors=True)
    command = [
        maven,
        "-q",
        "-B",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={libs}",
        "-DincludeScope=runtime",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CACHE)
    if done.returncode:
        raise Unavailable(f"Maven could not fetch the Kafka broker: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _die_with_parent() -> None:
    """A test session that is killed leaves no broker behind (Linux; elsewhere nothing happens)."""
    if _PRCTL:
        _PRCTL(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _await_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    deadline_s = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()  # a client backs off for seconds where nobody listens yet
            KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=2000).close()
            return
        except (KafkaError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise Unavailable(f"Kafka did not start: {error}\n{log.read_text()[-3000:]}") from error
            time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A test broker keeps nothing: it is ended at once."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(STOP_S)
