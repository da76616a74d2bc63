"""The loss ledger's accounts: one for each epoch of a device, in readings (design, section 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from simway_protocol.messages import Range
from sqlalchemy import Connection, func, select, tuple_

from simway_flask_app.store.port import LossLedger
from simway_flask_app.store.ranges import Sequence, count
from simway_flask_app.store.schema import epochs, rejections

AccountKey: TypeAlias = tuple[str, str]
"""Device and epoch; the epoch is empty where the sender numbers nothing."""

_ranges = msgspec.json.Decoder(list[Range])
_QUERY_MAX = 400


@dataclass(slots=True)
class Account:
    """What became of the readings of one epoch; rejections are counted beside it, by reason."""

    first_us: int
    sequence: Sequence = field(default_factory=Sequence)
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    redelivered: int = 0

    def row(self, key: AccountKey) -> tuple[Any, ...]:
        """As a row of ``epochs``."""
        sequence = self.sequence
        return (
            *key, self.first_us, sequence.highest, sequence.floor, sequence.missing_below, _text(sequence.missing),
            _text(sequence.dropped), self.stored, self.duplicate, self.conflict, self.redelivered,
        )  # fmt: skip


def load(connection: Connection, keys: Collection[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts that exist of ``keys``."""
    found: dict[AccountKey, Account] = {}
    wanted = sorted(keys)
    for begin in range(0, len(wanted), _QUERY_MAX):
        chosen = tuple_(epochs.c.device, epochs.c.epoch).in_(wanted[begin : begin + _QUERY_MAX])
        found |= {(row[0], row[1]): _account(row) for row in connection.execute(select(epochs).where(chosen))}
    return found


def balance(connection: Connection, device: str) -> LossLedger:
    """The sum over all epochs of a device."""
    rows = connection.execute(select(epochs).where(epochs.c.device == device).order_by(epochs.c.first_us, epochs.c.epoch)).all()
    accounts = {str(row[1]): _account(row) for row in rows}
    refused = connection.execute(
        select(rejections.c.reason, func.sum(rejections.c.count))
        .where(rejections.c.device == device)
        .group_by(rejections.c.reason)
        .order_by(rejections.c.reason)
    )
    every = accounts.values()
    return LossLedger(
        device=device,
        sent=sum(account.sequence.highest for account in every),
        stored=sum(account.stored for account in every),
        duplicate=sum(account.duplicate for account in every),
        conflict=sum(account.conflict for account in every),
        rejected={reason: int(total) for reason, total in refused},
        dropped=sum(count(account.sequence.dropped) for account in every),
        missing=sum(account.sequence.missing_count for account in every),
        redelivered=sum(account.redelivered for account in every),
        missing_ranges={epoch: tuple(gaps) for epoch, account in accounts.items() if (gaps := account.sequence.missing)},
    )


def _account(row: Any) -> Account:
    sequence = Sequence(row.highest, row.floor, row.missing_below, _ranges.decode(row.missing), _ranges.decode(row.dropped))
    return Account(row.first_us, sequence, row.stored, row.duplicate, row.conflict, row.redelivered)


def _text(ranges: Iterable[Range]) -> str:
    return msgspec.json.encode(ranges).decode() if ranges else "[]"
