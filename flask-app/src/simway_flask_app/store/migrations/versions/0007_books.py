"""Counts of the loss ledger as columns, what became of dead letters, and views of both and of rollups for charts."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COUNTS = {
    "rejected": "the sum of rejections of this epoch",
    "missing_count": "how many never came: missing_below and what missing holds",
    "dropped_count": "how many the device gave up: dropped_below and what dropped holds",
    "dropped_below": "how many up to the floor the device gave up",
}
_TIME = "to_timestamp({} / 1000000.0)"

_ROLLUP = f"""
    SELECT {_TIME.format("r.bucket_us")} AS "time", r.bucket_us, s.device, s.sensor, r.sum / r.count AS value, r.count, r.min,
        r.max, r.first, r.last, l.unit, l.scale
    FROM {{}} r JOIN series s USING (series_id) LEFT JOIN latest_view l ON l.device = s.device AND l.sensor = s.sensor"""
VIEWS = {
    "ledger_view": f"""
        SELECT device, epoch, {_TIME.format("first_us")} AS first, highest AS sent, stored, duplicate, conflict, rejected,
            dropped_count AS dropped, missing_count AS missing, redelivered,
            highest = stored + duplicate + conflict + rejected + dropped_count + missing_count AS balanced
        FROM epochs""",
    "rejections_view": "SELECT device, epoch, reason, count FROM rejections",
    "dead_letters_view": f"""
        SELECT {_TIME.format("t_us")} AS "time", t_us, id, source, reason, device, {_TIME.format("replayed_us")} AS replayed
        FROM dead_letters""",
    "log_positions_view": "SELECT consumer, topic, partition, next_offset FROM log_positions",
    "log_gaps_view": f"""
        SELECT {_TIME.format("t_us")} AS "time", t_us, consumer, topic, partition, first_offset, last_offset FROM log_gaps""",
    "writers_view": f"""
        SELECT r.topic, r.partition, r.number, r.writer, w.host, w.pid, {_TIME.format("r.granted_us")} AS granted,
            {_TIME.format("r.expires_us")} AS expires, {_TIME.format("w.seen_us")} AS seen
        FROM write_rights r LEFT JOIN writers w USING (writer)""",
    "tiers_view": "SELECT tier, keep_s FROM tiers",
    "alarms_view": f"""
        SELECT {_TIME.format("raised_us")} AS "time", raised_us, device, kind, subject, severity, text,
            {_TIME.format("over_us")} AS over
        FROM alarms""",
    "outbox_view": f"""SELECT {_TIME.format("created_us")} AS "time", id, topic FROM outbox""",
    **{f"{name}_view": _ROLLUP.format(name) for name in ("rollup_minute", "rollup_hour", "rollup_day")},
}


def upgrade() -> None:
    """Forward."""
    for name, comment in _COUNTS.items():
        op.add_column("epochs", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0", comment=comment))
    _count(op.get_bind())
    op.add_column("dead_letters", sa.Column("replayed_us", sa.BigInteger(), comment="when it was put into the log anew"))
    op.add_column("dead_letters", sa.Column("replayed_by", sa.Text(), comment="by whom"))
    op.create_index("dead_letters_reason", "dead_letters", ["reason", "id"])
    op.create_index("dead_letters_time", "dead_letters", ["t_us"])
    if op.get_bind().dialect.name == "postgresql":
        for name, query in VIEWS.items():
            op.execute(f"CREATE VIEW {name} AS {query}")


def _count(bind: sa.Connection) -> None:
    """What the ranges hold, counted."""
    bind.execute(
        sa.text(
            "UPDATE epochs SET rejected = coalesce((SELECT sum(r.count) FROM rejections r "
            "WHERE r.device = epochs.device AND r.epoch = epochs.epoch), 0)"
        )
    )
    rows = bind.execute(
        sa.text(
            "SELECT device, epoch, missing_below, dropped_below, missing, dropped FROM epochs "
            "WHERE missing_below <> 0 OR missing <> '[]' OR dropped <> '[]'"
        )
    ).all()
    update = sa.text(
        "UPDATE epochs SET missing_count = :missing, dropped_count = :dropped WHERE device = :device AND epoch = :epoch"
    )
    for row in rows:
        counts = {"missing": row.missing_below + _length(row.missing), "dropped": row.dropped_below + _length(row.dropped)}
        bind.execute(update, counts | {"device": row.device, "epoch": row.epoch})


def _length(ranges: Any) -> int:
    return sum(last - first + 1 for first, last in json.loads(ranges))
