"""Readings as InfluxDB line protocol, in the way Grafana Live makes streams of it.

Grafana turns each measurement into a channel ``stream/<stream>/<measurement>`` whose frames have the columns labels, time and
one per field. A panel keeps what it has drawn only while the columns stay the same, so every channel has exactly one field of
one type. A device has one channel for each scale (``scales``): numbers and booleans (as 0 and 1) are floats in a field that is
called like the scale, as ``bytes`` of ``demo/bytes``; text and objects are ``text`` of ``demo/text``. The sensor is the tag. https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from simway_protocol.limits import INT64_MAX

from simway_flask_app.grafana.scales import scale_of
from simway_flask_app.store.port import StoredReading

STREAM = "simway"
TEXT = "text"
_T_MAX_US = INT64_MAX // 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TAG_SPECIAL = re.compile(r"([,= ])")


def channel_path(device: str) -> str:
    """The path that a device's channels begin with. Channels know no ``:``, device ids no ``=``: one stands for the other."""
    return device.replace(":", "=")


def encode(readings: Iterable[StoredReading]) -> bytes:
    """One line for each reading, with its own time in nanoseconds. A time that nanoseconds cannot hold is left out."""
    return "".join(_line(reading) for reading in readings if abs(reading.t_us) <= _T_MAX_US).encode()


def _line(reading: StoredReading) -> str:
    measurement, tag, value = channel_path(reading.device), _tag(reading.sensor), reading.value
    if isinstance(value, bool | int | float):
        scale = scale_of(reading.unit)
        return f"{measurement}/{scale},sensor={tag} {scale}={float(value)!r} {reading.t_us * 1000}\n"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f'{measurement}/{TEXT},sensor={tag} {TEXT}="{_quoted(text)}" {reading.t_us * 1000}\n'


def _tag(text: str) -> str:
    """A tag value. Parsers differ on a backslash before a special character, so backslashes become slashes."""
    return _TAG_SPECIAL.sub(r"\\\1", _CONTROL.sub("_", text).replace("\\", "/"))


def _quoted(text: str) -> str:
    """What stands between the quotes of a string field; a line end would end the line for some parsers."""
    return _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
