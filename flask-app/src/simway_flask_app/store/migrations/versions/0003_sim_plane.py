"""What belongs on each SIM, alarms, the audit trail; commands in the order of their acceptance, with who forced them and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NO_HASH = "00" * 32
_TEXT = sa.Text()
_BIG = sa.BigInteger()


def upgrade() -> None:
    """Forward."""
    for name in ("os_version", "smdp"):
        op.add_column("inventories", sa.Column(name, _TEXT, nullable=False, server_default=""))
    _widen_commands()
    _make_twins()
    _make_alarms()
    _make_trail()
    _protect_trail(op.get_bind().dialect.name)


def _widen_commands() -> None:
    op.add_column(
        "commands",
        sa.Column("seq", _BIG, nullable=False, server_default="0", comment="order of acceptance; clocks may step back"),
    )
    op.add_column(
        "commands",
        sa.Column(
            "forced", sa.SmallInteger(), nullable=False, server_default="0",
            comment="1: goes past rules that a person may set aside",
        ),
    )  # fmt: skip
    op.add_column("commands", sa.Column("force_reason", _TEXT, nullable=False, server_default=""))
    op.add_column(
        "commands",
        sa.Column(
            "target_class", _TEXT, nullable=False, server_default="",
            comment="of the target profile when the switch was accepted",
        ),
    )  # fmt: skip
    op.execute(
        "UPDATE commands SET seq = coalesce("
        "(SELECT min(h.seq) FROM command_history h WHERE h.command_id = commands.command_id), 0)"
    )
    op.create_index("commands_order", "commands", ["device", "seq"])


def _make_twins() -> None:
    op.create_table(
        "twins",
        sa.Column("device", _TEXT, sa.ForeignKey("devices.device"), primary_key=True),
        sa.Column("iccid", _TEXT, nullable=False, comment="the profile that shall be active; empty: nobody has said or reported"),
        sa.Column("fallback_iccid", _TEXT, nullable=False),
        sa.Column("eid", _TEXT, nullable=False, comment="of the card that belongs there"),
        sa.Column("profiles", _TEXT, nullable=False, comment="JSON array of the ICCIDs that belong on the card"),
        sa.Column("source", _TEXT, nullable=False, comment="report (the first one), switch (a VERIFIED one) or person"),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("set_us", _BIG, nullable=False),
        sa.Column(
            "open_switch", _TEXT, nullable=False, comment="command id that the last audit showed as open in the device's journal"
        ),
        sa.Column("audited_us", _BIG, nullable=False),
    )


def _make_alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("device", _TEXT, nullable=False, comment="empty: of the platform itself"),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False, comment="ICCID, EID or command id; one alarm of a kind is open for each"),
        sa.Column("severity", _TEXT, nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.Column("raised_us", _BIG, nullable=False),
        sa.Column("over_us", _BIG, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("alarms_open", "alarms", ["over_us", "device"])


def _make_trail() -> None:
    op.create_table(
        "audit_trail",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("t_us", _BIG, nullable=False),
        *(sa.Column(name, _TEXT, nullable=False) for name in ("kind", "device", "actor", "subject", "detail")),
        sa.Column("hash", _TEXT, nullable=False, comment="see simway_flask_app.trail"),
    )
    op.create_index("audit_trail_device", "audit_trail", ["device", "seq"])
    op.create_index("audit_trail_kind", "audit_trail", ["kind", "seq"])
    op.create_index("audit_trail_time", "audit_trail", ["t_us"])
    head = op.create_table(
        "audit_head",
        sa.Column(
            "id", sa.SmallInteger(), primary_key=True, autoincrement=False, comment="1: writers take turns by locking this row"
        ),
        sa.Column("seq", _BIG, nullable=False),
        sa.Column("hash", _TEXT, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": NO_HASH}])
    op.create_table(
        "audit_anchors",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("hash", _TEXT, nullable=False),
        sa.Column("signature", _TEXT, nullable=False),
        sa.Column("t_us", _BIG, nullable=False),
    )


def _protect_trail(dialect: str) -> None:
    """Entries are added only. Who owns the database can take the triggers away: that is what the chain is for."""
    if dialect == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_trail_no_{verb.lower()} BEFORE {verb} ON audit_trail "
                "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_trail_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_trail_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_trail "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_trail_refuse()"
    )
