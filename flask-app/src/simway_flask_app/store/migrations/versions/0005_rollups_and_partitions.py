"""Rollups with what was stored before them, retention per tier, and on PostgreSQL readings partitioned by day.

The table of before is not copied: it becomes the partition ``readings_before``, up to the end of tomorrow (UTC), the last time
that is admitted. Only what lies beyond moves into other partitions, row by row.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()
_NUMBER: sa.Double[float] = sa.Double()
_UPDATED_OFTEN = {"fillfactor": 60}
DAY_US = 86_400_000_000
ROLLUPS = (("rollup_minute", 60_000_000), ("rollup_hour", 3_600_000_000), ("rollup_day", DAY_US))
KEPT_S = {"minute": 90 * 86_400, "hour": 730 * 86_400, "day": 0}
DAYS_BACK, DAYS_AHEAD = 31, 7
"""Partitions that a table without rows begins with."""
_SUM_MAX = 1.7976931348623157e308


def upgrade() -> None:
    """Forward."""
    bind = op.get_bind()
    for name, _ in ROLLUPS:
        _make_rollup(name)
    _fill(bind)
    _make_tiers(bind)
    if bind.dialect.name == "postgresql":
        _partition(bind)


def _make_rollup(name: str) -> None:
    times = [sa.Column(f"{what}_us", _BIG, nullable=False) for what in ("min", "max", "first", "last")]
    values = [sa.Column(what, _NUMBER, nullable=False) for what in ("min", "max", "first", "last")]
    op.create_table(
        name,
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("bucket_us", _BIG, nullable=False, comment="start of the window, UTC"),
        sa.Column("count", _BIG, nullable=False),
        sa.Column("sum", _NUMBER, nullable=False),
        *(column for pair in zip(values, times, strict=True) for column in pair),
        sa.PrimaryKeyConstraint("series_id", "bucket_us", name=f"{name}_pkey"),
        sqlite_with_rowid=False,
        postgresql_with=_UPDATED_OFTEN,
    )


def _make_tiers(bind: sa.Connection) -> None:
    made = op.create_table(
        "tiers",
        sa.Column("tier", sa.Text(), primary_key=True, comment="raw, minute, hour or day"),
        sa.Column("keep_s", _BIG, nullable=False, comment="0: for ever"),
        sa.Column("updated_us", _BIG, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False, comment="settings: follows the recorder's settings until a person sets it"),
        sa.Column(
            "gone_before_us", _BIG, nullable=False, server_default=sa.text(str(-(2**63))),
            comment="what is older retention has taken, though it be kept for longer now",
        ),
    )  # fmt: skip
    bind.execute(made.insert(), [{"tier": t, "keep_s": s, "updated_us": 0, "actor": "settings"} for t, s in KEPT_S.items()])


def _fill(bind: sa.Connection) -> None:
    """Adds up what is there: minutes from readings, hours from minutes, days from hours."""
    raw = {"of": "readings", "at": "t_us", "n": "count(*)", "where": f"WHERE num IS NOT NULL AND t_us >= {DAY_US - 2**63}"}
    raw |= dict.fromkeys(("sum", "min", "max", "first", "last"), "num")
    raw |= {f"{what}_us": "t_us" for what in ("min", "max", "first", "last")}
    source = raw
    for name, width_us in ROLLUPS:
        bind.execute(sa.text(_filling(bind.dialect.name, name, width_us, source)))
        source = {"of": name, "at": "bucket_us", "n": "sum(count)", "where": "", "sum": "sum"}
        source |= {what: what for value in ("min", "max", "first", "last") for what in (value, f"{value}_us")}


def _filling(dialect: str, name: str, width_us: int, x: dict[str, str]) -> str:
    bucket = f"{x['at']} - (({x['at']} % {width_us}) + {width_us}) % {width_us}"
    return f"""INSERT INTO {name}
        SELECT series_id, bucket_us, n, total, low,
            (SELECT min({x["min_us"]}) FROM {x["of"]} s WHERE {_inside(x, width_us)} AND s.{x["min"]} = g.low),
            high, (SELECT min({x["max_us"]}) FROM {x["of"]} s WHERE {_inside(x, width_us)} AND s.{x["max"]} = g.high),
            (SELECT {x["first"]} FROM {x["of"]} s WHERE {_inside(x, width_us)} AND s.{x["first_us"]} = g.begins), begins,
            (SELECT {x["last"]} FROM {x["of"]} s WHERE {_inside(x, width_us)} AND s.{x["last_us"]} = g.ends), ends
        FROM (
            SELECT series_id, {bucket} AS bucket_us, {x["n"]} AS n, {_total(dialect, x["sum"])} AS total, min({x["min"]}) AS low,
                max({x["max"]}) AS high, min({x["first_us"]}) AS begins, max({x["last_us"]}) AS ends
            FROM {x["of"]} {x["where"]} GROUP BY 1, 2
        ) g"""


def _inside(x: dict[str, str], width_us: int) -> str:
    return f"s.series_id = g.series_id AND s.{x['at']} >= g.bucket_us AND s.{x['at']} < g.bucket_us + {width_us}"


def _total(dialect: str, column: str) -> str:
    """A sum that stops at the largest double instead of leaving its range."""
    if dialect == "postgresql":
        return f"greatest(-{_SUM_MAX}, least({_SUM_MAX}, sum({column}::numeric)))::float8"
    return f"coalesce(max(-{_SUM_MAX}, min({_SUM_MAX}, sum({column}))), 0.0)"


def _partition(bind: sa.Connection) -> None:
    today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    filled = bool(bind.execute(sa.text("SELECT EXISTS (SELECT 1 FROM readings)")).scalar())
    view = bind.execute(sa.text("SELECT pg_get_viewdef('readings_view'::regclass)")).scalar_one()
    op.execute("ALTER TABLE readings RENAME TO readings_before")
    op.execute("ALTER INDEX readings_pkey RENAME TO readings_before_pkey")
    op.create_table(
        "readings",
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("t_us", _BIG, nullable=False),
        sa.Column("num", _NUMBER),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("unit", sa.Text()),
        sa.PrimaryKeyConstraint("series_id", "t_us", name="readings_pkey"),
        postgresql_partition_by="RANGE (t_us)",
    )
    op.execute("CREATE TABLE readings_default PARTITION OF readings DEFAULT")
    op.execute(f"CREATE OR REPLACE VIEW readings_view AS {view}")
    first = today + datetime.timedelta(2 if filled else -DAYS_BACK)
    for number in range((today + datetime.timedelta(DAYS_AHEAD + 1) - first).days):
        day = first + datetime.timedelta(number)
        bounds = f"FROM ({_us(day)}) TO ({_us(day) + DAY_US})"
        op.execute(f"CREATE TABLE readings_p{day:%Y%m%d} PARTITION OF readings FOR VALUES {bounds}")
    _attach_old(_us(first))


def _attach_old(before_us: int) -> None:
    columns = "series_id, t_us, num, kind, detail, unit"
    op.execute(f"CREATE TEMPORARY TABLE beyond ON COMMIT DROP AS SELECT * FROM readings_before WHERE t_us >= {before_us}")
    op.execute(f"DELETE FROM readings_before WHERE t_us >= {before_us}")
    op.execute(f"ALTER TABLE readings ATTACH PARTITION readings_before FOR VALUES FROM (MINVALUE) TO ({before_us})")
    op.execute(f"INSERT INTO readings ({columns}) SELECT {columns} FROM beyond")


def _us(day: Any) -> int:
    return int(day.timestamp()) * 1_000_000
