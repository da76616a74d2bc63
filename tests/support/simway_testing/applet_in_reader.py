"""The Java Card applet in a reader of a real pcscd, on the card of our own that ``javacard-applet/runtime`` is.

As with the virtual SIM (``card_in_reader``), the card is a process that stays in the reader while tests exchange what it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from simway_protocol.sim.card import Card
from simway_protocol.sim.es10c import encode_eid_response
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.state import CardState

from simway_testing import REPOSITORY, Unavailable, pcscd
from simway_testing.card_in_reader import opened_in

SOURCES = REPOSITORY / "javacard-applet"
BUILT = REPOSITORY / "var" / "javacard"
JAR = BUILT / "runtime" / "simway-card.jar"
JAVA_OPTIONS = ("-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx96m")
_INSERTED_S = 20


def build() -> Path:
    """The runnable jar, built when the sources have changed since. ``Unavailable`` without Java or Maven, or where that fails."""
    maven = shutil.which("mvn")
    if maven is None or shutil.which("javac") is None:
        raise Unavailable("Java and Maven: apt-get install maven openjdk-17-jdk-headless")
    BUILT.mkdir(parents=True, exist_ok=True)
    wanted, mark = _fingerprint(), BUILT / "sources.sha256"
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not JAR.exists() or not mark.exists() or mark.read_text() != wanted:
            command = [maven, "-q", "-B", "-f", str(SOURCES / "pom.xml"), "package", "-Dmaven.test.skip"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unavailable(f"the applet could not be built: {done.stdout[-2000:]}{done.stderr[-2000:]}")
            mark.write_text(wanted)
    return JAR


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file() and ("main" in path.parts or path.name == "pom.xml"):
            digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def contents(fresh: CardState) -> str:
    """A card's EID and profiles as the runtime loads them: one object a line."""
    profiles = [profile.info(enabled=profile.iccid == fresh.enabled).encode() for profile in fresh.profiles]
    return "".join(f"{item.hex()}\n" for item in (encode_eid_response(fresh.eid), *profiles))


class Host:
    """A card process in one reader."""

    def __init__(self, reader: pcscd.Reader) -> None:
        self.reader = reader
        command = ["java", *JAVA_OPTIONS, "-jar", str(build()), "--vpcd", f"127.0.0.1:{reader.port}", "--orders"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *order: str) -> None:
        """Has an order carried out."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\t".join(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer != "done\n":
            raise RuntimeError(f"the card's process did not do {order}: {answer!r}")

    def stop(self) -> None:
        """Ends the process; the reader is empty then."""
        self._process.terminate()
        self._process.wait(_INSERTED_S)


_hosts: dict[int, Host] = {}


def host(slot: int = 1) -> Host:
    """The host in a reader of this process's pcscd, started at first use; it stays until somebody else takes the reader."""
    if slot not in _hosts:
        _hosts[slot] = Host(pcscd.take(slot, lambda: _hosts.pop(slot).stop()))
    return _hosts[slot]


class InReader:
    """The card in the reader, opened by modem-client's driver. ``close`` takes its power away, as pulling it would."""

    def __init__(self, sitting: Host, card: Card) -> None:
        self._host = sitting
        self._card = card

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """As ``Card.transmit``."""
        return self._card.transmit(apdu)

    def reset(self) -> bytes:
        """As ``Card.reset``."""
        return self._card.reset()

    def close(self) -> None:
        """As ``Card.close``; the card's memory can be had by another then."""
        self._card.close()
        self._host.tell("none")

    def pull(self) -> None:
        """Takes the card out of the reader while the client holds it."""
        self._host.tell("pull")

    def put_back(self) -> None:
        """Puts it back, and waits until pcscd has seen it."""
        self._host.tell("put back")
        self._card.close()
        self._card = opened_in(self._host.reader)


def power_on(directory: Path, fresh: CardState, faults: Faults, slot: int = 1) -> InReader:
    """The card whose memory lies in ``directory``, ``fresh`` when that is empty, in a reader. Blocks until pcscd has seen it.

    Of ``faults`` it obeys the power cuts.
    """
    sitting, new = host(slot), directory / "contents.hex"
    new.write_text(contents(fresh))
    cuts = (str(faults.power_cut_before_write), str(faults.power_cut_after_write))
    sitting.tell("insert", str(directory / "card.bin"), str(new), *cuts)
    return InReader(sitting, opened_in(sitting.reader))
