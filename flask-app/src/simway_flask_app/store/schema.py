"""The tables, for queries. The migrations make them (``migrations/versions``); a test holds the two together.

``readings`` is keyed by (series, time); a series is one sensor of one device, named by an integer for the sake of speed and
size. Numbers of every kind stand in ``num``, so that charts need one column; ``kind`` says what they were, and ``detail`` holds
what a double cannot (see ``values``). JSON is kept as text on both databases. On PostgreSQL ``readings`` is partitioned by day of
``t_us`` (see ``partitions``).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

metadata = MetaData()
_BIG_ID = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY."""

devices = Table(
    "devices",
    metadata,
    Column("device", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("last_counter", BigInteger, nullable=False, comment="highest command counter given or reported by ATTACH"),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("device", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("gateway", Text, nullable=False),
    Column("iccid", Text, nullable=False),
    Column("boot_counter", BigInteger, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("address", Text, nullable=False),
    Column("attached_us", BigInteger, nullable=False),
    Column("detached_us", BigInteger),
    Column("detached_reason", Text, nullable=False),
    Column("place", Text, nullable=False, server_default="", comment="where it lives: host and port of a gateway"),
    Column("worker", Integer, nullable=False, server_default="0", comment="which process of that place"),
)

inventories = Table(
    "inventories",
    metadata,
    Column("device", Text, primary_key=True),
    Column("eid", Text, nullable=False),
    Column("active_iccid", Text, nullable=False),
    Column("profiles", Text, nullable=False, comment="JSON array of simway_protocol.messages.Profile"),
    Column("t_us", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("os_version", Text, nullable=False),
    Column("smdp", Text, nullable=False),
)

twins = Table(
    "twins",
    metadata,
    Column("device", Text, ForeignKey("devices.device"), primary_key=True),
    Column("iccid", Text, nullable=False, comment="the profile that shall be active; empty: nobody has said or reported"),
    Column("eid", Text, nullable=False, comment="of the card that belongs there"),
    Column("profiles", Text, nullable=False, comment="JSON array of the ICCIDs that belong on the card"),
    Column("source", Text, nullable=False, comment="report (the first one), switch (a VERIFIED one) or person"),
    Column("actor", Text, nullable=False),
    Column("set_us", BigInteger, nullable=False),
    Column("open_switch", Text, nullable=False, comment="command id that the last audit showed as open in the device's journal"),
    Column("audited_us", BigInteger, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("device", Text, nullable=False, comment="empty: of the platform itself"),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="ICCID, EID or command id; one alarm of a kind is open for each"),
    Column("severity", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("raised_us", BigInteger, nullable=False),
    Column("over_us", BigInteger),
    Index("alarms_open", "over_us", "device"),
    sqlite_autoincrement=True,
)

series = Table(
    "series",
    metadata,
    Column("series_id", Integer, primary_key=True, autoincrement=True),
    Column("device", Text, nullable=False),
    Column("sensor", Text, nullable=False),
    UniqueConstraint("device", "sensor", name="series_device_sensor"),
)

readings = Table(
    "readings",
    metadata,
    Column("series_id", Integer, nullable=False),
    Column("t_us", BigInteger, nullable=False),
    Column("num", Double),
    Column("kind", SmallInteger, nullable=False),
    Column("detail", Text),
    Column("unit", Text),
    PrimaryKeyConstraint("series_id", "t_us", name="readings_pkey"),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (t_us)",
)


def _rollup(name: str) -> Table:
    """Windows of one width over the numbers of ``readings``: of equal extremes, the earliest time."""
    return Table(
        name,
        metadata,
        Column("series_id", Integer, nullable=False),
        Column("bucket_us", BigInteger, nullable=False, comment="start of the window, UTC"),
        Column("count", BigInteger, nullable=False),
        Column("sum", Double, nullable=False),
        Column("min", Double, nullable=False),
        Column("min_us", BigInteger, nullable=False),
        Column("max", Double, nullable=False),
        Column("max_us", BigInteger, nullable=False),
        Column("first", Double, nullable=False),
        Column("first_us", BigInteger, nullable=False),
        Column("last", Double, nullable=False),
        Column("last_us", BigInteger, nullable=False),
        PrimaryKeyConstraint("series_id", "bucket_us", name=f"{name}_pkey"),
        sqlite_with_rowid=False,
    )


rollup_minute = _rollup("rollup_minute")
rollup_hour = _rollup("rollup_hour")
rollup_day = _rollup("rollup_day")

tiers = Table(
    "tiers",
    metadata,
    Column("tier", Text, primary_key=True, comment="raw, minute, hour or day"),
    Column("keep_s", BigInteger, nullable=False, comment="0: for ever"),
    Column("updated_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False, comment="settings: follows the recorder's settings until a person sets it"),
    Column(
        "gone_before_us", BigInteger, nullable=False, server_default=text("-9223372036854775808"),
        comment="what is older retention has taken, though it be kept for longer now",
    ),
)  # fmt: skip

latest = Table(
    "latest",
    metadata,
    Column("series_id", Integer, primary_key=True, autoincrement=False),
    Column("t_us", BigInteger, nullable=False),
    Column("num", Double),
    Column("kind", SmallInteger, nullable=False),
    Column("detail", Text),
    Column("unit", Text),
    Column("stored_us", BigInteger, nullable=False, comment="not indexed: that would cost more at each update than it saves"),
)

epochs = Table(
    "epochs",
    metadata,
    Column("device", Text, nullable=False),
    Column("epoch", Text, nullable=False, comment="empty where the sender numbers nothing"),
    Column("first_us", BigInteger, nullable=False),
    Column("highest", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False, comment="numbers up to this are no longer told apart"),
    Column("missing_below", BigInteger, nullable=False, comment="how many up to the floor never came"),
    Column("missing", Text, nullable=False, comment="JSON ranges above the floor that did not come yet"),
    Column("dropped", Text, nullable=False, comment="JSON ranges that the device gave up"),
    Column("stored", BigInteger, nullable=False),
    Column("duplicate", BigInteger, nullable=False),
    Column("conflict", BigInteger, nullable=False),
    Column("redelivered", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False, comment="the sum of rejections of this epoch"),
    Column("missing_count", BigInteger, nullable=False, comment="how many never came: missing_below and what missing holds"),
    Column(
        "dropped_count", BigInteger, nullable=False, comment="how many the device gave up: dropped_below and what dropped holds"
    ),
    Column("dropped_below", BigInteger, nullable=False, comment="how many up to the floor the device gave up"),
    PrimaryKeyConstraint("device", "epoch", name="epochs_pkey"),
)

rejections = Table(
    "rejections",
    metadata,
    Column("device", Text, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("device", "epoch", "reason", name="rejections_pkey"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("t_us", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("letter", LargeBinary, nullable=False, comment="JSON of simway_protocol.messages.DeadLetter"),
    Column("replayed_us", BigInteger, comment="when it was put into the log anew"),
    Column("replayed_by", Text, comment="by whom"),
    Index("dead_letters_device", "device", "id"),
    Index("dead_letters_reason", "reason", "id"),
    Index("dead_letters_time", "t_us"),
)

commands = Table(
    "commands",
    metadata,
    Column("command_id", Text, primary_key=True),
    Column("device", Text, ForeignKey("devices.device"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("target_iccid", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("deadline_s", Integer, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("answer_by_us", BigInteger, nullable=False, comment="after this, silence means UNKNOWN"),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("turn", SmallInteger, nullable=False, comment="1 while it is the device's one outstanding command"),
    Column("counter", BigInteger, comment="null until sealed"),
    Column("seals", Integer, nullable=False, comment="how often it was sealed"),
    Column("sent_generation", BigInteger, nullable=False, comment="of the session that carried it"),
    Column("cancel_requested_us", BigInteger),
    Column("cancel_pending", SmallInteger, nullable=False, comment="1 until the dispatcher has sealed the CANCEL"),
    Column("seq", BigInteger, nullable=False, comment="order of acceptance; clocks may step back"),
    Column("forced", SmallInteger, nullable=False, comment="1: goes past rules that a person may set aside"),
    Column("force_reason", Text, nullable=False),
    Column("target_class", Text, nullable=False, comment="of the target profile when the switch was accepted"),
    Index("commands_order", "device", "seq"),
    Index("commands_device", "device", "created_us"),
    Index("commands_state", "state", "expires_us"),
)
UNSEALED = (commands.c.state == literal_column("'QUEUED'")) & commands.c.counter.is_(None)
HAS_TURN = commands.c.turn == literal_column("1")
CANCELLING = commands.c.cancel_pending == literal_column("1")
"""What few commands are, of many that are over; without parameters, so that both databases find the indexes on them."""
for _name, _column, _where in (
    ("commands_unsealed", commands.c.expires_us, UNSEALED),
    ("commands_turn", commands.c.answer_by_us, HAS_TURN),
    ("commands_turn_device", commands.c.device, HAS_TURN),
    ("commands_cancelling", commands.c.command_id, CANCELLING),
):
    Index(_name, _column, sqlite_where=_where, postgresql_where=_where)

command_history = Table(
    "command_history",
    metadata,
    Column("seq", _BIG_ID, primary_key=True, autoincrement=True),
    Column("command_id", Text, ForeignKey("commands.command_id"), nullable=False),
    Column("t_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Index("command_history_command", "command_id", "seq"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

log_positions = Table(
    "log_positions",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("log_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("consumer", "log_id", "topic", "partition", name="log_positions_pkey"),
)

log_gaps = Table(
    "log_gaps",
    metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("consumer", Text, nullable=False),
    Column("log_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),
    Column("t_us", BigInteger, nullable=False),
)

writers = Table(
    "writers",
    metadata,
    Column("writer", Text, primary_key=True, comment="see simway_flask_app.rights"),
    Column("public_key", Text, nullable=False, comment="Ed25519, hexadecimal"),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)

write_rights = Table(
    "write_rights",
    metadata,
    Column("log_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("number", BigInteger, nullable=False, comment="the fencing number: it only grows"),
    Column("writer", Text, nullable=False),
    Column("granted_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("signature", Text, nullable=False, comment="of the writer, over the other columns; Ed25519, hexadecimal"),
    PrimaryKeyConstraint("log_id", "topic", "partition", name="write_rights_pkey"),
)

audit_trail = Table(
    "audit_trail",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("t_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", Text, nullable=False, comment="see simway_flask_app.trail"),
    Index("audit_trail_device", "device", "seq"),
    Index("audit_trail_kind", "kind", "seq"),
    Index("audit_trail_time", "t_us"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, comment="1: writers take turns by locking this row"),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_anchors = Table(
    "audit_anchors",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("t_us", BigInteger, nullable=False),
)
