"""The scale that a unit is drawn on, by Grafana's names of units.

A chart can hold one scale, so Live channels and panels are made by scale. The database's views name it too, by the same rows
(the newest migration that makes ``latest_view``), and the dashboard lists the scales once more as overrides: tests hold the three
together. https://www.iana.org/assignments/senml/ ; grafana-data/src/valueFormats/categories.ts
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PLAIN = "value"
"""The scale of readings without a unit, or with one that is not listed."""

SCALES: Mapping[str, str] = MappingProxyType({
    "%": "percent", "%EL": "percent", "%RH": "humidity", "/": "percentunit", "B": "bytes", "B/s": "Bps", "bit": "bits",
    "bit/s": "bps", "s": "s", "ms": "ms", "Cel": "celsius", "K": "kelvin", "V": "volt", "mV": "mvolt", "A": "amp", "mA": "mamp",
    "W": "watt", "kW": "kwatt", "J": "joule", "Wh": "watth", "kWh": "kwatth", "Hz": "hertz", "Pa": "pressurepa",
    "hPa": "pressurehpa", "dB": "dB", "dBm": "dBm", "m": "lengthm", "kg": "masskg", "g": "massg", "m/s": "velocityms",
    "km/h": "velocitykmh", "lx": "lux", "deg": "degree", "l": "litre", "m3": "m3", "Ohm": "ohm", "VA": "voltamp",
})  # fmt: skip


def scale_of(unit: str | None) -> str:
    """Grafana's name of the scale; ``PLAIN`` where there is none."""
    return SCALES.get(unit or "", PLAIN)
