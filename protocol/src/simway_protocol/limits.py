"""Every limit of the wire and of admission, named once. Units are in the names; the reasons are in docs/protocol.md."""

from __future__ import annotations

DATAGRAM_MAX_BYTES = 1_200
"""One frame a datagram; larger is refused unread."""
VALUE_MAX_BYTES = 1_000
"""One value, encoded as JSON; larger is refused at the outbox and at admission."""
OBJECT_MAX_DEPTH = 8
"""Nesting of an object value."""
SENSOR_MAX_CHARS = 128
UNIT_MAX_CHARS = 32
DEVICE_ID_MAX_CHARS = 64
READINGS_MAX_PER_UPLINK = 500
RANGES_MAX_PER_FRAME = 32
"""Dropped ranges in one DATA, acknowledged ranges in one ACK."""
FUTURE_MAX_US = 24 * 3600 * 1_000_000
"""A reading's time may be at most this far ahead of the server's."""
RAW_RETENTION_US = 30 * 24 * 3600 * 1_000_000
"""Default of raw retention: an older reading is rejected as ``too_old``."""
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
UPLINK_PARTITIONS = 24
"""Partitions of ``uplink``, fixed at creation."""
SEQUENCE_MAX = 2**53 - 1
"""Highest sequence number of an epoch: what survives every JSON reader."""
BATCH_MAX_BYTES = 64 * 1024
BATCH_MAX_UPLINKS = 500
BATCH_MAX_AGE_US = 5_000
"""Admitted uplinks of one partition go to the log as one record when any of these three is reached."""
