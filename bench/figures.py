"""A measured figure, how it is printed, and what machine it was taken on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Figure:
    """``against``: what it is compared with (an aim, or another figure of the same run). ``ratio``: value to that, or None."""

    figure: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None

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


def publish(figure: Figure) -> Figure:
    """Prints the figure's line at once, so that a long run shows what it has."""
    print(figure.line(), flush=True)
    return figure


def progress(text: str) -> None:
    """A line for the person who waits, apart from the figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def machine() -> str:
    """One line: processor, cores, memory, system, Python."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine()
    )
    memory_gib = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{cpu}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {system}"


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table."""
    rows = ["| figure | value | unit | against | ratio |", "|---|---:|---|---|---:|"]
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        rows.append(f"| {figure.figure} | {figure.value:,.4g} | {figure.unit} | {figure.against} | {ratio} |")
    return "\n".join(rows)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
