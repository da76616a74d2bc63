"""Anchors: from time to time the head of the audit trail is signed and published in ``device-events``.

The log is another store, with other owners: who trims or rewrites the trail, or restores an older copy, cannot take an anchor
back. ``DeviceEvents`` holds the trail against each one that it reads.
"""

from __future__ import annotations

from collections.abc import Callable

from simway_protocol.messages import AuditAnchor
from sqlalchemy import Connection

from simway_flask_app.store import alarms, outbox, trail
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.trail import EMPTY, Head, Signer
from simway_flask_app.twin import Finding, Kind

PERIOD_S = 60.0
REPEAT_US = 24 * 3600 * 1_000_000
"""An unchanged head is anchored again after so long: a new reader of the log finds one among its last events."""
KEPT_US = 30 * 24 * 3600 * 1_000_000
"""As long as ``device-events`` keeps the anchor that an alarm speaks of."""


class Anchors:
    """``anchor`` is called now and then; it blocks on the database."""

    def __init__(self, store: SqlStore, signer: Signer, *, now_us: Callable[[], int]) -> None:
        self._store, self._signer, self._now_us = store, signer, now_us

    def anchor(self) -> bool:
        """Signs and publishes the head, when it moved; True when it did. Raises ``StoreError``."""
        now_us = self._now_us()
        with self._store.reading() as connection:
            if not self._is_wanted(connection, now_us):
                return False
        with self._store.deciding() as connection:
            _end_alarms(connection, now_us)
            head = trail.head_now(connection)
            signature = self._signer.sign(head)
            trail.note_anchor(connection, head, signature, now_us)
            outbox.enqueue(connection, "device-events", AuditAnchor("", head.seq, head.hash, signature, now_us), now_us)
        return True

    def _is_wanted(self, connection: Connection, now_us: int) -> bool:
        head, last = trail.head_now(connection), trail.anchored(connection)
        if head == EMPTY:
            return False
        return last is None or last.head != head or now_us - last.t_us > REPEAT_US


def subject_of(head: Head) -> str:
    """How an alarm names the head that the trail lacks."""
    return f"{head.seq} {head.hash}"


def _end_alarms(connection: Connection, now_us: int) -> None:
    """An alarm of the trail is over when what was anchored stands again, or when the log has forgotten it."""
    standing = [alarm for alarm in alarms.standing(connection, [""]).get("", ()) if alarm.kind == Kind.AUDIT_TRAIL]
    still = []
    for alarm in standing:
        seq, _, digest = alarm.subject.partition(" ")
        if now_us - alarm.raised_us < KEPT_US and not trail.stands(connection, Head(int(seq), digest)):
            still.append(Finding(Kind.AUDIT_TRAIL, alarm.subject, alarm.text))
    alarms.sync(connection, "", still, (Kind.AUDIT_TRAIL,), now_us)
