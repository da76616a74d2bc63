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


class Noted:
    """The newest head that was signed, kept where the database's owner cannot change it: in memory, filled from the log.

    ``head`` is None until somebody has looked into the log. The dispatcher's thread writes it, and that of ``Anchors``.
    """

    def __init__(self, head: Head | None = None) -> None:
        self.head = head

    def see(self, head: Head) -> None:
        """A signed head was read, or there is none so far (``EMPTY``)."""
        if self.head is None or head.seq > self.head.seq:
            self.head = head


class Anchors:
    """``anchor`` is called now and then; it blocks on the database. It signs only what still has all that was signed before."""

    def __init__(self, store: SqlStore, signer: Signer, noted: Noted, *, now_us: Callable[[], int]) -> None:
        self._store, self._signer, self._noted, self._now_us = store, signer, noted, now_us

    def anchor(self) -> bool:
        """Signs and publishes the head, when it moved; True when it did. Raises ``StoreError``.

        Not before the log was looked into; and not while the trail lacks what was signed last: that raises the alarm.
        """
        now_us, noted = self._now_us(), self._noted.head
        if noted is None:
            return False
        with self._store.reading() as connection:
            if not self._is_wanted(connection, noted, now_us):
                return False
        with self._store.deciding() as connection:
            forgotten = _end_alarms(connection, now_us)
            if subject_of(noted) not in forgotten and not trail.stands(connection, noted):
                raise_alarm(connection, noted, now_us)
                return False
            head = trail.head_now(connection)
            signature = self._signer.sign(head)
            trail.note_anchor(connection, head, signature, now_us)
            outbox.enqueue(connection, "device-events", AuditAnchor("", head.seq, head.hash, signature, now_us), now_us)
        self._noted.head = head
        return True

    def _is_wanted(self, connection: Connection, noted: Head, now_us: int) -> bool:
        if not trail.stands(connection, noted):
            return True
        head, last = trail.head_now(connection), trail.anchored(connection)
        if head == EMPTY:
            return False
        return last is None or last.head != head or now_us - last.t_us > REPEAT_US


def raise_alarm(connection: Connection, head: Head, now_us: int) -> None:
    """The trail lacks ``head``, which was signed."""
    text = (
        f"Entry {head.seq} of the audit trail was signed and anchored in the log, and is missing or another one now: the "
        "store was restored from an older copy, or the trail was tampered with. GET /api/v1/audit/verify may say where; POST "
        "there with a head that you noted says whether the trail still has it."
    )
    alarms.sync(connection, "", [Finding(Kind.AUDIT_TRAIL, subject_of(head), text)], (), now_us)


def subject_of(head: Head) -> str:
    """How an alarm names the head that the trail lacks."""
    return f"{head.seq} {head.hash}"


def _end_alarms(connection: Connection, now_us: int) -> set[str]:
    """An alarm of the trail is over when what was anchored stands again, or when the log has forgotten it: those are given."""
    standing = [alarm for alarm in alarms.standing(connection, [""]).get("", ()) if alarm.kind == Kind.AUDIT_TRAIL]
    still, forgotten = [], set()
    for alarm in standing:
        seq, _, digest = alarm.subject.partition(" ")
        if now_us - alarm.raised_us >= KEPT_US:
            forgotten.add(alarm.subject)
        elif not trail.stands(connection, Head(int(seq), digest)):
            still.append(Finding(Kind.AUDIT_TRAIL, alarm.subject, alarm.text))
    alarms.sync(connection, "", still, (Kind.AUDIT_TRAIL,), now_us)
    return forgotten
