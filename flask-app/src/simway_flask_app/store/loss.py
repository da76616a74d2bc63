"""The loss ledger, read: of one device with its epochs and ranges, and of the fleet by counts alone (design, section 7).

Everything of one answer comes from one snapshot: a recorder that commits in between would unbalance it. Sums of counts that a
device chooses (it may number its readings up to 2^53) are made in halves, since SQLite's sums end at 2^63.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from simway_protocol.identity import partition_of
from sqlalchemy import Column, ColumnElement, Connection, Select, bindparam, case, distinct, func, literal_column, select

from simway_flask_app.store import accounts
from simway_flask_app.store.bookkeeping import Balance, DeviceLoss, EpochLoss, FleetLoss, LogGap, LossLedger, Only
from simway_flask_app.store.engine import Database
from simway_flask_app.store.schema import epochs, log_gaps, rejections

UPLINK = "uplink"
GAPS_MAX = 100
"""Gaps of the log in one answer, the newest."""
_C = epochs.c
_SMALL = (_C.stored, _C.duplicate, _C.conflict, _C.rejected, _C.redelivered)
_LARGE = (_C.highest, _C.missing_count, _C.dropped_count)
_HALF_BITS = 32
UNBALANCED = _C.highest != _C.stored + _C.duplicate + _C.conflict + _C.rejected + _C.missing_count + _C.dropped_count
_COUNTS = ("stored", "duplicate", "conflict", "redelivered")


def _sums_of_all() -> list[Any]:
    sums = [func.sum(column).label(column.name) for column in _SMALL]
    return sums + [part.label(f"{column.name}_{half}") for column in _LARGE for half, part in _halves(column)]


def _by_device() -> Select[Any]:
    """One row a device: its sums, how many epochs it has, and whether one is unbalanced."""
    columns: list[Any] = [_C.device, func.count().label("epochs"), _any(UNBALANCED).label("unbalanced"), *_sums_of_all()]
    return select(*columns).group_by(_C.device)


def _totals() -> Select[Any]:
    """One walk over the counts, and one over the names of devices, which the key has in order."""
    names = select(_C.device).distinct().subquery()
    devices = select(func.count()).select_from(names).scalar_subquery().label("devices")
    wrong = [
        func.count(distinct(_C.device)).filter(condition).label(name)
        for name, condition in (("unbalanced", UNBALANCED), ("incomplete", _C.missing_count > 0))
    ]
    columns: list[Any] = [devices, *wrong, *_sums_of_all()]
    return select(*columns)


def _pages() -> dict[Only | None, Select[Any]]:
    page = _by_device().where(_C.device > bindparam("after")).order_by(_C.device).limit(bindparam("limit"))
    return {
        None: page, "unbalanced": page.having(_any(UNBALANCED) == 1), "missing": page.having(_any(_C.missing_count > 0) == 1),
    }  # fmt: skip


def _any(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(case((condition, 1), else_=0))


def _halves(column: Column[int]) -> Iterable[tuple[str, ColumnElement[int]]]:
    yield "high", func.sum(column.bitwise_rshift(literal_column("32")))
    yield "low", func.sum(column.bitwise_and((1 << _HALF_BITS) - 1))


_TOTALS, _PAGES = _totals(), _pages()
"""Made once: SQLAlchemy takes longer to put them together than SQLite takes to answer them for some hundred devices."""


class Loss:
    """The part of the store that answers what became of readings."""

    _database: Database

    def loss_ledger(self, device: str) -> LossLedger:
        """See ``bookkeeping.Bookkeeping``."""
        query = select(epochs).where(_C.device == device).order_by(_C.first_us, _C.epoch)
        with self._database.snapshot() as connection:
            rows = connection.execute(query).all()
            refused = _refused_by_epoch(connection, device)
            gaps = _gaps(connection, partition_of(device))
        found = [_epoch_loss(row, refused[row.epoch]) for row in rows]
        return LossLedger(device=device, epochs=found, log_gaps=gaps, **_added(found))

    def fleet_loss(self, *, limit: int = 100, after: str = "", only: Only | None = None) -> FleetLoss:
        """See ``bookkeeping.Bookkeeping``."""
        with self._database.snapshot() as connection:
            totals, counts = fleet_totals(connection)
            rows = connection.execute(_PAGES[only], {"after": after, "limit": limit + 1}).all()
            refused = _refused_by_device(connection, [row.device for row in rows[:limit]])
            gaps = _gaps(connection)
        page = [
            DeviceLoss(device=row.device, epochs=row.epochs, all_balanced=not row.unbalanced,
                       **_sums(row._mapping, refused[row.device]))
            for row in rows[:limit]
        ]  # fmt: skip
        return FleetLoss(totals, counts["devices"], counts["unbalanced"], counts["incomplete"], page, len(rows) > limit, gaps)


def fleet_totals(connection: Connection) -> tuple[Balance, dict[str, int]]:
    """The balance of all devices; how many ``devices`` there are, are ``unbalanced`` and ``incomplete``. Within one snapshot."""
    row = connection.execute(_TOTALS).one()._mapping
    counts = {name: int(row[name] or 0) for name in ("devices", "unbalanced", "incomplete")}
    return Balance(**_sums(row, _refused(connection))), counts


def _sums(row: Mapping[Any, Any], refused: Mapping[str, int]) -> dict[str, Any]:
    """The fields of a ``Balance`` from a row of ``_by_device``, or of their sum."""
    large = {
        column.name: (int(row[f"{column.name}_high"] or 0) << _HALF_BITS) + int(row[f"{column.name}_low"] or 0)
        for column in _LARGE
    }
    small = {name: int(row[name] or 0) for name in _COUNTS}
    fields = {"sent": large["highest"], "missing": large["missing_count"], "dropped": large["dropped_count"]}
    return small | fields | {"rejected": dict(refused)}


def _epoch_loss(row: Any, refused: Mapping[str, int]) -> EpochLoss:
    account = accounts.account_of(row)
    sequence = account.sequence
    return EpochLoss(
        epoch=row.epoch, first_us=row.first_us, floor=sequence.floor, sent=sequence.highest, stored=account.stored,
        duplicate=account.duplicate, conflict=account.conflict, rejected=dict(refused), dropped=sequence.dropped_count,
        missing=sequence.missing_count, redelivered=account.redelivered, missing_ranges=sequence.missing,
        dropped_ranges=sequence.dropped,
    )  # fmt: skip


def _added(found: list[EpochLoss]) -> dict[str, Any]:
    rejected: defaultdict[str, int] = defaultdict(int)
    for one in found:
        for reason, total in one.rejected.items():
            rejected[reason] += total
    names = ("sent", "dropped", "missing", *_COUNTS)
    return {name: sum(getattr(one, name) for one in found) for name in names} | {"rejected": dict(sorted(rejected.items()))}


def _refused_by_epoch(connection: Connection, device: str) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    columns = rejections.c
    query = select(columns.epoch, columns.reason, columns.count).where(columns.device == device).order_by(columns.reason)
    for epoch, reason, total in connection.execute(query):
        found[epoch][reason] = total
    return found


def _refused_by_device(connection: Connection, devices: list[str]) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    columns = rejections.c
    query = select(columns.device, columns.reason, func.sum(columns.count)).where(columns.device.in_(devices))
    for device, reason, total in connection.execute(query.group_by(columns.device, columns.reason).order_by(columns.reason)):
        found[device][reason] = int(total)
    return found


def _refused(connection: Connection) -> dict[str, int]:
    columns = rejections.c
    query = select(columns.reason, func.sum(columns.count)).group_by(columns.reason).order_by(columns.reason)
    return {reason: int(total) for reason, total in connection.execute(query)}


def _gaps(connection: Connection, partition: int | None = None) -> list[LogGap]:
    columns = log_gaps.c
    query = select(columns.topic, columns.partition, columns.first_offset, columns.last_offset, columns.t_us)
    query = query.where(columns.topic == UPLINK).order_by(columns.id.desc()).limit(GAPS_MAX)
    if partition is not None:
        query = query.where(columns.partition == partition)
    return [LogGap(*row) for row in connection.execute(query)]
