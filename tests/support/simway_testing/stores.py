"""What the tests of the store share: uplinks made and handed over as the recorder does, and looks at what came of them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from simway_flask_app.store import outbox
from simway_flask_app.store.port import NewCommand
from simway_flask_app.store.positions import Follower
from simway_flask_app.store.schema import dead_letters
from simway_flask_app.store.sql import SqlStore
from simway_flask_app.store.uplinks import Outcome, UplinkWriter
from simway_protocol.messages import DeadLetter, Uplink, decode
from simway_protocol.readings import Reading
from sqlalchemy import select

T0_US = 1_795_312_800_000_000
EPOCH = "9f3c5a7e01b2d4c6"
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
ON_POSTGRES = pytest.mark.parametrize("url", [pytest.param("postgres", marks=pytest.mark.real)], indirect=True)
"""For what only one of the two databases has."""


class UplinkLog:
    """Hands uplinks to a writer as the recorder does, from a log of its own."""

    def __init__(self, store: SqlStore) -> None:
        self.writer: UplinkWriter = store.uplink_writer()
        self.follower = Follower("recorder", uuid.uuid4().hex, "uplink")
        self.next = 0

    def store(self, *uplinks: Uplink, now_us: int = T0_US, **more: Any) -> Outcome:
        outcome = self.writer.store(uplinks, self.follower, {0: (self.next, self.next + 1)}, now_us=now_us, **more)
        self.next += 1
        return outcome


def uplink(device: str, first_seq: int | None, *readings: tuple[Any, ...], epoch: str | None = EPOCH, **more: Any) -> Uplink:
    return Uplink(
        device, "udp", T0_US, epoch if first_seq is not None else None, first_seq, [Reading(*r) for r in readings], **more
    )


def letters_of(store: SqlStore, device: str) -> list[DeadLetter]:
    with store.reading() as connection:
        rows = connection.execute(
            select(dead_letters.c.letter).where(dead_letters.c.device == device).order_by(dead_letters.c.id)
        )
        return [decode("dead-letter", bytes(row.letter)) for row in rows]


def outbox_of(store: SqlStore, key: str) -> list[tuple[str, Any]]:
    with store.reading() as connection:
        rows = outbox.waiting(connection, 100_000)
    return [(row.topic, decode(row.topic, row.value)) for row in rows if row.key == key]


def new_command(device: str, kind: str = "ping", **more: Any) -> NewCommand:
    given = {"expires_us": T0_US + 60_000_000, "deadline_s": 30, "actor": "api"} | more
    return NewCommand(command_id=uuid.uuid4().hex, device=device, kind=kind, **given)
