"""Writers and their write rights: granted, checked and renewed in the store's own transactions (docs/writers.md).

The row of a partition holds its highest number. Granting takes the row's lock and adds 1; a recorder's transaction locks the
rows of the partitions that it moves before it writes, and gives up unless they name it and its number, unexpired. So of two
recorders that believe to have a partition one is refused, in whatever order they wake, and no third process has to know.

Times are of the store's clock: the server's on PostgreSQL, this machine's on SQLite.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Update,
    bindparam,
    delete,
    literal,
    literal_column,
    select,
    text,
    update,
)

from simway_flask_app.clock import utc_now_us
from simway_flask_app.rights import Refusal, Right, WriterKey, judge
from simway_flask_app.store.engine import Database
from simway_flask_app.store.fencing import WriterState
from simway_flask_app.store.port import StoreError
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.schema import write_rights, writers

TERM_S = 30.0
"""How long a right holds; it is renewed when half of that is over."""
GRANT_PATIENCE_S = 3
"""So long a grant waits for a transaction of the former holder, which may hang; then that transaction is ended."""
APPLICATION = "simway-writer-"
"""What a recorder's connections to PostgreSQL are called, with the writer's name behind it."""

_US = 1_000_000
_REGISTER = text(
    "INSERT INTO writers (writer, public_key, host, pid, started_us, seen_us) "
    "VALUES (:writer, :public_key, :host, :pid, :now_us, :now_us) ON CONFLICT (writer) DO UPDATE SET seen_us = excluded.seen_us"
)
_TAKE = text(
    "INSERT INTO write_rights (log_id, topic, partition, number, writer, granted_us, expires_us, signature) "
    "VALUES (:log_id, :topic, :partition, 1, :writer, 0, 0, '') "
    "ON CONFLICT (log_id, topic, partition) DO UPDATE SET number = write_rights.number + 1"
)
"""The conflict locks the row: it waits for whoever is writing by the right of before."""
_END_HUNG = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = ANY(:names) "
    "AND (state LIKE 'idle in transaction%' OR wait_event = 'ClientRead' AND xact_start IS NOT NULL)"
)
"""Of the named writers, the connections whose transaction waits for its client, be it amid a COPY, where no timeout counts."""


class RightLost(StoreError):
    """A right that was held is gone: nothing was written. Forget what was cached, and take rights and positions anew."""

    def __init__(self, partitions: frozenset[int], reasons: Mapping[int, str]) -> None:
        self.partitions, self.reason = partitions, ", ".join(sorted(set(reasons.values())))
        super().__init__(f"the right to write partitions {sorted(partitions)} is lost: {self.reason}")


class WriteRights:
    """The rights that one recorder holds. One thread uses it."""

    def __init__(
        self, database: Database, key: WriterKey, *, term_s: float = TERM_S, host: str | None = None, pid: int | None = None,
        now_us: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        """``now_us``: a clock in the place of the store's, for tests."""
        self._database, self._key, self._term_us = database, key, int(term_s * _US)
        self._host, self._pid = host or socket.gethostname(), os.getpid() if pid is None else pid
        self._clock = _clock(database, now_us)
        self._held: dict[int, Right] = {}

    @property
    def writer(self) -> str:
        """The recorder's name."""
        return self._key.writer

    @property
    def held(self) -> Mapping[int, Right]:
        """By partition: what was granted, as it was last signed. Whether it still holds, only the store knows."""
        return dict(self._held)

    def grant(self, connection: Connection, follower: Follower, partitions: Collection[int]) -> dict[int, Right]:
        """Takes the partitions over, in the caller's transaction; ``keep`` what it gives once that has committed.

        On PostgreSQL it waits ``GRANT_PATIENCE_S`` for the former holder's transaction, then raises ``StoreUnavailable``: try
        again after ``end_hung``.
        """
        if not self._database.is_sqlite:
            connection.execute(text(f"SET LOCAL lock_timeout = '{GRANT_PATIENCE_S}s'"))
        now_us = self._register(connection)
        wanted = sorted(partitions)
        place = {"log_id": follower.log_id, "topic": follower.topic, "writer": self.writer}
        connection.execute(_TAKE, [place | {"partition": partition} for partition in wanted])
        rows = connection.execute(select(_c.partition, _c.number).where(*_at(follower, wanted)))
        number = {row.partition: int(row.number) for row in rows}
        granted = [
            Right(follower.log_id, follower.topic, partition, number[partition], self.writer, now_us, now_us + self._term_us, "")
            for partition in wanted
        ]
        return self._write(connection, granted)

    def check(self, connection: Connection, follower: Follower, partitions: Collection[int]) -> dict[int, Right]:
        """Locks the rows of ``partitions`` and renews what is half over; ``keep`` what it gives after the commit.

        Raises ``RightLost`` unless every right is this writer's, of the number that it was granted, and unexpired.
        """
        query = select(_c.partition, _c.number, _c.writer, _c.expires_us, self._clock().label("now_us"))
        rows = connection.execute(query.where(*_at(follower, partitions)).order_by(_c.partition).with_for_update()).all()
        found = {row.partition: row for row in rows}
        lost = {partition: why for partition in partitions if (why := self._why_lost(partition, found.get(partition)))}
        if lost:
            raise RightLost(frozenset(lost), lost)
        due = [row for row in rows if row.expires_us - row.now_us < self._term_us // 2]
        if not due:
            return {}
        now_us = self._register(connection)
        return self._write(connection, [_until(self._held[row.partition], now_us + self._term_us) for row in due])

    def keep(self, rights: Mapping[int, Right]) -> None:
        """What was granted or renewed is committed."""
        self._held |= rights

    def drop(self, partitions: Collection[int]) -> None:
        """Claims these no more."""
        for partition in partitions:
            self._held.pop(partition, None)

    def renew(self, follower: Follower) -> None:
        """What ``check`` does, of all that is held, in a transaction of its own: for a recorder that has nothing to store."""
        with self._database.write() as connection:
            renewed = self.check(connection, follower, self._held)
            if not renewed:
                self._register(connection)
        self.keep(renewed)

    def give_back(self) -> None:
        """Ends what is held, at an orderly end. The numbers stay."""
        with self._database.write() as connection:
            now_us = self._register(connection)
            self._write(connection, [_until(right, now_us) for right in self._held.values()])
        self._held.clear()

    def end_hung(self, follower: Follower, partitions: Collection[int]) -> int:
        """Ends what the holders of ``partitions`` have open and do not go on with (PostgreSQL only); how many connections."""
        if self._database.is_sqlite:
            return 0
        with self._database.read() as connection:
            holders = connection.execute(select(_c.writer).where(*_at(follower, partitions)).distinct()).scalars()
            names = [APPLICATION + holder for holder in holders if holder != self.writer]
            return int(connection.execute(_END_HUNG, {"names": names}).scalar_one()) if names else 0

    def _register(self, connection: Connection) -> int:
        """Notes that this writer lives; gives the store's time."""
        now_us = int(connection.execute(select(self._clock())).scalar_one())
        row = {"writer": self.writer, "public_key": self._key.public_key, "host": self._host, "pid": self._pid, "now_us": now_us}
        connection.execute(_REGISTER, row)
        return now_us

    def _why_lost(self, partition: int, row: Any) -> str:
        held = self._held.get(partition)
        if held is None or row is None:
            return "never granted"
        if (row.number, row.writer) != (held.number, self.writer):
            return Refusal.SUPERSEDED
        return Refusal.EXPIRED if row.expires_us <= row.now_us else ""

    def _write(self, connection: Connection, rights: Sequence[Right]) -> dict[int, Right]:
        """Signs rights and writes them where their number still stands."""
        signed = [self._key.sign(right) for right in rights]
        if signed:
            connection.execute(_WRITING, [_values(right) for right in signed])
        return {right.partition: right for right in signed}


class Writers:
    """The part of the store that knows writers: see ``fencing.Fencing``."""

    _database: Database

    def writers(self) -> list[WriterState]:
        """See ``Fencing``."""
        clock = _clock(self._database, None)
        with self._database.read() as connection:
            found: dict[str, list[Right]] = {}
            for row in connection.execute(select(write_rights).order_by(_c.topic, _c.partition, _c.granted_us)):
                found.setdefault(row.writer, []).append(_right(row))
            rows = connection.execute(select(writers, clock().label("now_us")).order_by(writers.c.started_us, writers.c.writer))
            return [_state(row, tuple(found.get(row.writer, ()))) for row in rows]

    def verify_right(self, right: Right, *, partition: int | None, writer: str | None) -> Refusal | None:
        """See ``Fencing``."""
        with self._database.read() as connection:
            now_us = int(connection.execute(select(_clock(self._database, None)())).scalar_one())
            key = connection.execute(select(writers.c.public_key).where(writers.c.writer == right.writer)).scalar()
            place = Follower("", right.log_id, right.topic)
            row = connection.execute(select(write_rights).where(*_at(place, [right.partition]))).first()
        return judge(right, key, None if row is None else _right(row), now_us, partition=partition, writer=writer)

    def forget_writers(self, before_us: int) -> int:
        """Forgets writers that were last seen before, unless a partition's right is still in their name; how many."""
        named = select(_c.writer).where(_c.writer == writers.c.writer).exists()
        with self._database.write() as connection:
            return connection.execute(delete(writers).where(writers.c.seen_us < before_us, ~named)).rowcount


def is_lock_timeout(error: StoreError) -> bool:
    """True when a transaction waited in vain for a row that another one holds."""
    cause = error.__cause__
    return isinstance(getattr(cause, "orig", cause), psycopg.errors.LockNotAvailable)


_c = write_rights.c


def _writing() -> Update:
    here = _c.log_id == bindparam("of_log"), _c.topic == bindparam("of_topic"), _c.partition == bindparam("of_partition")
    return (
        update(write_rights)
        .where(*here, _c.number == bindparam("of_number"))
        .values({name: bindparam(f"new_{name}") for name in ("writer", "granted_us", "expires_us", "signature")})
    )


_WRITING = _writing()


def _values(right: Right) -> dict[str, Any]:
    return {
        "of_log": right.log_id, "of_topic": right.topic, "of_partition": right.partition, "of_number": right.number,
        "new_writer": right.writer, "new_granted_us": right.granted_us, "new_expires_us": right.expires_us,
        "new_signature": right.signature,
    }  # fmt: skip


def _at(follower: Follower, partitions: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    return _c.log_id == follower.log_id, _c.topic == follower.topic, _c.partition.in_(sorted(partitions))


def _clock(database: Database, now_us: Callable[[], int] | None) -> Callable[[], ColumnElement[int]]:
    """The time as an expression."""
    if now_us is None and not database.is_sqlite:
        server = literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger())
        return lambda: server
    clock = now_us or utc_now_us
    return lambda: literal(clock(), BigInteger())


def _until(right: Right, expires_us: int) -> Right:
    return msgspec.structs.replace(right, expires_us=expires_us)


def _right(row: Any) -> Right:
    return Right(
        row.log_id, row.topic, row.partition, row.number, row.writer, row.granted_us, row.expires_us, row.signature
    )  # fmt: skip


def _state(row: Any, rights: tuple[Right, ...]) -> WriterState:
    live = row.now_us - row.seen_us < TERM_S * _US
    return WriterState(
        row.writer, row.public_key, row.host, row.pid, row.started_us, row.seen_us, live, int(row.now_us), rights
    )  # fmt: skip
