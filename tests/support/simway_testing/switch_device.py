"""A device whose power can fail at any step of a carrier switch: real client, journal and simulated card; the time is the test's.

A step is whatever can be the last thing that happened: a command to the card, its answer, a reset, a write of the card's memory,
a transaction of the journal, a datagram.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from simway_backbone import memory_log
from simway_modem_client import card as card_module
from simway_modem_client.agent import Agent
from simway_modem_client.card import SimCard
from simway_modem_client.journal import Journal
from simway_modem_client.keys import CardKey
from simway_modem_client.link import Link
from simway_modem_client.outbox import Outbox
from simway_modem_client.udp_loop import UdpPath
from simway_protocol.sim.card import CardGone
from simway_protocol.udp.client import ClientEndpoint
from simway_virtual_sim.faults import Trouble
from simway_virtual_sim.radio import VirtualRadio
from simway_virtual_sim.state import AppletState, CardState
from simway_virtual_sim.uicc import Uicc

JOURNAL_WRITES = ("count_boot", "accept", "begin_switch", "update_switch", "finish", "end_switch", "settle")


class PowerCut(BaseException):
    """The power is gone: nothing of the device goes on after this."""


class Fuse:
    """Blows at step ``at``, once, 0 for never. ``passed`` counts the steps since it was armed."""

    def __init__(self, *, only_writes: bool = False) -> None:
        self.at, self.passed, self.armed, self._only_writes = 0, 0, False, only_writes

    def step(self, what: str) -> None:
        if not self.armed or (self._only_writes and not what.startswith(("journal", "card memory"))):
            return
        self.passed += 1
        if self.passed == self.at:
            raise PowerCut(what)


class CardMemory:
    """What the card keeps without power (``simway_virtual_sim.store.Store``). ``enabled``: each profile that it ever enabled."""

    def __init__(self, state: CardState, key: bytes, fuse: Fuse) -> None:
        self.state = replace(state, applet=AppletState(key.hex(), 1))
        self.fuse = fuse
        self.enabled = [state.enabled]

    def load(self) -> CardState:
        return self.state

    def save(self, state: CardState) -> None:
        self.fuse.step("card memory: before a write")
        if state.enabled != self.state.enabled:
            self.enabled.append(state.enabled)
        self.state = state
        self.fuse.step("card memory: after a write")

    def close(self) -> None:
        """It is the test's."""


class CardSlot:
    """The card as the device holds it. ``cycles_power``: whether opening it powers it off and on, or only connects to it."""

    def __init__(self, memory: CardMemory, trouble: Trouble, *, cycles_power: bool) -> None:
        self._memory, self._trouble, self._cycles_power = memory, trouble, cycles_power
        self._uicc: Uicc | None = None

    def open(self) -> CardSlot:
        if self._uicc is None or self._cycles_power:
            self._uicc = Uicc(self._memory, self._trouble)
        return self

    def cut(self) -> None:
        """The power fails."""
        self._uicc = None

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        self._memory.fuse.step(f"card: before {apdu[:4].hex()}")
        try:
            answer = self._powered().transmit(apdu)
        except CardGone:
            self._uicc = None  # whoever takes it up again powers it on
            raise
        self._memory.fuse.step(f"card: after {apdu[:4].hex()}")
        return answer

    def reset(self) -> bytes:
        self._memory.fuse.step("card: before a reset")
        atr = self._powered().reset()
        self._memory.fuse.step("card: after a reset")
        return atr

    def close(self) -> None:
        """The connection goes, the power stays."""

    def _powered(self) -> Uicc:
        if self._uicc is None:
            raise CardGone("no power")
        return self._uicc


class Device:
    """``boot`` may be called again after ``off``: what lay in memory is gone, journal and card are what they were."""

    def __init__(
        self, name: str, folder: Path, server: tuple[str, int], outbox: Outbox, slot: CardSlot, fuse: Fuse,
        radio: Callable[[], VirtualRadio], clock_us: Callable[[], int], sleep: Callable[[float], None], rng: random.Random,
    ) -> None:  # fmt: skip
        self.name, self._server, self._outbox, self.slot, self._fuse = name, server, outbox, slot, fuse
        self._make_radio, self._clock_us, self._sleep, self._rng = radio, clock_us, sleep, rng
        self.journal_path = folder / "journal.db"
        self.is_on = False

    def boot(self) -> None:
        """Starts the program; raises ``PowerCut`` where the fuse blows on the way."""
        self.radio, self.journal = self._make_radio(), Journal(self.journal_path)
        self.is_on = True
        for name in JOURNAL_WRITES:
            setattr(self.journal, name, self._fused(name, getattr(self.journal, name)))
        sim = SimCard(self.slot.open)
        endpoint = ClientEndpoint(device=self.name, key_version=1, random=self._rng.randbytes)
        keys = CardKey(sim, 1, survives_switch=True)
        self.path = UdpPath(self.radio, *self._server)
        self.link = Link(
            endpoint=endpoint, outbox=self._outbox, keys=keys, sim=sim, path=self.path, bearer=self.radio,
            boot_counter=self.journal.count_boot(), last_counter=lambda: self.journal.last_counter, clock_us=self._clock_us,
            rng=random.Random(self._rng.random()), agent_of=lambda link: Agent(
                device=self.name, keys=keys, sim=sim, journal=self.journal, uplink=endpoint, clock_us=self._clock_us,
                reattach=link.reattach, proof=self.radio.proof, describe=link.describe, registration=self.radio.registration,
            ),
        )  # fmt: skip
        self.link.agent.switcher._card.wait = self._sleep
        self.link.start()

    def off(self, *, card_too: bool) -> None:
        """Nothing of the program is left; the radio, and with ``card_too`` the card, lose their power."""
        self.is_on = False
        self.path.close()
        self.journal.close()
        self.radio.close()
        if card_too:
            self.slot.cut()

    def work(self) -> bool:
        """One round of the program's loop up to its wait; True when it sent something."""
        self.link.tick()
        return self._send()

    def hear(self) -> bool:
        """Takes what came in; True when that was something."""
        heard = False
        while (datagram := self.path.receive()) is not None:
            heard = True
            self._fuse.step("datagram: before one is taken")
            self.link.receive(datagram)
        return self._send() or heard

    def _send(self) -> bool:
        datagrams = self.link.take_output()
        for datagram in datagrams:
            self._fuse.step("datagram: before one is sent")
            self.path.send(datagram)
        return bool(datagrams)

    def _fused(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._fuse.step(f"journal: before {name}")
            done = write(*arguments, **named)
            self._fuse.step(f"journal: after {name}")
            return done

        return call


class SimulatedTime:
    """Stands in for the module ``time`` where it is not an argument: how long a card takes, and when a record was appended."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self.clock_us = clock_us

    def monotonic(self) -> float:
        return self.clock_us() / 1e6

    def monotonic_ns(self) -> int:
        return self.clock_us() * 1000

    time_ns = monotonic_ns

    def use(self) -> None:
        card_module.time = self  # type: ignore[assignment]
        memory_log.time = self  # type: ignore[assignment]


def server_socket() -> socket.socket:
    """A non-blocking UDP socket on a port of its own."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.setblocking(False)
    return opened
