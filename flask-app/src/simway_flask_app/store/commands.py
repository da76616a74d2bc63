"""Commands in the store: queued and watched by the web, moved by the dispatcher. The rules are in ``simway_flask_app.ledger``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
from sqlalchemy import Connection, Integer, and_, bindparam, func, insert, or_, select, update

from simway_flask_app import ledger
from simway_flask_app.ledger import Event, State
from simway_flask_app.policy import Facts, Verdict
from simway_flask_app.store import accepting, page_cursors, trail, twins
from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import (
    Command,
    CommandRefused,
    CommandsPage,
    HistoryRow,
    NewCommand,
    NotCancellable,
    UnknownCommand,
)
from simway_flask_app.store.schema import CANCELLING, HAS_TURN, UNSEALED, command_history, commands

PROOF = ("proof", "iccid_before", "iccid_after")
"""What a RESULT tells that VERIFIED repeats: how it is known that the switch stands, and what it led from and to."""
_MARK = "c"
_evidence = msgspec.json.Decoder(dict[str, Any])
_OF: Any = bindparam("of")
_FIND = select(commands).where(commands.c.command_id == _OF)
_FIND_LOCKED = _FIND.with_for_update()
_MOVE = update(commands).where(commands.c.command_id == _OF)
_NOTE = insert(command_history)
_HISTORY = select(command_history, commands.c.device).select_from(
    command_history.join(commands, command_history.c.command_id == commands.c.command_id)
)
_HISTORY_OF = _HISTORY.where(command_history.c.command_id == _OF).order_by(command_history.c.seq)
"""Made once: SQLAlchemy takes longer to build a statement than a database takes to run it."""


class Commands:
    """The part of the store that knows commands."""

    _database: Database

    def add_command(self, command: NewCommand, *, now_us: int, judge: Callable[[Facts], Verdict] | None = None) -> Command:
        """See ``port.WebStore``."""
        with trail.deciding(self._database) as connection:
            if judge is None and not command.target_iccid:
                return queue(connection, command, "", Verdict(None), now_us)
            known = accepting.facts(connection, command, now_us)
            verdict = Verdict(None) if judge is None else judge(known)
            if verdict.refusal is None:
                return queue(connection, command, accepting.target_class(known), verdict, now_us)
            accepting.note_refused(connection, command, verdict.refusal, now_us)
        raise CommandRefused(verdict.refusal)

    def command(self, device: str, command_id: str) -> Command:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return _command(_of_device(find(connection, command_id), device, command_id))

    def command_with_history(self, device: str, command_id: str) -> tuple[Command, list[HistoryRow]]:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            row = _of_device(find(connection, command_id), device, command_id)
            return _command(row), _history_of(connection, command_id)

    def commands(self, device: str, *, limit: int = 50, cursor: str | None = None) -> CommandsPage:
        """See ``port.WebStore``."""
        query = select(commands).where(commands.c.device == device)
        if cursor is not None:
            query = query.where(commands.c.seq < page_cursors.decode(_MARK, cursor))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(commands.c.seq.desc()).limit(limit + 1)).all()
        found = [_command(row) for row in rows[:limit]]
        return CommandsPage(found, page_cursors.encode(_MARK, rows[limit - 1].seq) if len(rows) > limit else None)

    def command_history(self, command_id: str) -> list[HistoryRow]:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return _history_of(connection, command_id)

    def command_changes(self, since_seq: int, *, device: str | None = None, limit: int = 1000) -> list[HistoryRow]:
        """See ``port.WebStore``."""
        query = _HISTORY.where(command_history.c.seq > since_seq).order_by(command_history.c.seq).limit(limit)
        if device is not None:
            query = query.where(commands.c.device == device)
        with self._database.read() as connection:
            return [_history_row(row) for row in connection.execute(query)]

    def last_command_seq(self) -> int:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.max(command_history.c.seq))).scalar() or 0)

    def request_cancel(self, device: str, command_id: str, *, actor: str, now_us: int) -> Command:
        """See ``port.WebStore``."""
        with trail.deciding(self._database) as connection:
            row = _of_device(find(connection, command_id, lock=True), device, command_id)
            state = State(row.state)
            if state is not State.CANCELLED:
                _cancel(connection, row, state, actor, now_us)
            return _command(find(connection, command_id))


def queue(connection: Connection, command: NewCommand, target_class: str, verdict: Verdict, now_us: int) -> Command:
    """Takes a command on. Within a transaction of ``SqlStore.deciding``. Raises ``UnknownDevice``."""
    row = accepting.add(connection, command, target_class, now_us)
    connection.execute(_NOTE, _line(command.command_id, now_us, command.actor, "created", State.QUEUED, "", "{}"))
    accepting.note_accepted(connection, command, target_class, verdict, now_us)
    return _command(SimpleNamespace(**row))


def _cancel(connection: Connection, row: Any, state: State, actor: str, now_us: int) -> None:
    if not ledger.may_cancel(state):
        raise NotCancellable(row.command_id, state)
    after = ledger.move(row.kind, state, Event.CANCEL)
    assert after is not None
    if row.cancel_requested_us is not None:
        return
    transition(
        connection, row, after, actor=actor, event="cancel_requested", t_us=now_us, now_us=now_us,
        cancel_requested_us=now_us, cancel_pending=int(row.counter is not None),
    )  # fmt: skip


def find(connection: Connection, command_id: str, *, lock: bool = False) -> Any:
    """The row of a command, or None; ``lock`` keeps other transactions from changing it."""
    return connection.execute(_FIND_LOCKED if lock else _FIND, {"of": command_id}).first()


def _of_device(row: Any, device: str, command_id: str) -> Any:
    if row is None or row.device != device:
        raise UnknownCommand(f"device {device} has no command {command_id}")
    return row


def transition(
    connection: Connection, row: Any, after: State, *, actor: str, event: str, t_us: int, now_us: int, reason: str = "",
    evidence: Mapping[str, Any] | None = None, **changes: Any,
) -> None:  # fmt: skip
    """Sets a command's state, and adds the line of its history and of the audit trail; see ``Transitions.add``."""
    steps = Transitions(connection, row, now_us)
    steps.add(after, actor=actor, event=event, t_us=t_us, reason=reason, evidence=evidence, **changes)
    steps.write()


class Transitions:
    """What happens to one command within a transaction of ``SqlStore.deciding``: step by step, written together.

    ``row``: the command as it is after what was added; others see that after ``write``. ``now_us``: when it is written.
    """

    def __init__(self, connection: Connection, row: Any, now_us: int) -> None:
        self.row = row
        self._connection, self._now_us = connection, now_us
        self._changes: dict[str, Any] = {}
        self._lines: list[dict[str, Any]] = []
        self._entries: list[trail.New] = []

    def add(
        self, after: State, *, actor: str, event: str, t_us: int, reason: str = "", evidence: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> None:  # fmt: skip
        """One step, to the state ``after``; ``t_us``: when it happened."""
        row, text = self.row, msgspec.json.encode(evidence or {}).decode()
        sealed = changes.get("counter", row.counter) is not None
        turn = int(ledger.holds_turn(row.kind, after, sealed=sealed))
        values = {"state": after.value, "updated_us": self._now_us, "turn": turn, **changes}
        if reason or evidence:
            values |= {"reason": reason, "evidence": text}
        self._lines.append(_line(row.command_id, t_us, actor, event, after, reason, text))
        self._entries.append(_entry(row, after, event, actor, reason, text))
        self._changes |= values
        self.row = SimpleNamespace(**(_values(row) | values))

    def write(self) -> None:
        """Writes what was added since the last time, in as many statements as one step takes."""
        if not self._lines:
            return
        self._connection.execute(_MOVE, {"of": self.row.command_id, **self._changes})
        self._connection.execute(_NOTE, self._lines)
        trail.append_all(self._connection, self._entries, self._now_us)
        self._changes, self._lines, self._entries = {}, [], []
        if self.row.kind == "switch":
            twins.note_switch(self._connection, self.row, State(self.row.state), self._now_us)


def _values(row: Any) -> dict[str, Any]:
    return dict(vars(row)) if isinstance(row, SimpleNamespace) else dict(row._mapping)


def _line(command_id: str, t_us: int, actor: str, event: str, state: State, reason: str, evidence: str) -> dict[str, Any]:
    """A line of a command's history."""
    return {
        "command_id": command_id, "t_us": t_us, "actor": actor, "event": event, "state": state.value, "reason": reason,
        "evidence": evidence,
    }  # fmt: skip


def _entry(row: Any, after: State, event: str, actor: str, reason: str, evidence: str) -> trail.New:
    """The audit trail's. The evidence stays in the history; its hash makes it as lasting as the entry."""
    kind = "command.cancel_requested" if event == "cancel_requested" else "command.transition"
    detail = {"event": event, "before": row.state, "after": after.value, "reason": reason}
    if evidence != "{}":
        detail["evidence_sha256"] = hashlib.sha256(evidence.encode()).hexdigest()
    return trail.New(kind, row.device, actor, row.command_id, detail)


def proof(connection: Connection, command_id: str) -> dict[str, Any]:
    """What the last RESULT ``executed`` of a switch said of its proof and ICCIDs; empty where none came."""
    happened = command_history.c.event.in_([Event.EXECUTED.value, Event.PROVED.value])
    query = select(command_history.c.evidence).where(command_history.c.command_id == command_id, happened)
    text = connection.execute(query.order_by(command_history.c.seq.desc()).limit(1)).scalar()
    told = {} if text is None else _evidence.decode(text)
    return {name: told[name] for name in PROOF if name in told}


def _to_seal() -> Any:
    busy = select(commands.c.device).where(HAS_TURN)
    ranked = (
        select(
            commands.c.command_id,
            func.row_number().over(partition_by=commands.c.device, order_by=commands.c.seq).label("n"),
        )
        .where(UNSEALED, commands.c.device.not_in(busy))
        .subquery()
    )
    query = select(commands).where(commands.c.command_id.in_(select(ranked.c.command_id).where(ranked.c.n == 1)), UNSEALED)
    return query.order_by(commands.c.created_us).limit(bindparam("limit", type_=Integer)).with_for_update()


_TO_SEAL = _to_seal()


def to_seal(connection: Connection, limit: int) -> Sequence[Any]:
    """The oldest unsealed command of each device that has none outstanding; locked."""
    return connection.execute(_TO_SEAL, {"limit": limit}).all()


def to_cancel(connection: Connection, limit: int) -> Sequence[Any]:
    """Sealed commands whose CANCEL is not sealed yet; locked."""
    return connection.execute(select(commands).where(CANCELLING).limit(limit).with_for_update()).all()


def overdue(connection: Connection, answered_by_us: int, sent_by_us: int, limit: int) -> Sequence[Any]:
    """Commands whose time is over: unsent though they expired before ``sent_by_us``, or unanswered; locked."""
    late = and_(commands.c.state == State.QUEUED.value, commands.c.expires_us < sent_by_us)
    waiting = [state.value for state in ledger.LAPSING]
    silent = and_(commands.c.state.in_(waiting), commands.c.answer_by_us < answered_by_us, HAS_TURN)
    return connection.execute(select(commands).where(or_(late, silent)).limit(limit).with_for_update()).all()


def unresolved(connection: Connection, device: str) -> Sequence[Any]:
    """The device's commands whose end is UNKNOWN; locked."""
    query = select(commands).where(commands.c.device == device, commands.c.state == State.UNKNOWN.value)
    return connection.execute(query.order_by(commands.c.seq).with_for_update()).all()


def any_before(connection: Connection, row: Any, command_ids: Sequence[str]) -> bool:
    """True when one of these commands of the same device was sealed before ``row``."""
    older = and_(commands.c.device == row.device, commands.c.counter < row.counter, commands.c.command_id.in_(command_ids))
    return connection.execute(select(commands.c.command_id).where(older).limit(1)).first() is not None


def heard_before(connection: Connection, row: Any, actor: str) -> bool:
    """True when ``actor`` ever said anything of a command of the same device that was sealed before ``row``."""
    joined = command_history.join(commands, command_history.c.command_id == commands.c.command_id)
    older = and_(commands.c.device == row.device, commands.c.counter < row.counter, command_history.c.actor == actor)
    return connection.execute(select(command_history.c.seq).select_from(joined).where(older).limit(1)).first() is not None


def unsent(connection: Connection, device: str, counter: int) -> Sequence[Any]:
    """Sealed but unsent commands of a device whose counter is not above ``counter``; locked."""
    query = select(commands).where(
        commands.c.device == device, commands.c.state == State.QUEUED.value, commands.c.counter <= counter
    )
    return connection.execute(query.with_for_update()).all()


def unsent_everywhere(connection: Connection) -> Sequence[Any]:
    """All sealed but unsent commands; locked."""
    query = select(commands).where(commands.c.state == State.QUEUED.value, commands.c.counter.is_not(None))
    return connection.execute(query.with_for_update()).all()


def _history_of(connection: Connection, command_id: str) -> list[HistoryRow]:
    return [_history_row(row) for row in connection.execute(_HISTORY_OF, {"of": command_id})]


def _history_row(row: Any) -> HistoryRow:
    evidence = _evidence.decode(row.evidence)
    return HistoryRow(row.seq, row.device, row.command_id, row.t_us, row.actor, row.event, row.state, row.reason, evidence)


def _command(row: Any) -> Command:
    return Command(
        row.command_id, row.device, row.kind, row.state, row.target_iccid, row.provider, row.deadline_s, row.expires_us,
        row.created_us, row.updated_us, row.actor, row.counter, row.reason, _evidence.decode(row.evidence),
        row.cancel_requested_us, bool(row.forced), row.force_reason, row.target_class,
    )  # fmt: skip
