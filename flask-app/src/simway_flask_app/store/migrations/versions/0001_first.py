"""The first schema: registry, readings, loss ledger, commands, outbox, log positions; views for charts on PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UPDATED_OFTEN = {"fillfactor": 60}
"""Room in each page for the next version of its rows: an update that changes no indexed column then touches no index."""
_TIME = "to_timestamp({} / 1000000.0)"
VIEWS = {
    "readings_view": f"""
        SELECT {_TIME.format("r.t_us")} AS "time", r.t_us, s.device, s.sensor, r.num AS value, r.detail AS text, r.unit
        FROM readings r JOIN series s USING (series_id)""",
    "latest_view": f"""
        SELECT {_TIME.format("l.t_us")} AS "time", l.t_us, s.device, s.sensor, l.num AS value, l.detail AS text, l.unit
        FROM latest l JOIN series s USING (series_id)""",
    "series_view": "SELECT device, sensor FROM series",
    "devices_view": f"""
        SELECT d.device, d.name, d.status, s.iccid AS attached_iccid, {_TIME.format("s.attached_us")} AS attached,
            {_TIME.format("s.detached_us")} AS detached, i.eid, c.iccid AS active_iccid,
            coalesce((SELECT p ->> 'provider' FROM jsonb_array_elements(i.profiles::jsonb) p WHERE p ->> 'iccid' = c.iccid), '')
                AS active_provider
        FROM devices d LEFT JOIN sessions s USING (device) LEFT JOIN inventories i USING (device),
            LATERAL (
                SELECT CASE WHEN i.t_us IS NULL OR s.attached_us >= i.t_us THEN s.iccid ELSE i.active_iccid END AS iccid
            ) c""",
    "commands_view": f"""
        SELECT {_TIME.format("created_us")} AS "time", {_TIME.format("updated_us")} AS updated, command_id, device, kind, state,
            target_iccid, provider, reason, actor
        FROM commands""",
    "command_history_view": f"""
        SELECT {_TIME.format("h.t_us")} AS "time", h.t_us, c.device, h.command_id, c.kind, c.target_iccid, c.provider, h.event,
            h.state, h.actor, h.reason
        FROM command_history h JOIN commands c USING (command_id)""",
}
"""What a reader of charts may see. Compare ``t_us`` rather than ``time`` in conditions: that is what the key can answer."""


def upgrade() -> None:
    """Forward."""
    _tables()
    if op.get_bind().dialect.name == "postgresql":
        for name, query in VIEWS.items():
            op.execute(f"CREATE VIEW {name} AS {query}")


def _tables() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("t_us", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("letter", sa.LargeBinary(), nullable=False, comment="JSON of simway_protocol.messages.DeadLetter"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("dead_letters_device", "dead_letters", ["device", "id"], unique=False)
    op.create_table(
        "devices",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("last_counter", sa.BigInteger(), nullable=False, comment="highest command counter given or reported by ATTACH"),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_table(
        "epochs",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False, comment="empty where the sender numbers nothing"),
        sa.Column("first_us", sa.BigInteger(), nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False, comment="numbers up to this are no longer told apart"),
        sa.Column("missing_below", sa.BigInteger(), nullable=False, comment="how many up to the floor never came"),
        sa.Column("missing", sa.Text(), nullable=False, comment="JSON ranges above the floor that did not come yet"),
        sa.Column("dropped", sa.Text(), nullable=False, comment="JSON ranges that the device gave up"),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("duplicate", sa.BigInteger(), nullable=False),
        sa.Column("conflict", sa.BigInteger(), nullable=False),
        sa.Column("redelivered", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "epoch", name="epochs_pkey"),
        postgresql_with=_UPDATED_OFTEN,
    )
    op.create_table(
        "inventories",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("eid", sa.Text(), nullable=False),
        sa.Column("active_iccid", sa.Text(), nullable=False),
        sa.Column("profiles", sa.Text(), nullable=False, comment="JSON array of simway_protocol.messages.Profile"),
        sa.Column("t_us", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_table(
        "latest",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("t_us", sa.BigInteger(), nullable=False),
        sa.Column("num", sa.Double(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column(
            "stored_us",
            sa.BigInteger(),
            nullable=False,
            comment="not indexed: that would cost more at each update than it saves",
        ),
        sa.PrimaryKeyConstraint("series_id"),
        postgresql_with=_UPDATED_OFTEN,
    )
    op.create_table(
        "log_gaps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_offset", sa.BigInteger(), nullable=False),
        sa.Column("t_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "log_positions",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "log_id", "topic", "partition", name="log_positions_pkey"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "readings",
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("t_us", sa.BigInteger(), nullable=False),
        sa.Column("num", sa.Double(), nullable=True),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("series_id", "t_us", name="readings_pkey"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rejections",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "epoch", "reason", name="rejections_pkey"),
    )
    op.create_table(
        "series",
        sa.Column("series_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("series_id"),
        sa.UniqueConstraint("device", "sensor", name="series_device_sensor"),
    )
    op.create_table(
        "sessions",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("iccid", sa.Text(), nullable=False),
        sa.Column("boot_counter", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("attached_us", sa.BigInteger(), nullable=False),
        sa.Column("detached_us", sa.BigInteger(), nullable=True),
        sa.Column("detached_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_table(
        "commands",
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("target_iccid", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("deadline_s", sa.Integer(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("answer_by_us", sa.BigInteger(), nullable=False, comment="after this, silence means UNKNOWN"),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("turn", sa.SmallInteger(), nullable=False, comment="1 while it is the device's one outstanding command"),
        sa.Column("counter", sa.BigInteger(), nullable=True, comment="null until sealed"),
        sa.Column("seals", sa.Integer(), nullable=False, comment="how often it was sealed"),
        sa.Column("sent_generation", sa.BigInteger(), nullable=False, comment="of the session that carried it"),
        sa.Column("cancel_requested_us", sa.BigInteger(), nullable=True),
        sa.Column("cancel_pending", sa.SmallInteger(), nullable=False, comment="1 until the dispatcher has sealed the CANCEL"),
        sa.ForeignKeyConstraint(
            ["device"],
            ["devices.device"],
        ),
        sa.PrimaryKeyConstraint("command_id"),
    )
    op.create_index("commands_device", "commands", ["device", "created_us"], unique=False)
    op.create_index("commands_state", "commands", ["state", "expires_us"], unique=False)
    op.create_table(
        "command_history",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("t_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["commands.command_id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("command_history_command", "command_history", ["command_id", "seq"], unique=False)
