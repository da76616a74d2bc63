"""The dispatcher: the store's outbox into the log, and ``device-events`` into the ledger (design, section 8).

One thread does it all in turn: events first, until none is left or they are of this moment; then what the clock decides, so
that nothing expires while its answer waits to be read; then sealing, one command outstanding per device; then the outbox. Each
step is a transaction that can be repeated: a crash between two costs at most a message written twice, which every reader of the
log bears. Between two rounds it waits for events; a second thread waits for news of the store and ends that
(docs/decisions/dispatcher-is-told.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import structlog
from simway_backbone import metrics
from simway_backbone.log import Log, LogUnavailable, OffsetGone, Record
from simway_protocol.errors import LocalError
from simway_protocol.messages import BadMessage, DeadLetter, DeviceEvent, decode
from sqlalchemy import BigInteger, Connection, bindparam, exists, or_, select
from sqlalchemy.exc import DBAPIError

from simway_flask_app import ledger, sealing
from simway_flask_app.clock import utc_now_us
from simway_flask_app.device_events import ACTOR, DeviceEvents
from simway_flask_app.ledger import Event as Happening
from simway_flask_app.ledger import State
from simway_flask_app.listening import Listener
from simway_flask_app.publishing import Publisher
from simway_flask_app.store import commands, outbox, positions, registry
from simway_flask_app.store.engine import is_passing
from simway_flask_app.store.port import StoreError, StoreUnavailable
from simway_flask_app.store.positions import Follower, PositionMoved
from simway_flask_app.store.schema import CANCELLING, HAS_TURN, UNSEALED, devices
from simway_flask_app.store.schema import commands as commands_table
from simway_flask_app.store.schema import outbox as outbox_table
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.stored_reader import StoredReader
from simway_flask_app.trail import EMPTY

log = structlog.get_logger()

TOPIC = "device-events"
CONSUMER = "dispatcher"
POLL_S = 0.25
"""Between two looks at the store without any news of it: what lost news costs, and what the clock decides may wait."""
PATIENCE_S = 0.004
"""Between two looks at an embedded log without news: so long may the answer to a command wait."""
EXPIRE_GRACE_US = 5_000_000
"""An unsent command expires here so long after its time: a gateway that sent it in time has said so by then."""
CAUGHT_UP_US = 2_000_000
"""Events younger than this leave nothing unread that ``EXPIRE_GRACE_US`` waits for, however many keep coming."""
RECORDS_MAX = 500
DECISIONS_MAX = 500
LOOK_BACK_RECORDS = 20_000
LOOK_BACK_POLL_S = 1.0
LOOK_BACK_POLLS = 5
PAYLOAD_MAX_BYTES = 64 * 1024
"""So much of a record that cannot be applied is kept with its dead letter."""
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0

_C = commands_table.c
LOOK = select(
    exists().where(UNSEALED).label("unsealed"),
    exists().where(CANCELLING).label("cancelling"),
    or_(
        exists().where((_C.state == State.QUEUED.value) & (_C.expires_us < bindparam("late_us", type_=BigInteger))),
        exists().where(HAS_TURN & (_C.answer_by_us < bindparam("now_us", type_=BigInteger))),
    ).label("overdue"),
    exists(select(outbox_table.c.id)).label("waiting"),
)
"""Whether anything is to be done: asked at every idle round, so it must never read all of the commands."""

Report = Callable[[str, str | None], None]


def unheard(_name: str, _wrong: str | None) -> None:
    """A report to nobody."""


class _Refused(Exception):
    """The store refuses one of several events."""


class Dispatcher:
    """``run`` blocks until ``stopping`` is set. ``turn`` is one round of it, for tests."""

    def __init__(
        self, target: Log, store: SqlStore, events: DeviceEvents, *, stopping: Event, report: Report = unheard,
        on_published: Callable[[str, int], None] | None = None, now_us: Callable[[], int] = utc_now_us,
    ) -> None:  # fmt: skip
        self._log, self._store, self._events = target, store, events
        gone = metrics.RECORDS_GONE.labels(CONSUMER, TOPIC).inc
        self.source = StoredReader(
            target, store, CONSUMER, TOPIC, on_missing=gone, now_us=now_us, patience_s=PATIENCE_S
        )  # fmt: skip
        self.publisher = Publisher(target, store, on_published)
        self._stopping, self._report, self._now_us = stopping, report, now_us
        self._looked_back = False
        self._ahead_max = 0

    def run(self) -> None:
        """Dispatches until told to stop; waits for a log or store that is away."""
        self._ahead_max = RECORDS_MAX
        listener = Listener(self._store.news(), self.source.wake, stopping=self._stopping)
        listener.start()
        self._run()
        listener.join()

    def _run(self) -> None:
        wait_s = RETRY_FIRST_S
        while not self._stopping.is_set():
            try:
                self.turn()
                self._report("log", None)
                self._report("store", None)
                wait_s = RETRY_FIRST_S
                continue
            except PositionMoved as moved:
                log.warning("another dispatcher moved the positions: run only one", detail=str(moved))
                self._report("store", str(moved))
            except LogUnavailable as error:
                log.warning("the log is away; waiting", detail=str(error))
                self._report("log", str(error))
            except StoreUnavailable as error:
                log.warning("the store is away; waiting", detail=str(error))
                self._report("store", str(error))
            except StoreError as error:
                log.error("the store refuses", detail=str(error))
                self._report("store", str(error))
            self.close()
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)
        self.close()

    def turn(self, poll_s: float = POLL_S) -> int:
        """One round; gives how many events it took. Raises ``LogError`` and ``StoreError``."""
        if not self.source.is_open:
            self._begin()
            poll_s = 0.0  # what was decided until now woke nobody
        records = self.source.poll(poll_s, RECORDS_MAX)
        if records is None:
            return 0
        if records:
            self._take(records)
        self._work(caught_up=self._is_caught_up(records))
        return len(records)

    def _is_caught_up(self, records: Sequence[Record]) -> bool:
        """True when no answer can be waiting that came in time: nothing, or just what happened a moment ago, was left to read."""
        if not records:
            return self.source.is_quiet
        return abs(self._now_us() - max(record.appended_us for record in records)) <= CAUGHT_UP_US

    def close(self) -> None:
        """Frees the reader; the next ``turn`` begins at the stored positions."""
        self.source.close()

    def _begin(self) -> None:
        self._announce(self._log.identity("registry"))
        self.source.load()
        self._look_back()
        self.source.open(ahead_max=self._ahead_max)

    def _look_back(self) -> None:
        """Holds the audit trail against the anchors of the last events again: a store may have been trimmed while we were out."""
        if self._looked_back:
            return
        found = [record for partition, end in self.source.positions.items() for record in self._tail(partition, end)]
        with self._store.deciding() as connection:
            for record in found:
                if b'"audit_anchor"' in record.value:
                    self._apply(connection, record, self._now_us())
        self._events.noted.see(EMPTY)
        self._looked_back = True

    def _tail(self, partition: int, end: int) -> list[Record]:
        start = max(self._log.bounds(TOPIC)[partition][0], end - LOOK_BACK_RECORDS)
        found: list[Record] = []
        reader, patience = self._log.reader(TOPIC, {partition: start}), LOOK_BACK_POLLS
        try:
            while patience and (found[-1].offset + 1 if found else start) < end:
                records = reader.poll(LOOK_BACK_POLL_S, RECORDS_MAX)
                found += records
                patience -= not records
        except OffsetGone:
            log.info("retention took old events while they were read again", partition=partition)
        finally:
            reader.close()
        return [record for record in found if record.offset < end]

    def _announce(self, log_id: str) -> None:
        """A log that was never written to before knows no device, and no command that the last one held."""
        follower = Follower("announced", log_id, "registry")
        with self._store.reading() as connection:
            if positions.load(connection, follower):
                return
        log.info("a new log: announcing every device to it", log_id=log_id)
        now_us = self._now_us()
        with self._store.deciding() as connection:
            positions.advance(connection, follower, {0: (0, 1)})
            registry.announce(connection, now_us)
            for row in commands.unsent_everywhere(connection):
                commands.transition(
                    connection, row, State.QUEUED, actor=ACTOR, event="unsealed", t_us=now_us, now_us=now_us, reason="new_log",
                    counter=None,
                )  # fmt: skip

    def _take(self, records: Sequence[Record]) -> None:
        """All events together; where one of them cannot be applied, each under a savepoint, in a transaction anew."""
        now_us = self._now_us()
        try:
            events = [decode(TOPIC, record.value) for record in records]
            with self.source.taking(records, self._store.deciding()) as connection:
                self._apply_together(connection, events, now_us)
        except (BadMessage, _Refused):
            with self.source.taking(records, self._store.deciding()) as connection:
                for record in records:
                    self._apply(connection, record, now_us)

    def _apply_together(self, connection: Connection, events: Sequence[DeviceEvent], now_us: int) -> None:
        try:
            self._events.apply_all(connection, events, now_us)
        except DBAPIError as error:
            if error.connection_invalidated or is_passing(error.orig or error):
                raise
            raise _Refused from error

    def _apply(self, connection: Connection, record: Record, now_us: int) -> None:
        """Applies one event. One that cannot be applied goes to the dead letters: it must not stop every other device."""
        try:
            event = decode(TOPIC, record.value)
            with connection.begin_nested():
                self._events.apply(connection, event, now_us)
        except BadMessage as error:
            log.error("a device event does not decode", offset=record.offset, detail=str(error))
            self._bury(connection, record, "corrupt_record", error, now_us)
        except DBAPIError as error:
            if error.connection_invalidated or is_passing(error.orig or error):
                raise
            log.error("the store refuses a device event", offset=record.offset, detail=str(error.orig))
            self._bury(connection, record, "refused_by_store", error, now_us)

    def _bury(self, connection: Connection, record: Record, reason: str, error: Exception, now_us: int) -> None:
        where = f"{TOPIC}/{record.partition} offset {record.offset}: {error}"
        letter = DeadLetter(CONSUMER, reason, now_us, detail=where, payload=record.value[:PAYLOAD_MAX_BYTES])
        outbox.bury(connection, [letter], now_us)
        metrics.DEAD_LETTERS.labels(CONSUMER, reason).inc()

    def _work(self, *, caught_up: bool) -> None:
        """Overdue, cancel, seal, then the outbox: looked for by one query, so that an idle round takes no lock."""
        now_us = self._now_us()
        with self._store.reading() as connection:
            found = connection.execute(LOOK, {"now_us": now_us, "late_us": now_us - EXPIRE_GRACE_US}).one()
        work = found.unsealed or found.cancelling or found.overdue
        if work:
            self._decide(found, now_us, caught_up=caught_up)
        if work or found.waiting:
            self.publisher.publish()

    def _decide(self, found: Any, now_us: int, *, caught_up: bool) -> None:
        """What ends here lets the device's next command be sealed, so that is looked for in any case."""
        with self._store.deciding() as connection:
            if found.overdue and caught_up:
                self._expire(connection, now_us)
            if found.cancelling:
                for row in commands.to_cancel(connection, DECISIONS_MAX):
                    self._seal_cancel(connection, row, now_us)
            for row in commands.to_seal(connection, DECISIONS_MAX):
                self._seal(connection, row, now_us)

    def _expire(self, connection: Connection, now_us: int) -> None:
        for row in commands.overdue(connection, now_us, now_us - EXPIRE_GRACE_US, DECISIONS_MAX):
            happened = Happening.EXPIRE if row.state == State.QUEUED else Happening.LAPSE
            after = ledger.move(row.kind, State(row.state), happened)
            assert after is not None
            reason = "not_sent_in_time" if happened is Happening.EXPIRE else "no_answer_in_time"
            commands.transition(
                connection, row, after, actor=ACTOR, event=str(happened), t_us=now_us, now_us=now_us, reason=reason
            )

    def _seal(self, connection: Connection, row: Any, now_us: int) -> None:
        seal = registry.next_seal(connection, row.device)
        try:
            message = sealing.seal_command(self._events.master_secret, row, seal.counter, seal.key_version)
        except LocalError as error:
            after = ledger.move(row.kind, State.QUEUED, Happening.REFUSED)
            assert after is not None
            commands.transition(
                connection, row, after, actor=ACTOR, event="refused", t_us=now_us, now_us=now_us, reason="bad_target",
                evidence={"detail": str(error)},
            )  # fmt: skip
            return
        outbox.enqueue(connection, "downlink", message, now_us)
        commands.transition(
            connection, row, State.QUEUED, actor=ACTOR, event="sealed", t_us=now_us, now_us=now_us,
            counter=seal.counter, seals=row.seals + 1, sent_generation=seal.generation,
        )  # fmt: skip

    def _seal_cancel(self, connection: Connection, row: Any, now_us: int) -> None:
        key_version = connection.execute(select(devices.c.key_version).where(devices.c.device == row.device)).scalar_one()
        message = sealing.seal_cancel(self._events.master_secret, row, row.counter or 0, key_version)
        outbox.enqueue(connection, "downlink", message, now_us)
        commands.transition(
            connection, row, State(row.state), actor=ACTOR, event="cancel_sent", t_us=now_us, now_us=now_us, cancel_pending=0
        )
