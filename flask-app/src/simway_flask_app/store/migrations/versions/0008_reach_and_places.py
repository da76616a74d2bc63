"""How far back each tier reaches, for charts; where sessions live; the raw tier told to gateways."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIERS_VIEW = """
    SELECT tier, keep_s, gone_before_us, greatest(gone_before_us,
        CASE WHEN keep_s > 0 THEN (extract(epoch FROM now()) - keep_s) * 1000000 END)::bigint AS reaches_us
    FROM tiers"""


def upgrade() -> None:
    """Forward."""
    place = sa.Column("place", sa.Text(), nullable=False, server_default="", comment="where it lives: host and port of a gateway")
    op.add_column("sessions", place)
    op.add_column(
        "sessions", sa.Column("worker", sa.Integer(), nullable=False, server_default="0", comment="which process of that place")
    )
    _tell_gateways(op.get_bind())
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE VIEW tiers_view AS {TIERS_VIEW}")


def _tell_gateways(bind: sa.Connection) -> None:
    """Of a store where retention has been set before; in a new one the first recorder sets it."""
    raw: Any = bind.execute(sa.text("SELECT keep_s, updated_us FROM tiers WHERE tier = 'raw' AND updated_us > 0")).first()
    if raw is None:
        return
    entry = {
        "device": "*",
        "status": "revoked",
        "key_versions": [],
        "updated_us": raw.updated_us,
        "raw_keep_s": raw.keep_s,
        "v": 1,
    }
    bind.execute(
        sa.text("INSERT INTO outbox (topic, key, value, created_us) VALUES ('registry', '*', :value, :created_us)"),
        {"value": json.dumps(entry).encode(), "created_us": raw.updated_us},
    )
