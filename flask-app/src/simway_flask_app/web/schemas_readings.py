"""What goes over the REST API of readings, in and out: pages, windows, charts, exports, imports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field
from simway_protocol.limits import SENSOR_MAX_CHARS, UNIT_MAX_CHARS

from simway_flask_app.web import limits
from simway_flask_app.web.fields import Cursor, DeviceId, NextCursor, Time, TimeParameter, TimeUs

_Sensor = Annotated[str, Meta(min_length=1, max_length=SENSOR_MAX_CHARS, pattern=r"^[^\u0000]*$")]
_Sensors = Annotated[
    list[_Sensor], Meta(max_length=limits.SENSORS_MAX, description="may come several times; none means every sensor")
]
_Column = Annotated[str, Meta(max_length=limits.COLUMN_MAX_CHARS)]
Tier = Literal["raw", "minute", "hour", "day"]

# --- in ----------------------------------------------------------------------------------------------------------------


class ReadingsQuery(Struct, forbid_unknown_fields=True):
    """Which readings: ``from <= time < to``; a ``from`` later than ``to`` is refused.

    ``limit``, ``order`` and ``cursor`` are of pages; ``agg`` and ``fill`` go with ``window``, ``reduce`` with ``points``.
    """

    sensor: _Sensors = []
    from_: TimeParameter | None = field(name="from", default=None)
    to: TimeParameter | None = None
    limit: Annotated[int, Meta(ge=1, le=limits.READINGS_LIMIT_MAX)] = limits.READINGS_LIMIT_DEFAULT
    order: Literal["asc", "desc"] = "asc"
    cursor: Cursor | None = None
    window: (
        Annotated[
            str,
            Meta(
                pattern=r"^[1-9][0-9]{0,8}(ms|s|m|h|d)$",
                description="width of a window, as 5s, 1m, 6h, 1d; windows begin at whole multiples of it since 1970 UTC",
            ),
        ]
        | None
    ) = None
    agg: Annotated[
        str,
        Meta(
            max_length=limits.AGGREGATES_MAX_CHARS,
            pattern=r"^(avg|min|max|sum|count|first|last|p[0-9.]{1,6})(,(avg|min|max|sum|count|first|last|p[0-9.]{1,6}))*$",
            description="of each window, each once, by commas: avg min max sum count first last, percentiles as p50, p99.9",
        ),
    ] = "avg"
    fill: Annotated[
        Literal["none", "null", "previous", "linear", "zero"],
        Meta(
            description="what stands in a window without readings; none leaves it out. Its count is 0 whatever this says; where "
            "retention took what was there, all is null"
        ),
    ] = "none"
    points: (
        Annotated[
            int,
            Meta(
                ge=limits.POINTS_MIN,
                le=limits.POINTS_MAX,
                description="at most so many points of each series: the width of the chart in pixels",
            ),
        ]
        | None
    ) = None
    reduce: Annotated[
        Literal["lttb", "minmax"],
        Meta(description="how: lttb keeps the shape (largest triangle, three buckets), minmax every extreme of its pixels"),
    ] = "lttb"


class ExportQuery(Struct, forbid_unknown_fields=True):
    """Which readings, ``from <= time < to``, and as what."""

    format: Literal["csv", "ndjson", "parquet", "arrow"] = "csv"
    sensor: _Sensors = []
    from_: TimeParameter | None = field(name="from", default=None)
    to: TimeParameter | None = None
    columns: (
        Annotated[
            str,
            Meta(
                max_length=limits.AGGREGATES_MAX_CHARS,
                pattern=r"^(device|sensor|time|t_us|value|kind|unit)(,(device|sensor|time|t_us|value|kind|unit))*$",
                description="of device sensor time t_us value kind unit, each once, by commas; else all that the format needs",
            ),
        ]
        | None
    ) = None
    compress: Annotated[Literal["none", "gzip"], Meta(description="gzip: the file itself, .csv.gz or .ndjson.gz")] = "none"


class FleetExportQuery(ExportQuery, forbid_unknown_fields=True):
    """As of one device; ``device`` says of which."""

    device: Annotated[
        list[DeviceId], Meta(max_length=limits.EXPORT_DEVICES_MAX, description="may come several times; none means every device")
    ] = []


class ImportQuery(Struct, forbid_unknown_fields=True):
    """How to read the file. Long form: a reading a line, in ``value_column``; wide form (no such column): a sensor a column."""

    time_column: Annotated[str, Meta(min_length=1, max_length=limits.COLUMN_MAX_CHARS)] = "time"
    sensor_column: _Column = "sensor"
    value_column: _Column = "value"
    unit_column: _Column = "unit"
    kind_column: Annotated[
        str,
        Meta(
            max_length=limits.COLUMN_MAX_CHARS,
            description="holds float, integer, boolean, string or object, as exports write it; without it, see text",
        ),
    ] = "kind"
    sensor: Annotated[_Sensor | None, Meta(description="of every line, where the file has no column for it")] = None
    unit: Annotated[
        str, Meta(max_length=UNIT_MAX_CHARS, description="of every reading for which the file names none; empty for none")
    ] = ""
    text: Annotated[bool, Meta(description="take what is no number and no boolean as a string; else it is a bad line")] = False
    utc: Annotated[bool, Meta(description="times without an offset are UTC; else they are bad")] = False
    delimiter: Literal[",", ";", "\t", "|"] = ","
    header: Annotated[
        str, Meta(max_length=4_000, description="the header line, for a part of a file that does not begin with it")
    ] = ""
    first_line: Annotated[int, Meta(ge=1, le=2**53, description="number of the body's first line in the whole file")] = 1
    open_end: Annotated[bool, Meta(description="take a last line without a line end; else it counts as half and is bad")] = False


# --- out ---------------------------------------------------------------------------------------------------------------


class Reading(Struct):
    """One measured value. ``unit``: of SenML (RFC 8428, 12.1)."""

    sensor: str
    time: Time
    t_us: TimeUs
    value: Annotated[
        float | bool | str | dict[str, Any], Meta(description="number (an integer may be of 64 bits), boolean, string or object")
    ]
    unit: str | None


class ReadingsPage(Struct):
    """Readings in order of their time."""

    device: DeviceId
    readings: list[Reading]
    next_cursor: NextCursor


class LatestReadings(Struct):
    """The newest reading of each sensor."""

    device: DeviceId
    readings: list[Reading]


class Series(Struct):
    """One sensor's windows or points in order of time. ``unit``: of its newest reading.

    A point has ``t``, microseconds since 1970 UTC: of the window's start, or of the reading. With windows it has what ``agg``
    named; else ``value``. Booleans count as 0 and 1. Where the range holds numbers, ``count``, ``first`` and ``last`` are of
    those; strings and objects have these three alone, the rest is null.
    """

    sensor: str
    unit: str | None
    points: list[dict[str, float | str | dict[str, Any] | None]]


class SeriesAnswer(Struct):
    """Windows or a chart. ``from`` and ``to``: the range answered, widened to whole windows; null where there is nothing.

    ``tier``: what the newest part was computed from. ``raw_from_us``: set where the answer needs raw readings that retention
    has taken; before it, percentiles and windows that are no whole minutes are missing, though coarser ones would be there.
    ``known_from_us``: set where windows of the width asked are gone from every tier; they are missing before it, though wider
    ones would be there.
    """

    device: DeviceId
    window_us: int | None
    tier: Tier
    from_: Time | None = field(name="from")
    from_us: TimeUs | None
    to: Time | None
    to_us: TimeUs | None
    raw_from_us: TimeUs | None
    known_from_us: TimeUs | None
    series: list[Series]


class BadLine(Struct):
    """What an import did not take. ``line``: the first of the record's lines, from 1; ``column``: empty for a whole record."""

    line: int
    reason: str
    column: str
    detail: str


class ImportReply(Struct):
    """What became of an import. ``readings`` = stored + duplicate + conflict + refused; ``rejected``: what is none, by reason.

    ``conflict``: another value of that sensor and time was there first; this one is in the dead letters. ``refused``: the store
    does not take it. Both are among the bad lines, too.
    """

    device: DeviceId
    lines: int
    readings: int
    stored: int
    duplicate: int
    conflict: int
    refused: int
    empty: Annotated[int, Meta(description="empty cells of a wide file: no readings")]
    rejected: dict[str, int]
    bad_lines: Annotated[list[BadLine], Meta(description=f"the first {limits.IMPORT_BAD_LISTED}")]
