"""Who of a group reads which partition, where the log has no broker to say so: leases, shared out evenly, without an election.

Pure: a ``Group`` and a time in, the member's turn out. Each member takes its turn every few hundred milliseconds, in a
transaction of its own (``LeaseTable``). In it, it removes whoever was silent for longer than that member's session timeout, says
that it lives, gives back what it was asked to and has let go of, and takes what is free, up to its quota. All see the same
state, so nobody has to lead: whoever holds more than its quota gives back, whoever holds less takes. A partition has one
holder at a time, and one that moves is free in between: nobody is given what another has not let go of, unless that one is out.

Times are seconds of the clock that runs since this machine was started (``time.monotonic``), which its processes share; a time
ahead of now is from before a restart, and over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

BEATS_PER_SESSION = 6
HUNGRY_S = 0.2
"""Between two turns of a member that has less than its quota: what it lacks is about to be given back."""


class Seat(msgspec.Struct):
    """A member: when it took its last turn, after how long a silence it is out, and its place in the order of joining."""

    beat_s: float
    session_s: float
    joined: int


class Group(msgspec.Struct):
    """The state of a group. ``leases``: holder by partition, as text, since it is kept as JSON."""

    members: dict[str, Seat] = {}
    leases: dict[int, str] = {}
    joins: int = 0

    def held(self, member: str) -> list[int]:
        """What a member holds, ascending."""
        return sorted(partition for partition, holder in self.leases.items() if holder == member)


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of a turn. ``held``: the member's leases; ``excess``: those of them that it is to let go of.

    ``anew``: the member was not in the group before, so it holds nothing that it held earlier. ``quota``: what is due to it.
    """

    held: frozenset[int]
    excess: frozenset[int]
    quota: int
    anew: bool


class LeaseTable(Protocol):
    """Keeps a group's state; each call is one transaction. Raises ``LogUnavailable``."""

    def turn(self, member: str, session_s: float, let_go: frozenset[int]) -> Turn:
        """Does ``take_turn``. Blocks on the disk."""

    def leave(self, member: str) -> None:
        """Does ``leave``. Blocks on the disk."""


def take_turn(group: Group, member: str, now_s: float, session_s: float, partitions: int, let_go: frozenset[int]) -> Turn:
    """One turn of ``member``; changes ``group``. ``let_go``: what it has stopped reading."""
    for name, seat in list(group.members.items()):
        if not 0 <= now_s - seat.beat_s <= seat.session_s:
            leave(group, name)
    anew = member not in group.members
    if anew:
        group.joins += 1
        group.members[member] = Seat(now_s, session_s, group.joins)
    seat = group.members[member]
    seat.beat_s, seat.session_s = now_s, session_s
    for partition in let_go & set(group.held(member)):
        del group.leases[partition]
    quota = quotas(group, partitions)[member]
    free = [partition for partition in range(partitions) if partition not in group.leases]
    for partition in free[: max(0, quota - len(group.held(member)))]:
        group.leases[partition] = member
    held = group.held(member)
    return Turn(frozenset(held), frozenset(held[quota:]), quota, anew)


def quotas(group: Group, partitions: int) -> dict[str, int]:
    """An even share for each member; what is left over goes to those who hold most, so that little moves."""
    order = sorted(group.members, key=lambda name: (-len(group.held(name)), group.members[name].joined))
    least, over = divmod(partitions, len(order))
    return {name: least + (place < over) for place, name in enumerate(order)}


def leave(group: Group, member: str) -> None:
    """Takes a member out; what it held is free."""
    group.members.pop(member, None)
    for partition in group.held(member):
        del group.leases[partition]
