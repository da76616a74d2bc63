"""The transactional outbox: what is to reach the log is a row of the store first, in the transaction that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs
from simway_protocol.messages import AuditAnchor, DeadLetter, Downlink, RegistryEntry, Uplink, UplinkBatch, encode
from sqlalchemy import Connection, Integer, bindparam, delete, insert, select

from simway_flask_app.store.schema import dead_letters, outbox

_INSERT = insert(outbox)
_WAITING = (
    select(outbox.c.id, outbox.c.topic, outbox.c.key, outbox.c.value)
    .order_by(outbox.c.id)
    .limit(bindparam("limit", type_=Integer))
)
_REMOVE = delete(outbox).where(outbox.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One record that waits for the log. ``id`` grows in the order of writing."""

    id: int
    topic: str
    key: str
    value: bytes


def enqueue(connection: Connection, topic: str, message: Downlink | RegistryEntry | AuditAnchor, now_us: int) -> None:
    """Puts a message into the outbox, keyed by its device."""
    _enqueue(connection, topic, message.device, encode(message), now_us)


def enqueue_uplinks(connection: Connection, uplinks: Sequence[Uplink], now_us: int) -> None:
    """Puts uplinks into the outbox, keyed by their devices, which say what partition of ``uplink`` they go to."""
    for uplink in uplinks:
        _enqueue(connection, "uplink", uplink.device, encode(UplinkBatch([uplink])), now_us)


def _enqueue(connection: Connection, topic: str, key: str, value: bytes, now_us: int) -> None:
    connection.execute(_INSERT, {"topic": topic, "key": key, "value": value, "created_us": now_us})


def bury(connection: Connection, letters: Sequence[DeadLetter], now_us: int) -> None:
    """Keeps dead letters in the store, and queues them for their topic."""
    if not letters:
        return
    encoded = [(letter, encode(structs.replace(letter, kept=True))) for letter in letters]
    connection.execute(
        insert(dead_letters),
        [
            {"t_us": letter.t_us, "source": letter.source, "reason": letter.reason, "device": letter.device, "letter": data}
            for letter, data in encoded
        ],
    )
    connection.execute(
        insert(outbox),
        [{"topic": "dead-letter", "key": letter.device, "value": data, "created_us": now_us} for letter, data in encoded],
    )


def waiting(connection: Connection, limit: int) -> list[OutboxRow]:
    """The oldest rows."""
    return [OutboxRow(*row) for row in connection.execute(_WAITING, {"limit": limit})]


def remove(connection: Connection, ids: Sequence[int]) -> None:
    """Forgets rows that the log has."""
    if ids:
        connection.execute(_REMOVE, {"ids": list(ids)})
