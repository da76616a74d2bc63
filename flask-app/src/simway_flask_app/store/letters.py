"""Dead letters in the store: the recorder's and dispatcher's own, and those of gateways, read from their topic.

What the store buries it keeps at once (``outbox.bury``) and marks ``kept`` on its way to the topic; whoever follows the topic
(``simway_flask_app.letter_keeper``) brings the others here. A replay queues an uplink for the log in the outbox, in one
transaction with its mark and its entry in the audit trail: asked for twice, it happens once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simway_protocol.identity import is_device_id
from simway_protocol.limits import INT64_MAX, INT64_MIN, RAW_RETENTION_US
from simway_protocol.messages import DeadLetter, decode, encode
from simway_protocol.readings import Value
from sqlalchemy import Connection, delete, func, insert, select, update

from simway_flask_app.replays import Facts, Refused
from simway_flask_app.store import outbox, page_cursors, trail
from simway_flask_app.store.bookkeeping import Judge, KeptLetter, LettersPage
from simway_flask_app.store.engine import Database
from simway_flask_app.store.port import LetterRefused, UnknownLetter
from simway_flask_app.store.schema import dead_letters, devices, readings, series, tiers
from simway_flask_app.store.values import value_of

KEPT_MAX = 1_000_000
"""Letters in the store; beyond that the oldest go. A device whose every reading is refused must not fill the disk."""
_C = dead_letters.c
_MARK = "d"
_WORD_MAX = 64
_COLUMNS = (_C.id, _C.letter, _C.replayed_us, _C.replayed_by)


class DeadLetters:
    """The part of the store that knows dead letters."""

    _database: Database

    def dead_letters(
        self, *, device: str | None = None, reason: str | None = None, source: str | None = None, from_us: int | None = None,
        to_us: int | None = None, limit: int = 100, cursor: str | None = None,
    ) -> LettersPage:  # fmt: skip
        """See ``bookkeeping.Bookkeeping``."""
        query = select(*_COLUMNS)
        for column, wanted in ((_C.device, device), (_C.reason, reason), (_C.source, source)):
            query = query if wanted is None else query.where(column == wanted)
        query = query if from_us is None else query.where(_C.t_us >= from_us)
        query = query if to_us is None else query.where(_C.t_us < to_us)
        query = query if cursor is None else query.where(_C.id < page_cursors.decode(_MARK, cursor))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_C.id.desc()).limit(limit + 1)).all()
        found = [_kept(row) for row in rows[:limit]]
        return LettersPage(found, page_cursors.encode(_MARK, found[-1].letter_id) if len(rows) > limit else None)

    def dead_letter_counts(self, device: str | None = None) -> dict[str, int]:
        """See ``bookkeeping.Bookkeeping``."""
        query = select(_C.reason, func.count()).group_by(_C.reason).order_by(_C.reason)
        with self._database.read() as connection:
            rows = connection.execute(query if device is None else query.where(_C.device == device))
            return {reason: int(total) for reason, total in rows}

    def dead_letter(self, letter_id: int) -> KeptLetter:
        """See ``bookkeeping.Bookkeeping``."""
        with self._database.read() as connection:
            return _find(connection, letter_id)

    def replay_letter(self, letter_id: int, judge: Judge, *, actor: str, now_us: int) -> KeptLetter:
        """See ``bookkeeping.Bookkeeping``."""
        with trail.deciding(self._database) as connection:
            kept = _find(connection, letter_id)
            if kept.replayed_us is not None:
                return kept
            letter = kept.letter
            found = judge(letter, _facts(connection, now_us))
            if isinstance(found, Refused):
                raise LetterRefused(found.reason, found.text)
            outbox.enqueue_uplinks(connection, found, now_us)
            connection.execute(update(dead_letters).where(_C.id == letter_id).values(replayed_us=now_us, replayed_by=actor))
            trail.append(
                connection, "letter.replayed", device=letter.device, actor=actor, subject=str(letter_id), now_us=now_us,
                detail={"source": letter.source, "reason": letter.reason, "uplinks": len(found)},
            )  # fmt: skip
            return KeptLetter(letter_id, letter, now_us, actor)


def keep(connection: Connection, letters: Sequence[DeadLetter], now_us: int) -> int:
    """Keeps letters that came by the topic, but for those that the store wrote itself; gives how many it kept."""
    foreign = [letter for letter in letters if not letter.kept]
    if foreign:
        connection.execute(insert(dead_letters), [_row(letter, now_us) for letter in foreign])
        newest = connection.execute(select(func.max(_C.id))).scalar_one()
        connection.execute(delete(dead_letters).where(_C.id <= newest - KEPT_MAX))
    return len(foreign)


def _row(letter: DeadLetter, now_us: int) -> dict[str, Any]:
    """Whatever a gateway wrote, the database takes it: what is listed by is held to short words."""
    return {
        "t_us": letter.t_us if INT64_MIN <= letter.t_us <= INT64_MAX else now_us,
        "source": _word(letter.source), "reason": _word(letter.reason),
        "device": letter.device if is_device_id(letter.device) else "", "letter": encode(letter),
    }  # fmt: skip


def _word(text: str) -> str:
    return text[:_WORD_MAX] if text.isascii() and text.isprintable() else "unreadable"


def _kept(row: Any) -> KeptLetter:
    return KeptLetter(row.id, decode("dead-letter", bytes(row.letter)), row.replayed_us, row.replayed_by or "")


def _find(connection: Connection, letter_id: int) -> KeptLetter:
    row = connection.execute(select(*_COLUMNS).where(_C.id == letter_id)).first()
    if row is None:
        raise UnknownLetter("There is no dead letter of this number: it is older than they are kept, or never was.")
    return _kept(row)


def _facts(connection: Connection, now_us: int) -> Facts:
    keep_s = connection.execute(select(tiers.c.keep_s).where(tiers.c.tier == "raw")).scalar()
    keep_us = RAW_RETENTION_US if keep_s is None else keep_s * 1_000_000
    oldest_us = now_us - keep_us if keep_us else INT64_MIN

    def knows(device: str) -> bool:
        return connection.execute(select(devices.c.device).where(devices.c.device == device)).first() is not None

    def held(device: str, sensor: str, t_us: int) -> tuple[Value, str | None] | None:
        columns = (readings.c.num, readings.c.kind, readings.c.detail, readings.c.unit)
        joined = readings.join(series, readings.c.series_id == series.c.series_id)
        of = (series.c.device == device, series.c.sensor == sensor, readings.c.t_us == t_us)
        row = connection.execute(select(*columns).select_from(joined).where(*of)).first()
        return None if row is None else (value_of(row.num, row.kind, row.detail), row.unit)

    return Facts(now_us, oldest_us, knows, held)
