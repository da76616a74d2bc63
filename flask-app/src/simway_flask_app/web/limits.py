"""Every limit of the REST API, named once. Units are in the names."""

from __future__ import annotations

BODY_MAX_BYTES = 64 * 1024
"""A request body; larger is answered 413."""
DEVICES_LIMIT_DEFAULT = 100
DEVICES_LIMIT_MAX = 500
READINGS_LIMIT_DEFAULT = 1_000
READINGS_LIMIT_MAX = 5_000
SENSORS_MAX = 50
"""``sensor`` parameters in one question."""
POINTS_MIN, POINTS_MAX = 4, 10_000
"""Points of one series in a chart: no screen is wider."""
AGGREGATES_MAX_CHARS = 120
COLUMN_MAX_CHARS = 128
EXPORT_DEVICES_MAX = 100
"""``device`` parameters of one export; none means all."""
IMPORT_MAX_BYTES = 256 * 1024 * 1024
"""One import; a longer file comes in parts (``header``, ``first_line``)."""
IMPORT_BAD_LISTED = 100
"""Bad lines that an import names; all are counted."""
TRANSFERS_MAX = 4
"""Exports and imports under way at once; one more is answered 429."""
TRANSFER_RETRY_S = 5
TRANSFER_STALL_S = 60.0
"""A reader of an export that takes nothing for so long has lost it."""
COMMANDS_LIMIT_DEFAULT = 20
COMMANDS_LIMIT_MAX = 200
CURSOR_MAX_CHARS = 256
NAME_MAX_CHARS = 100
PROVIDER_MAX_CHARS = 64
TIME_MAX_CHARS = 40

STREAMS_MAX = 16
"""Event streams open at once; one more is answered 429."""
STREAM_QUEUE_MAX = 256
"""Messages that wait for one slow reader; one more and its stream ends, and it starts anew."""
STREAM_MAX_S = 3600.0
"""A stream ends after this and its reader connects again, so that a session which is over does not live on in it."""
STREAM_HEARTBEAT_S = 10.0
"""A comment line when there is nothing to say; a reader that is gone is noticed by it."""
STREAM_RETRY_S = 5
"""What a refused stream is told to wait."""
THREADS = STREAMS_MAX + TRANSFERS_MAX + 8
"""Threads of the server: streams, exports and imports cannot take the last ones from the API."""
REASON_MAX_CHARS = 500
LOSS_LIMIT_DEFAULT, LOSS_LIMIT_MAX = 100, 500
LETTERS_LIMIT_DEFAULT, LETTERS_LIMIT_MAX = 100, 500
ALARMS_LIMIT_DEFAULT, ALARMS_LIMIT_MAX = 100, 500
AUDIT_LIMIT_DEFAULT, AUDIT_LIMIT_MAX = 100, 500
VERIFY_RETRY_S = 5
"""What a verification is told to wait while another one runs."""
