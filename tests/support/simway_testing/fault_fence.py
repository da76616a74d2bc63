"""Who wrote by which right: triggers in a PostgreSQL under test, and what they saw.

A recorder's connections carry its name. So at every move of a position, and at every insert of readings, a trigger notes the name
of the connection beside the holder of the right as it stands in that transaction. A stale recorder that wrote would be seen
here, whether or not its rows were there already.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from simway_flask_app.store.engine import Database
from simway_flask_app.store.writers import APPLICATION
from sqlalchemy import text

_WATCH = """
CREATE TABLE faults_moves(
  at timestamptz, tx bigint, partition int, "from" bigint, "to" bigint, by text, holder text, number bigint);
CREATE TABLE faults_writes(tx bigint, by text);
CREATE FUNCTION faults_note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO faults_moves SELECT clock_timestamp(), txid_current(), new.partition,
    CASE WHEN tg_op = 'UPDATE' THEN old.next_offset ELSE 0 END, new.next_offset, current_setting('application_name'),
    (SELECT writer FROM write_rights w WHERE (w.log_id, w.topic, w.partition) = (new.log_id, new.topic, new.partition)),
    (SELECT number FROM write_rights w WHERE (w.log_id, w.topic, w.partition) = (new.log_id, new.topic, new.partition));
  RETURN NULL; END $$;
CREATE FUNCTION faults_note_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO faults_writes VALUES (txid_current(), current_setting('application_name')); RETURN NULL; END $$;
CREATE TRIGGER faults_moves AFTER INSERT OR UPDATE ON log_positions FOR EACH ROW
  WHEN (new.consumer = 'recorder') EXECUTE FUNCTION faults_note_move();
CREATE TRIGGER faults_writes AFTER INSERT ON readings FOR EACH STATEMENT EXECUTE FUNCTION faults_note_write();
"""


@dataclass(frozen=True, slots=True)
class Move:
    """A position that was set: by whom, and who held the right, with its number, in that transaction."""

    tx: int
    partition: int
    begin: int
    end: int
    by: str
    holder: str
    number: int


def watch(url: str) -> None:
    """Makes the triggers. Once, after ``init``."""
    with closing(Database(url)) as database, database.write() as connection:
        connection.exec_driver_sql(_WATCH)


def seen(url: str) -> tuple[list[Move], set[int]]:
    """Every move in order, and the transactions that inserted readings."""
    with closing(Database(url)) as database, database.read() as connection:
        rows = connection.execute(
            text('SELECT tx, partition, "from", "to", by, holder, number FROM faults_moves ORDER BY at, "to"')
        )
        moves = [Move(*row) for row in rows]
        writes = {int(row[0]) for row in connection.execute(text("SELECT tx FROM faults_writes"))}
    return moves, writes


def complaints(moves: list[Move], writes: set[int]) -> list[str]:
    """What was written by anybody but the holder of the right. Pure."""
    wrong = [f"written past the right of {move.holder}: {move}" for move in moves if move.by != APPLICATION + (move.holder or "")]
    ends: dict[int, int] = {}
    numbers: dict[int, int] = {}
    for move in moves:
        at, number = ends.get(move.partition, 0), numbers.get(move.partition, 0)
        if move.begin != at:
            wrong.append(f"partition {move.partition} did not go on at {at}: {move}")
        if move.number < number:
            wrong.append(f"partition {move.partition} was written by number {move.number} after {number}: {move}")
        ends[move.partition], numbers[move.partition] = move.end, max(move.number, number)
    if strange := writes - {move.tx for move in moves}:
        wrong.append(f"{len(strange)} transactions wrote readings and moved no position")
    return wrong
