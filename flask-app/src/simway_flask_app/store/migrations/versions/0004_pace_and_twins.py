"""Indexes on what is open among many commands that are over; twins of SIMs reported before there were twins; anchors stay."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {
    "commands_unsealed": ("expires_us", "state = 'QUEUED' AND counter IS NULL"),
    "commands_turn": ("answer_by_us", "turn = 1"),
    "commands_turn_device": ("device", "turn = 1"),
    "commands_cancelling": ("command_id", "cancel_pending = 1"),
}
_ACTOR = "dispatcher"


def upgrade() -> None:
    """Forward."""
    for name, (column, where) in INDEXES.items():
        op.create_index(name, "commands", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    _seed_twins(op.get_bind())
    op.drop_column("twins", "fallback_iccid")
    _protect_anchors(op.get_bind().dialect.name)


def _seed_twins(bind: sa.Connection) -> None:
    """What was reported last belongs on a SIM, unless somebody has said so before: as the next report would make it."""
    reported = bind.execute(
        sa.text(
            "SELECT i.device, i.eid, i.profiles, i.t_us, CASE WHEN s.iccid <> '' AND s.attached_us >= i.t_us THEN s.iccid "
            "ELSE i.active_iccid END AS iccid FROM inventories i LEFT JOIN sessions s ON s.device = i.device "
            "WHERE EXISTS (SELECT 1 FROM devices d WHERE d.device = i.device) "
            "AND NOT EXISTS (SELECT 1 FROM twins t WHERE t.device = i.device)"
        )
    ).all()
    insert = sa.text(
        "INSERT INTO twins (device, iccid, fallback_iccid, eid, profiles, source, actor, set_us, open_switch, audited_us) "
        "VALUES (:device, :iccid, '', :eid, :profiles, 'report', :actor, :set_us, '', 0)"
    )
    for row in reported:
        bind.execute(insert, _twin(row))


def _twin(row: Any) -> dict[str, Any]:
    held = [profile["iccid"] for profile in json.loads(row.profiles)]
    profiles = json.dumps(held, separators=(",", ":"))
    return {
        "device": row.device, "iccid": row.iccid, "eid": row.eid, "profiles": profiles, "actor": _ACTOR, "set_us": row.t_us,
    }  # fmt: skip


def _protect_anchors(dialect: str) -> None:
    if dialect == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_anchors_no_{verb.lower()} BEFORE {verb} ON audit_anchors "
                "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER audit_anchors_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchors "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_trail_refuse()"
    )
