"""The card's memory at run time: the state that is saved, and the rule that nothing counts before it is."""

from __future__ import annotations

from simway_virtual_sim.replies import Refusal
from simway_virtual_sim.state import CardState
from simway_virtual_sim.store import Store
from simway_virtual_sim.switch_log import noted

_MEMORY_PROBLEM = 0x6581


class Memory:
    """``state`` is what the store holds. Every change is one ``commit``, and that is one write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.state = store.load()

    def power_on(self) -> None:
        """Reads the state anew: after a failed write it may be the new one."""
        self.state = self._store.load()

    def commit(self, state: CardState) -> None:
        """Saves a new state, a switch with its entry in the log. 6581 when that failed: the next reset tells which holds."""
        if state == self.state:
            return
        state = noted(self.state, state)
        try:
            self._store.save(state)
        except OSError as error:
            raise Refusal(_MEMORY_PROBLEM) from error
        self.state = state

    def close(self) -> None:
        """Lets go of the store."""
        self._store.close()
