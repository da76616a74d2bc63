"""The virtual SIM in a reader of a real pcscd, reached by the driver that modem-client has for readers.

The card is a process of its own (``card_host``), which stays in the reader while tests exchange what it is: a card newly put into
a reader takes pcscd 0.4 s to see.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from simway_modem_client.card import pcsc
from simway_protocol.sim.card import Card, CardError
from simway_virtual_sim import state
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.state import CardState

from simway_testing import pcscd
from simway_testing.waiting import wait_for

_INSERTED_S = 60


class Host:
    """A ``card_host`` in one reader."""

    def __init__(self, reader: pcscd.Reader) -> None:
        self.reader = reader
        command = [sys.executable, "-P", str(Path(__file__).with_name("card_host.py")), str(reader.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, **order: Any) -> None:
        """Has an order carried out."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer != "done\n":
            raise RuntimeError(f"the card's process did not do {order}: {answer!r}")

    def stop(self) -> None:
        """Ends the process; the reader is empty then."""
        self._process.terminate()
        self._process.wait(_INSERTED_S)


_hosts: dict[int, Host] = {}


def host(slot: int = 0) -> Host:
    """The host in a reader of this process's pcscd, started at first use; it stays until somebody else takes the reader."""
    if slot not in _hosts:
        _hosts[slot] = Host(pcscd.take(slot, lambda: _hosts.pop(slot).stop()))
    return _hosts[slot]


class InReader:
    """The card in the reader, opened by modem-client's driver. ``close`` takes its power away, as pulling it would."""

    def __init__(self, sitting: Host, card: Card) -> None:
        self.host = sitting
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
        self.host.tell(do="none")

    def let_go(self) -> None:
        """Leaves the card in the reader to others."""
        self._card.close()

    def pull(self) -> None:
        """Takes the card out of the reader while the client holds it."""
        self.host.tell(do="pull")

    def put_back(self) -> None:
        """Puts it back, and waits until pcscd has seen it."""
        self.host.tell(do="put back")
        self._card.close()
        self._card = opened_in(self.host.reader)


def power_on(directory: Path, fresh: CardState, faults: Faults, slot: int = 0) -> InReader:
    """The card whose memory lies in ``directory``, ``fresh`` when that is empty, in a reader. Blocks until pcscd has seen it."""
    sitting, memory = host(slot), directory / "sim.json"
    if not memory.exists():
        memory.write_bytes(state.encode(fresh))
    sitting.tell(do="insert", state_file=str(memory), faults=msgspec.to_builtins(faults))
    return InReader(sitting, opened_in(sitting.reader))


def opened_in(reader: pcscd.Reader) -> Card:
    """The card in a reader, freshly powered, by modem-client's driver. Blocks until pcscd has seen it."""
    trouble = [""]

    def opened() -> Card | None:
        card: Card | None = None
        try:
            card = pcsc.open_card({"reader": reader.name})
            card.reset()
        except CardError as error:  # as long as pcscd still sees the card that is gone, or not yet the new one
            trouble[0] = str(error)
            if card is not None:
                card.close()
            return None
        return card

    card = wait_for(opened, _INSERTED_S, lambda: f"a card in {reader.name}: {trouble[0]}")
    assert card is not None
    return card
