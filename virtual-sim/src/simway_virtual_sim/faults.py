"""What can go wrong with a card, on purpose: for tests, and for people who want to see what their device does about it.

``Faults`` says what is to go wrong; ``Trouble`` counts what did, and is what the parts of the card ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import msgspec
from simway_protocol.sim.card import CardGone

from simway_virtual_sim.state import CardState
from simway_virtual_sim.store import Store


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """0 or false: never. Counts begin with the card's first power-on and go on over resets.

    * ``cat_busy_times``: the first n requests to enable or disable with a refresh are refused with catBusy (5).
    * ``lose_response_after_enable``: the first n enables take effect, but their answers are lost: the card is gone until reset.
    * ``refuse_iccid``: a profile is found by its AID alone; by ICCID the answer is iccidOrAidNotFound (1).
    * ``refuse_refresh``: enable and disable with a refresh are refused as undefined (127); without one they work.
    * ``no_reset_after_refresh``: the reset that a REFRESH asks for never comes: resets do not show the new profile's files.
    * ``power_cut_before_write``, ``power_cut_after_write``: power fails at write k of the card's memory, counted from 1.
    * ``slow_ms``: what each command takes longer.
    * ``pull_after_apdus``: after n commands somebody pulls the card, once, and puts it back ``pulled_ms`` later.
    """

    cat_busy_times: int = 0
    lose_response_after_enable: int = 0
    refuse_iccid: bool = False
    refuse_refresh: bool = False
    no_reset_after_refresh: bool = False
    power_cut_before_write: int = 0
    power_cut_after_write: int = 0
    slow_ms: float = 0
    pull_after_apdus: int = 0
    pulled_ms: float = 0


NO_FAULTS = Faults()


class PowerCut(Exception):
    """Power failed at a write. What stands in the store is what there is; the card is gone until it is reset."""


class Trouble:
    """How often each fault has struck. One per card, whoever opens it anew.

    ``sleep`` and ``clock_s``: of the machine, or of a test.
    """

    def __init__(
        self,
        faults: Faults = NO_FAULTS,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.faults = faults
        self._sleep = sleep
        self._clock_s = clock_s
        self._cat_busy_left = faults.cat_busy_times
        self._lost_left = int(faults.lose_response_after_enable)
        self._apdus = 0
        self._writes = 0
        self._gone = ""
        self._back_at_s = 0.0

    @classmethod
    def of(cls, faults: Faults | Trouble) -> Trouble:
        """The trouble as it stands, or a new one."""
        return faults if isinstance(faults, Trouble) else cls(faults)

    def power_on(self) -> None:
        """The card has power again; ``CardGone`` while somebody has it in his hand."""
        if self._clock_s() < self._back_at_s:
            raise CardGone("the virtual SIM was pulled and is not yet back")
        self._gone = ""

    def before_command(self) -> None:
        """``CardGone`` for a card without power. Blocks for ``slow_ms``."""
        if self._gone:
            raise CardGone(self._gone)
        if self.faults.slow_ms:
            self._sleep(self.faults.slow_ms / 1000)
        self._apdus += 1
        if self.faults.pull_after_apdus and self._apdus == self.faults.pull_after_apdus + 1:
            self._back_at_s = self._clock_s() + self.faults.pulled_ms / 1000
            self.lose_power("the virtual SIM was pulled (fault pull_after_apdus)")

    def lose_power(self, why: str) -> NoReturn:
        """Raises ``CardGone``, now and until ``power_on``."""
        self._gone = why
        raise CardGone(why)

    def cat_busy(self) -> bool:
        """Whether a switch with a refresh is to be refused with catBusy."""
        busy = self._cat_busy_left > 0
        self._cat_busy_left -= busy
        return busy

    def after_enable(self) -> None:
        """``CardGone`` where the answer is to be lost."""
        if self._lost_left > 0:
            self._lost_left -= 1
            self.lose_power("the answer was lost (fault lose_response_after_enable)")

    def write(self, save: Callable[[], None]) -> None:
        """One write of the card's memory; ``PowerCut`` before or after it."""
        self._writes += 1
        if self._writes == self.faults.power_cut_before_write:
            raise PowerCut(f"before write {self._writes}")
        save()
        if self._writes == self.faults.power_cut_after_write:
            raise PowerCut(f"after write {self._writes}")


class CuttingStore:
    """A store whose writes power may fail at."""

    def __init__(self, store: Store, trouble: Trouble) -> None:
        self._store = store
        self._trouble = trouble

    def load(self) -> CardState:
        """As ``Store.load``."""
        return self._store.load()

    def save(self, state: CardState) -> None:
        """As ``Store.save``; or ``PowerCut``."""
        self._trouble.write(lambda: self._store.save(state))

    def close(self) -> None:
        """As ``Store.close``."""
        self._store.close()
