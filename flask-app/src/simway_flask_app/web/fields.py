"""The types of fields that several structs of the REST API share."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from simway_protocol.limits import DEVICE_ID_MAX_CHARS, INT64_MAX, INT64_MIN
from simway_protocol.sim.numbering import ICCID_WORDS

from simway_flask_app.web import limits

DEVICE_ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._:-]*$"

Time = Annotated[str, Meta(description="RFC 3339, UTC, microseconds", extra_json_schema={"format": "date-time"})]
TimeUs = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX, description="the same, as microseconds since 1970-01-01 UTC")]
DeviceId = Annotated[str, Meta(min_length=1, max_length=DEVICE_ID_MAX_CHARS, pattern=DEVICE_ID_PATTERN)]
Cursor = Annotated[
    str,
    Meta(min_length=1, max_length=limits.CURSOR_MAX_CHARS, description="next_cursor of the page before, for the same question"),
]
NextCursor = Annotated[str | None, Meta(description="for the page after this one; null on the last")]
TimeParameter = Annotated[
    str,
    Meta(
        max_length=limits.TIME_MAX_CHARS,
        description="RFC 3339 with an offset, or microseconds since 1970",
        extra_json_schema={"anyOf": [{"format": "date-time"}, {"pattern": "^-?[0-9]{1,18}$"}]},
    ),
]
Iccid = Annotated[str, Meta(pattern="^[0-9][0-9A-E]{17,19}$", description=f"{ICCID_WORDS}: cards with such are in the field")]
Eid = Annotated[str, Meta(pattern="^[0-9A-F]{32}$")]


def no_line_end(*numbers: str | msgspec.UnsetType) -> None:
    """Raises ``ValueError`` for what a pattern's end lets through."""
    for number in numbers:
        if isinstance(number, str) and number.endswith("\n"):
            raise ValueError(f"an ICCID is {ICCID_WORDS}, an EID 32 digits")
