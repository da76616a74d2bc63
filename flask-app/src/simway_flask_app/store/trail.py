"""The audit trail in the store: appended to within the transaction of the decision, read by pages, verified as a whole.

Writers take turns: on SQLite by the write lock, on PostgreSQL by the row of ``audit_head``. Whoever is to decide takes that
lock first (``SqlStore.deciding``), before any row of a device or command, so that two decisions never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from simway_flask_app import trail
from simway_flask_app.store import page_cursors
from simway_flask_app.store.engine import Database
from simway_flask_app.store.oversight import AuditPage, AuditRow, AuditVerdict, SignedHead
from simway_flask_app.store.schema import audit_anchors, audit_head, audit_trail
from simway_flask_app.trail import Broken, Entry, Head, Link, Signer

_PAGE = 5_000
_SIGNATURES_CHECKED = 1_000
"""The newest: what an older one says, the chain says as well."""
_HEAD_ID = 1
_MARK = "a"
CHANNEL = "simway_decided"
"""Of PostgreSQL's NOTIFY: told when a transaction of ``deciding`` is committed (``news``). It costs no round trip of its own."""
_LOCK = select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == _HEAD_ID).with_for_update()
_LOCK_AND_TELL = _LOCK.add_columns(func.pg_notify(CHANNEL, ""))
_INSERT = insert(audit_trail)
_ADVANCE = (
    update(audit_head)
    .where(audit_head.c.id == _HEAD_ID, audit_head.c.seq == bindparam("old_seq"), audit_head.c.hash == bindparam("old_hash"))
    .values(seq=bindparam("new_seq"), hash=bindparam("new_hash"))
)
_KNOWN = "simway_trail_head"
"""The execution option of a connection that holds the head as it last saw it: whoever has the turn need not ask again."""


class New(NamedTuple):
    """An entry to be: what was decided, of which device, by whom, about what."""

    kind: str
    device: str
    actor: str
    subject: str
    detail: Mapping[str, Any]


class AuditTrail:
    """The part of the store that knows the audit trail."""

    _database: Database

    def audit(
        self, *, device: str | None = None, kind: str | None = None, from_us: int | None = None, to_us: int | None = None,
        limit: int = 100, cursor: str | None = None,
    ) -> AuditPage:  # fmt: skip
        """See ``port.WebStore``."""
        table = audit_trail.c
        query = select(audit_trail)
        for column, wanted in ((table.device, device), (table.kind, kind)):
            query = query if wanted is None else query.where(column == wanted)
        query = query if from_us is None else query.where(table.t_us >= from_us)
        query = query if to_us is None else query.where(table.t_us < to_us)
        query = query if cursor is None else query.where(table.seq < page_cursors.decode(_MARK, cursor))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.seq.desc()).limit(limit + 1)).all()
        found = [AuditRow(Entry(*row[:-1]), row.hash) for row in rows[:limit]]
        return AuditPage(found, page_cursors.encode(_MARK, found[-1].entry.seq) if len(rows) > limit else None)

    def verify_audit(self, signer: Signer, noted: Sequence[Head] = ()) -> AuditVerdict:
        """See ``port.WebStore``."""
        with self._database.read() as connection:
            return verify(connection, signer, noted)


@contextmanager
def deciding(database: Database, *, tell: bool = True) -> Iterator[Connection]:
    """A writing transaction that has its turn from the start. ``tell``: its commit is news to the dispatcher."""
    with database.write() as connection:
        lock(connection, tell=tell and not database.is_sqlite)
        yield connection


def lock(connection: Connection, *, tell: bool = False) -> Head:
    """Takes the turn to write until the transaction ends; the head. ``tell``: with PostgreSQL's NOTIFY."""
    locking = _LOCK_AND_TELL if tell else _LOCK
    row = connection.execute(locking).one()
    head = Head(row.seq, row.hash)
    connection.execution_options(**{_KNOWN: head})
    return head


def append(
    connection: Connection, kind: str, *, device: str, actor: str, now_us: int, subject: str = "",
    detail: Mapping[str, Any] | None = None,
) -> int:  # fmt: skip
    """Adds an entry; gives its number. It stands once the transaction of ``connection`` is committed."""
    return append_all(connection, [New(kind, device, actor, subject, detail or {})], now_us)


def append_all(connection: Connection, wanted: Sequence[New], now_us: int) -> int:
    """Adds entries, at least one, in their order, by as many statements as one takes; gives the number of the last."""
    head = connection.get_execution_options().get(_KNOWN) or lock(connection)
    while True:
        links = _linked(head, wanted, now_us)
        last = Head(links[-1].entry.seq, links[-1].hash)
        move = {"old_seq": head.seq, "old_hash": head.hash, "new_seq": last.seq, "new_hash": last.hash}
        if connection.execute(_ADVANCE, move).rowcount == 1:
            break
        head = lock(connection)  # what was known was undone with a savepoint, or is of a transaction before
    connection.execute(_INSERT, [link.entry._asdict() | {"hash": link.hash} for link in links])
    connection.execution_options(**{_KNOWN: last})
    return last.seq


def _linked(head: Head, wanted: Sequence[New], now_us: int) -> list[Link]:
    links: list[Link] = []
    for new in wanted:
        entry = Entry(head.seq + 1, now_us, new.kind, new.device, new.actor, new.subject, trail.detail_text(new.detail))
        head = Head(entry.seq, trail.chain(head.hash, entry))
        links.append(Link(entry, head.hash))
    return links


def head_now(connection: Connection) -> Head:
    """The head, without taking a turn."""
    return Head(*connection.execute(select(audit_head.c.seq, audit_head.c.hash)).one())


def stands(connection: Connection, noted: Head) -> bool:
    """True when the trail has the entry that a head noted earlier names."""
    found = connection.execute(select(audit_trail.c.hash).where(audit_trail.c.seq == noted.seq)).scalar()
    return noted == trail.EMPTY or found == noted.hash


def anchored(connection: Connection) -> SignedHead | None:
    """The newest signed head."""
    row = connection.execute(select(audit_anchors).order_by(audit_anchors.c.seq.desc()).limit(1)).first()
    return None if row is None else SignedHead(Head(row.seq, row.hash), row.signature, row.t_us)


def note_anchor(connection: Connection, head: Head, signature: str, t_us: int) -> None:
    """Keeps a signed head, unless it is known."""
    known = connection.execute(select(audit_anchors.c.seq).where(audit_anchors.c.seq == head.seq)).first()
    if known is None:
        connection.execute(insert(audit_anchors).values(seq=head.seq, hash=head.hash, signature=signature, t_us=t_us))


def verify(connection: Connection, signer: Signer, noted: Sequence[Head]) -> AuditVerdict:
    """Follows the whole chain, and holds it against its head, every signed head, and those that somebody noted."""
    head = head_now(connection)
    reached, broken = _walk(connection, head)
    newest = anchored(connection)
    if broken is None:
        broken = _check_head(connection, head, reached) or _check_signed(connection, signer) or _check_noted(connection, noted)
    return AuditVerdict(reached, broken, newest, signer.public_key)


def _walk(connection: Connection, head: Head) -> tuple[Head, Broken | None]:
    reached = trail.EMPTY
    for page in _pages(connection, head.seq):
        reached, broken = trail.follow(page, reached)
        if broken is not None:
            return reached, broken
    return reached, None


def _pages(connection: Connection, count: int) -> Iterator[list[Link]]:
    after = -1  # numbers begin at 1: whatever stands below does not belong there
    while True:
        query = select(audit_trail).where(audit_trail.c.seq > after, audit_trail.c.seq <= count)
        page = [Link(Entry(*row[:-1]), row.hash) for row in connection.execute(query.order_by(audit_trail.c.seq).limit(_PAGE))]
        yield page
        if len(page) < _PAGE:
            return
        after = page[-1].entry.seq


def _check_head(connection: Connection, head: Head, reached: Head) -> Broken | None:
    if reached.seq < head.seq:
        return Broken(reached.seq + 1, "missing", f"the trail ends after entry {reached.seq}; its head is of {head.seq}")
    if reached != head:
        return Broken(head.seq, "head", f"the head is not that of entry {head.seq}")
    last = int(connection.execute(select(func.max(audit_trail.c.seq))).scalar() or 0)
    now = head_now(connection)
    if last > now.seq:
        return Broken(now.seq + 1, "head", f"entries up to {last} stand after the head, which is of {now.seq}")
    return None


def _check_signed(connection: Connection, signer: Signer) -> Broken | None:
    joined = audit_anchors.outerjoin(audit_trail, audit_anchors.c.seq == audit_trail.c.seq)
    lost = audit_trail.c.hash.is_distinct_from(audit_anchors.c.hash)
    query = select(audit_anchors.c.seq).select_from(joined).where(lost).order_by(audit_anchors.c.seq).limit(1)
    first = connection.execute(query).scalar()
    if first is not None:
        return Broken(first, "anchor", f"entry {first} is not the one whose hash was signed")
    newest = select(audit_anchors).order_by(audit_anchors.c.seq.desc()).limit(_SIGNATURES_CHECKED)
    for row in reversed(connection.execute(newest).all()):
        if not signer.verify(Head(row.seq, row.hash), row.signature):
            return Broken(row.seq, "signature", f"the signed head of entry {row.seq} is not signed by this platform's key")
    return None


def _check_noted(connection: Connection, noted: Sequence[Head]) -> Broken | None:
    for head in noted:
        if not stands(connection, head):
            return Broken(head.seq, "anchor", f"entry {head.seq} does not have the hash that was noted")
    return None
