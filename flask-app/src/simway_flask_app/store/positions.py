"""How far a consumer has read the log. Kept per log identity: a log that nobody here has seen is read from its beginning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import ColumnElement, Connection, Update, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from simway_flask_app.store.port import StoreError
from simway_flask_app.store.schema import log_gaps, log_positions


class PositionMoved(StoreError):
    """Another process has read on from here: forget what was cached, and load the positions anew."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A consumer of one topic of one log."""

    consumer: str
    log_id: str
    topic: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets that retention took before they were read, both included."""

    partition: int
    first_offset: int
    last_offset: int


Moves = Mapping[int, tuple[int, int]]
"""Per partition: the next offset as it was loaded or last set, and the new one."""


def load(connection: Connection, follower: Follower) -> dict[int, int]:
    """Next offsets by partition; empty for a log never read."""
    query = select(log_positions.c.partition, log_positions.c.next_offset).where(*_of(follower))
    return {row.partition: row.next_offset for row in connection.execute(query)}


def advance(connection: Connection, follower: Follower, moves: Moves) -> None:
    """Sets the positions, in the caller's transaction. Raises ``PositionMoved`` unless each stands where it was last seen."""
    known = []
    for partition, (expected, next_offset) in sorted(moves.items()):
        if expected == 0:
            _begin(connection, follower, partition, next_offset)
        else:
            known.append({"of": partition, "expected": expected, "next": next_offset})
    if known and connection.execute(_moving(follower), known).rowcount != len(known):
        raise PositionMoved(f"{follower.topic} stands elsewhere than at {known}: another process reads it, too")


def note_gap(connection: Connection, follower: Follower, gap: Gap, now_us: int) -> None:
    """Remembers what was never read."""
    connection.execute(
        insert(log_gaps).values(
            consumer=follower.consumer, log_id=follower.log_id, topic=follower.topic, partition=gap.partition,
            first_offset=gap.first_offset, last_offset=gap.last_offset, t_us=now_us,
        )
    )  # fmt: skip


def _begin(connection: Connection, follower: Follower, partition: int, next_offset: int) -> None:
    """From 0, where a row may not be there yet."""
    if connection.execute(_moving(follower), {"of": partition, "expected": 0, "next": next_offset}).rowcount == 1:
        return
    values = {"consumer": follower.consumer, "log_id": follower.log_id, "topic": follower.topic}
    try:
        connection.execute(insert(log_positions).values(**values, partition=partition, next_offset=next_offset))
    except IntegrityError as error:
        raise PositionMoved(f"{follower.topic}/{partition} no longer stands at 0: another process reads it, too") from error


@lru_cache(maxsize=64)
def _moving(follower: Follower) -> Update:
    columns = log_positions.c
    here = columns.partition == bindparam("of"), columns.next_offset == bindparam("expected")
    return update(log_positions).where(*_of(follower), *here).values(next_offset=bindparam("next"))


def _of(follower: Follower) -> tuple[ColumnElement[bool], ...]:
    columns = log_positions.c
    return (
        columns.consumer == follower.consumer,
        columns.log_id == follower.log_id,
        columns.topic == follower.topic,
    )
