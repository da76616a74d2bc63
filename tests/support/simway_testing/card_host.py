"""``python card_host.py PORT``: a virtual SIM in a vpcd reader, exchanged by orders on standard input.

One JSON object a line, answered by ``done``: ``insert`` (``state_file``, ``faults``) makes it that card, ``none`` lets go of the
memory, ``pull`` takes the card out of the reader, ``put back`` puts it in again.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
from simway_protocol.sim.card import CardGone
from simway_virtual_sim import vpcd
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.store import StateFile
from simway_virtual_sim.uicc import ATR, Uicc

_RETRY_S = 0.05


class Exchangeable:
    """A card that can become another between two commands; a card without memory is mute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uicc: Uicc | None = None

    def become(self, uicc: Uicc | None) -> None:
        """The old one lets go of its memory first: both may have the same."""
        with self._lock:
            self._uicc = uicc

    def let_go(self) -> None:
        with self._lock:
            uicc, self._uicc = self._uicc, None
            if uicc is not None:
                uicc.close()

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        with self._lock:
            if self._uicc is None:
                raise CardGone("no card")
            return self._uicc.transmit(apdu)

    def reset(self) -> bytes:
        with self._lock:
            return ATR if self._uicc is None else self._uicc.reset()


class Slot:
    """Keeps the card in the reader, but while it is pulled."""

    def __init__(self, card: Exchangeable, port: int) -> None:
        self._card = card
        self._port = port
        self._wanted = threading.Event()
        self._connection: socket.socket | None = None
        self._wanted.set()

    def run(self) -> None:
        while True:
            self._wanted.wait()
            try:
                with socket.create_connection(("127.0.0.1", self._port)) as self._connection:
                    vpcd.serve(self._card, self._connection)
            except OSError:
                threading.Event().wait(_RETRY_S)

    def pull(self) -> None:
        self._wanted.clear()
        if self._connection is not None:
            self._connection.shutdown(socket.SHUT_RDWR)

    def put_back(self) -> None:
        self._wanted.set()


def _carry_out(order: dict[str, Any], card: Exchangeable, slot: Slot) -> None:
    match order["do"]:
        case "insert":
            card.let_go()
            faults = msgspec.convert(order["faults"], Faults)
            card.become(Uicc(StateFile(Path(order["state_file"]), _no_new_card), faults))
        case "none":
            card.let_go()
        case "pull":
            slot.pull()
        case "put back":
            slot.put_back()
        case other:
            raise ValueError(f"no such order: {other}")


def _no_new_card() -> Any:
    raise FileNotFoundError("the state file is to be there")


def main() -> None:
    card = Exchangeable()
    slot = Slot(card, int(sys.argv[1]))
    threading.Thread(target=slot.run, daemon=True).start()
    for line in sys.stdin:
        _carry_out(json.loads(line), card, slot)
        print("done", flush=True)


if __name__ == "__main__":
    main()
