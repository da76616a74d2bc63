"""A measured figure, and how it is printed."""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_AIM = re.compile(r"\baim (?:under )?(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Figure:
    """``against``: what it is compared with (an aim, or another figure of the same run). ``ratio``: value to that, or None."""

    figure: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None

    @property
    def aim(self) -> float | None:
        """The number that ``against`` names as the aim: of the value, or of the ratio where another figure is named first."""
        found = _AIM.search(self.against)
        return float(found[1]) if found else None

    def line(self) -> str:
        """One JSON object."""
        ratio = None if self.ratio is None else float(f"{self.ratio:.3g}")
        row = {
            "figure": self.figure,
            "value": float(f"{self.value:.4g}"),
            "unit": self.unit,
            "against": self.against,
            "ratio": ratio,
        }
        return json.dumps(row)


def read_lines(lines: Iterable[str]) -> list[Figure]:
    """Figures from what a run printed; ``ValueError`` or ``TypeError`` for a line that is none."""
    return [Figure(**json.loads(line)) for line in lines if line.strip()]


def publish(figure: Figure) -> Figure:
    """Prints the figure's line at once, so that a long run shows what it has."""
    print(figure.line(), flush=True)
    return figure


def progress(text: str) -> None:
    """A line for the person who waits, apart from the figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie; that of a single value is itself. ``ValueError`` for none."""
    if not values:
        raise ValueError("no values: nothing was measured")
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[max(0, round(share * 1000) - 1)]


def median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of pairs taken in turns: what slows the machine for a while slows both of a pair."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table."""
    rows = ["| figure | value | unit | against | ratio |", "|---|---:|---|---|---:|"]
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        rows.append(f"| {figure.figure} | {number(figure.value)} | {figure.unit} | {figure.against} | {ratio} |")
    return "\n".join(rows)


def number(value: float) -> str:
    """Four digits that count, thousands apart, never an exponent."""
    rounded = float(f"{value:.4g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"
