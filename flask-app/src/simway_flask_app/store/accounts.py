"""The loss ledger's accounts: one for each epoch of a device, in readings (design, section 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from simway_protocol.messages import Range
from sqlalchemy import Connection, select, tuple_

from simway_flask_app.store.ranges import Sequence
from simway_flask_app.store.schema import epochs

AccountKey: TypeAlias = tuple[str, str]
"""Device and epoch; the epoch is empty where the sender numbers nothing."""

_ranges = msgspec.json.Decoder(list[Range])
_QUERY_MAX = 400


@dataclass(slots=True)
class Account:
    """What became of the readings of one epoch. ``rejected``: for whatever reason; ``rejections`` counts them by reason."""

    first_us: int
    sequence: Sequence = field(default_factory=Sequence)
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    redelivered: int = 0
    rejected: int = 0

    def row(self, key: AccountKey) -> tuple[Any, ...]:
        """As a row of ``epochs``."""
        sequence = self.sequence
        missing = sequence.missing_count if sequence.missing else sequence.missing_below
        dropped = sequence.dropped_count if sequence.dropped else sequence.dropped_below
        return (
            *key, self.first_us, sequence.highest, sequence.floor, sequence.missing_below, _text(sequence.missing),
            _text(sequence.dropped), self.stored, self.duplicate, self.conflict, self.redelivered, self.rejected,
            missing, dropped, sequence.dropped_below,
        )  # fmt: skip


def load(connection: Connection, keys: Collection[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts that exist of ``keys``."""
    found: dict[AccountKey, Account] = {}
    wanted = sorted(keys)
    for begin in range(0, len(wanted), _QUERY_MAX):
        chosen = tuple_(epochs.c.device, epochs.c.epoch).in_(wanted[begin : begin + _QUERY_MAX])
        found |= {(row[0], row[1]): account_of(row) for row in connection.execute(select(epochs).where(chosen))}
    return found


def account_of(row: Any) -> Account:
    """The account that a row of ``epochs`` holds."""
    missing, dropped = _ranges.decode(row.missing), _ranges.decode(row.dropped)
    sequence = Sequence(row.highest, row.floor, row.missing_below, missing, dropped, row.dropped_below)
    return Account(row.first_us, sequence, row.stored, row.duplicate, row.conflict, row.redelivered, row.rejected)


def _text(ranges: Iterable[Range]) -> str:
    return msgspec.json.encode(ranges).decode() if ranges else "[]"
