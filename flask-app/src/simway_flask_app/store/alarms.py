"""Alarms in the store: raised once, ended by themselves, both in the audit trail. What raises them is in ``twin``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from simway_flask_app.store import page_cursors, trail
from simway_flask_app.store.engine import Database
from simway_flask_app.store.oversight import Alarm, AlarmsPage
from simway_flask_app.store.schema import alarms
from simway_flask_app.twin import SEVERITIES, Finding, Kind

ACTOR = "dispatcher"
_MARK = "l"


class Alarms:
    """The part of the store that knows alarms."""

    _database: Database

    def alarms(
        self, *, device: str | None = None, over: bool | None = None, limit: int = 100, cursor: str | None = None
    ) -> AlarmsPage:
        """See ``port.WebStore``."""
        query = select(alarms) if device is None else select(alarms).where(alarms.c.device == device)
        if over is not None:
            query = query.where(alarms.c.over_us.is_not(None) if over else alarms.c.over_us.is_(None))
        query = query if cursor is None else query.where(alarms.c.id < page_cursors.decode(_MARK, cursor))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(alarms.c.id.desc()).limit(limit + 1)).all()
        found = [Alarm(*row) for row in rows[:limit]]
        return AlarmsPage(found, page_cursors.encode(_MARK, found[-1].alarm_id) if len(rows) > limit else None)


def standing(connection: Connection, devices: Collection[str]) -> Mapping[str, tuple[Alarm, ...]]:
    """The alarms of these devices that are not over, oldest first; a device without any is left out."""
    query = select(alarms).where(alarms.c.over_us.is_(None), alarms.c.device.in_(devices)).order_by(alarms.c.id)
    found: dict[str, tuple[Alarm, ...]] = {}
    for row in connection.execute(query):
        found[row.device] = (*found.get(row.device, ()), Alarm(*row))
    return found


def sync(
    connection: Connection, device: str, found: Iterable[Finding], judged: Collection[Kind], now_us: int, *, actor: str = ACTOR
) -> None:
    """Raises what is found and not raised yet, and ends what is raised, of the kinds ``judged``, and not found any more."""
    wanted = {(item.kind, item.subject): item for item in found}
    known = {(alarm.kind, alarm.subject): alarm for alarm in standing(connection, [device]).get(device, ())}
    for key, item in wanted.items():
        if key not in known:
            _raise(connection, device, item, now_us, actor)
    over = [alarm for key, alarm in known.items() if alarm.kind in judged and key not in wanted]
    _end(connection, over, now_us, actor)


def _raise(connection: Connection, device: str, item: Finding, now_us: int, actor: str) -> None:
    severity = SEVERITIES[item.kind]
    values = {
        "device": device, "kind": item.kind.value, "subject": item.subject, "severity": severity, "text": item.text,
        "raised_us": now_us,
    }  # fmt: skip
    connection.execute(insert(alarms).values(values))
    detail: dict[str, Any] = {"alarm": item.kind.value, "severity": severity, "text": item.text}
    trail.append(connection, "alarm.raised", device=device, actor=actor, subject=item.subject, now_us=now_us, detail=detail)


def _end(connection: Connection, over: Sequence[Alarm], now_us: int, actor: str) -> None:
    for alarm in over:
        connection.execute(update(alarms).where(alarms.c.id == alarm.alarm_id).values(over_us=now_us))
        detail = {"alarm": alarm.kind, "raised_us": alarm.raised_us}
        trail.append(
            connection, "alarm.over", device=alarm.device, actor=actor, subject=alarm.subject, now_us=now_us, detail=detail
        )
