"""What a card that holds a device key remembers for its reports: a counter, and which profile each switch enabled.

An entry is written with the switch itself, in one write, so neither is ever there without the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from simway_virtual_sim.state import CardState

LOG_MAX = 16
"""A card has little memory: beyond this the oldest unsent entry goes, and the gap in n tells."""


class SwitchEntry(msgspec.Struct, frozen=True):
    """The n-th change of the enabled profile. ``iccid``: empty for none. ``t_s``: UTC as the terminal said first, 0 before."""

    n: int
    iccid: str
    t_s: int = 0


class ReportState(msgspec.Struct, frozen=True):
    """``counter``: reports made. ``switches``: n of the latest switch. ``log``: the entries that nobody acknowledged yet."""

    counter: int = 0
    switches: int = 0
    log: tuple[SwitchEntry, ...] = ()


def noted(old: CardState, new: CardState) -> CardState:
    """The new state with the switch in its log, if it is one and the card holds a key to vouch for it."""
    if new.enabled == old.enabled or not new.applet.key:
        return new
    report = new.report
    entry = SwitchEntry(report.switches + 1, new.enabled)
    return replace(new, report=replace(report, switches=entry.n, log=(*report.log, entry)[-LOG_MAX:]))


def begun(state: CardState, t_s: int) -> CardState:
    """A report begins: counted, and the entries without a time get this one (0: the terminal has none)."""
    log = tuple(replace(entry, t_s=entry.t_s or t_s) for entry in state.report.log)
    return replace(state, report=replace(state.report, counter=state.report.counter + 1, log=log))


def acknowledged(state: CardState, numbers: frozenset[int]) -> CardState:
    """The terminal has these entries durably."""
    log = tuple(entry for entry in state.report.log if entry.n not in numbers)
    return replace(state, report=replace(state.report, log=log))
