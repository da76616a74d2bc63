"""Writers, and the rights by which one of several recorders writes what a partition holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "writers",
        sa.Column("writer", sa.Text(), primary_key=True, comment="see simway_flask_app.rights"),
        sa.Column("public_key", sa.Text(), nullable=False, comment="Ed25519, hexadecimal"),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_us", _BIG, nullable=False),
        sa.Column("seen_us", _BIG, nullable=False),
    )
    op.create_table(
        "write_rights",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("number", _BIG, nullable=False, comment="the fencing number: it only grows"),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("granted_us", _BIG, nullable=False),
        sa.Column("expires_us", _BIG, nullable=False),
        sa.Column("signature", sa.Text(), nullable=False, comment="of the writer, over the other columns; Ed25519, hexadecimal"),
        sa.PrimaryKeyConstraint("log_id", "topic", "partition", name="write_rights_pkey"),
        postgresql_with={"fillfactor": 60},
    )
