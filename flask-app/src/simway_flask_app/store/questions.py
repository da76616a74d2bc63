"""The part of the store port that answers about ranges of readings: windows, charts, exports, imports. Rules as in ``port``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from simway_flask_app.aggregates import Asked

if TYPE_CHECKING:
    from simway_protocol.readings import Reading

    from simway_flask_app.store.values import Row

Tier: TypeAlias = Literal["raw", "minute", "hour", "day"]
Fill: TypeAlias = Literal["none", "null", "previous", "linear", "zero"]
Reduction: TypeAlias = Literal["lttb", "minmax"]


class Question(NamedTuple):
    """Which readings: of these sensors (none: all), ``from_us <= t_us < to_us``; None: from the oldest, to the newest."""

    device: str
    sensors: Sequence[str] = ()
    from_us: int | None = None
    to_us: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesPoints:
    """One sensor's points in order of time: each has ``t`` (us), and what was asked. ``unit``: of the newest reading."""

    sensor: str
    unit: str | None
    points: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Windows or a chart, by sensor. ``from_us``, ``to_us``: the range answered, widened to whole windows; None without readings.

    ``tier``: what its newest part was computed from. ``raw_from_us``: set where raw readings were needed that retention has
    taken; what needs them begins there. ``known_from_us``: set where windows are missing that retention has taken from every tier
    that is exact for them; from there on they are known, before it coarser ones are.
    """

    window_us: int | None
    tier: Tier
    from_us: int | None
    to_us: int | None
    series: list[SeriesPoints] = field(default_factory=list)
    raw_from_us: int | None = None
    known_from_us: int | None = None


class NamedRows(NamedTuple):
    """Rows of ``readings`` by series, each in order of time, and whose they are: device and sensor by series."""

    rows: Sequence[Row]
    names: dict[int, tuple[str, str]]


@dataclass(slots=True)
class Imported:
    """What became of readings of an import. ``bad``: conflicts and what was refused, by place: (index, reason, detail)."""

    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    refused: int = 0
    bad: list[tuple[int, str, str]] = field(default_factory=list)


class Questions(Protocol):
    """What the REST API asks about ranges."""

    def windows(self, question: Question, window_us: int, asked: Asked, *, fill: Fill = "none", now_us: int) -> Answer:
        """Every window of the range that holds readings (and with ``fill`` every other), aligned to whole multiples of its
        width since 1970 UTC, computed from the coarsest tier that is exact. Raises ``TooMuch``.
        """

    def chart(self, question: Question, points_max: int, reduction: Reduction) -> Answer:
        """At most so many points of each series, ``{"t": , "value": }``, true to the shape (lttb) or to every extreme (minmax).

        Strings and objects: the last one of each pixel. Raises ``TooMuch``.
        """

    def export(
        self, devices: Sequence[str] | None, *, sensors: Sequence[str] = (), from_us: int | None = None, to_us: int | None = None
    ) -> Iterator[NamedRows]:
        """All readings of the range, a page at a time, sensor by sensor; ``devices`` None: of every device.

        A page is a short read: what is stored meanwhile behind the page is not seen. Raises ``StoreError`` at any page.
        """

    def import_history(self, device: str, readings: Sequence[Reading], *, now_us: int) -> Imported:
        """Stores readings of the past, in one transaction, with rollups, newest values and the ledger (epoch ``import``).

        At most ``history.READINGS_MAX``. Raises ``StoreUnavailable`` when nothing was stored and trying again helps.
        """
