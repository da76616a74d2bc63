"""The Java Card applet in a reader of a real pcscd, on the card of our own that ``javacard-applet/runtime`` is.

As with the virtual SIM (``card_in_reader``), the card is a process that stays in the reader while tests exchange what it is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from simway_protocol.sim.es10c import encode_eid_response
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.state import CardState

from simway_testing import REPOSITORY, Unavailable, card_in_reader, pcscd

JAR = REPOSITORY / "var" / "javacard" / "runtime" / "simway-card.jar"
JAVA_OPTIONS = ("-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx96m")


def build() -> Path:
    """The runnable jar, built when the sources have changed since. ``Unavailable`` without Java or Maven, or where that fails."""
    command = [sys.executable, str(REPOSITORY / "tools" / "applet.py"), "build"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the applet could not be built: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return JAR


def contents(fresh: CardState) -> str:
    """A card's EID and profiles as the runtime loads them: one object a line."""
    profiles = [profile.info(enabled=profile.iccid == fresh.enabled).encode() for profile in fresh.profiles]
    return "".join(f"{item.hex()}\n" for item in (encode_eid_response(fresh.eid), *profiles))


class Host(card_in_reader.Host):
    """A card process in one reader."""

    def __init__(self, reader: pcscd.Reader) -> None:
        self.reader = reader
        command = ["java", *JAVA_OPTIONS, "-jar", str(build()), "--vpcd", f"127.0.0.1:{reader.port}", "--orders"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, **order: Any) -> None:
        """As of the virtual SIM's host; ``do``, then what else there is, in its order."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\t".join(map(str, order.values())) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer != "done\n":
            raise RuntimeError(f"the card's process did not do {order}: {answer!r}")


_hosts: dict[int, Host] = {}


def host(slot: int = 1) -> Host:
    """The host in a reader of this process's pcscd, started at first use; it stays until somebody else takes the reader."""
    if slot not in _hosts:
        _hosts[slot] = Host(pcscd.take(slot, lambda: _hosts.pop(slot).stop()))
    return _hosts[slot]


def power_on(
    directory: Path, fresh: CardState, faults: Faults, slot: int = 1, transport_code: bytes = b""
) -> card_in_reader.InReader:
    """The card whose memory lies in ``directory``, ``fresh`` when that is empty, in a reader. Blocks until pcscd has seen it.

    Of ``faults`` it obeys the power cuts. ``transport_code``: what a fresh one asks for to take its key.
    """
    sitting, new = host(slot), directory / "contents.hex"
    new.write_text(contents(fresh))
    sitting.tell(
        do="insert",
        state_file=directory / "card.bin",
        contents=new,
        before=faults.power_cut_before_write,
        after=faults.power_cut_after_write,
        transport_code=transport_code.hex(),
    )
    return card_in_reader.InReader(sitting, card_in_reader.opened_in(sitting.reader))
