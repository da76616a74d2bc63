"""The figures as one picture, from the figures alone: what is not among them has no panel."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from bench.figures import Figure, number

matplotlib.use("Agg")
GOOD, BAD, AIM, PLAIN = "#2f6f9f", "#c8553d", "#333333", "#9db8cc"
LINE_COLOURS = ("#2f6f9f", "#d98e04", "#4c9a6a")
STYLE = {
    "font.size": 8, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "svg.fonttype": "none", "svg.hashsalt": "simway",
}  # fmt: skip
PANEL_INCHES, COLUMNS = (6.4, 3.0), 2
_FLEET = re.compile(r"^fleet_(?P<name>[a-z_]+)_(?P<size>\d+)_stored$")

_ROWS = r"^(end_to_end|recorder)_[a-z]+(_postgresql)?(_many_devices)?$"
Drawer = Callable[[Axes, Sequence[Figure]], None]


def draw(figures: Sequence[Figure], caption: str, path: Path) -> None:
    """Writes the picture; the kind by the name's end (svg, png). The same figures give the same bytes of an SVG."""
    panels = [(title, drawer, found) for title, drawer, wanted in PANELS if (found := _chosen(figures, wanted))]
    rows = max(1, -(-len(panels) // COLUMNS))
    with matplotlib.rc_context(STYLE):
        picture = Picture(figsize=(PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows + 0.4), layout="constrained")
        for place, (title, drawer, found) in enumerate(panels, 1):
            axes = picture.add_subplot(rows, COLUMNS, place)
            axes.set_title(title)
            drawer(axes, found)
        picture.supxlabel(caption, fontsize=7, color="#555555")
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        picture.savefig(path, dpi=110, metadata=metadata)


def _chosen(figures: Sequence[Figure], wanted: str) -> list[Figure]:
    pattern = re.compile(wanted)
    return [figure for figure in figures if pattern.search(figure.figure)]


def _bars(axes: Axes, labels: list[str], values: list[float], colours: list[str], texts: list[str]) -> None:
    places = range(len(values))[::-1]
    axes.barh(list(places), values, color=colours, height=0.62)
    axes.set_yticks(list(places), labels)
    for place, value, text in zip(places, values, texts, strict=True):
        axes.annotate(text, (value, place), xytext=(3, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max([*values, 1e-9]) * 1.28)


def ratios(axes: Axes, figures: Sequence[Figure]) -> None:
    """Bars of ratios, each with its own aim as a mark: longer is better."""
    found = [figure for figure in figures if figure.ratio is not None]
    values = [figure.ratio or 0.0 for figure in found]
    colours = [GOOD if figure.aim is None or value >= figure.aim else BAD for figure, value in zip(found, values, strict=True)]
    texts = [f"{value:.2f}  ({number(figure.value)} {figure.unit})" for figure, value in zip(found, values, strict=True)]
    _bars(axes, [_label(figure) for figure in found], values, colours, texts)
    _mark_aims(axes, [figure.aim for figure in found])


def per_cpu(axes: Axes, figures: Sequence[Figure]) -> None:
    """Bars of value to aim: longer is better, the aim is 1."""
    values = [figure.ratio or 0.0 for figure in figures]
    colours = [GOOD if value >= 1 else BAD for value in values]
    _bars(
        axes,
        [_label(figure) for figure in figures],
        values,
        colours,
        [f"{number(figure.value)} {figure.unit}" for figure in figures],
    )
    _mark_aims(axes, [1.0] * len(figures))


def waits(axes: Axes, figures: Sequence[Figure]) -> None:
    """Bars of times as shares of their aims: shorter is better, the aim is 1."""
    found = [figure for figure in figures if figure.aim and figure.ratio is not None]
    values = [figure.ratio or 0.0 for figure in found]
    colours = [GOOD if value <= 1 else BAD for value in values]
    _bars(
        axes, [_label(figure) for figure in found], values, colours, [f"{number(figure.value)} {figure.unit}" for figure in found]
    )
    _mark_aims(axes, [1.0] * len(found))


def beside_backlog(axes: Axes, figures: Sequence[Figure]) -> None:
    """Pairs of bars: alone, and beside a backlog; the text says how many times longer, the mark is the aim."""
    by_name = {figure.figure: figure for figure in figures}
    labels, values, colours, texts, aims = [], [], [], [], []
    for name, busy in by_name.items():
        idle = by_name.get(name.replace("_beside_backlog_", "_idle_"))
        if idle is None or "_beside_backlog_" not in name:
            continue
        most = None if busy.aim is None else idle.value * busy.aim
        labels += [_label(idle), _label(busy)]
        values += [idle.value, busy.value]
        colours += [PLAIN, GOOD if most is None or busy.value < most else BAD]
        texts += [f"{number(idle.value)} ms", f"{number(busy.value)} ms, {busy.ratio:.1f} times"]
        aims += [None, most]
    if values:
        _bars(axes, labels, values, colours, texts)
        _mark_aims(axes, aims)
    axes.set_xlabel("ms, p99")


def fleets(axes: Axes, figures: Sequence[Figure]) -> None:
    """Lines of readings stored a second over the number of devices, and what 0.8 of the smallest fleet is."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for figure in figures:
        if match := _FLEET.match(figure.figure):
            lines.setdefault(match["name"], []).append((int(match["size"]), figure.value))
    for (name, points), colour in zip(lines.items(), LINE_COLOURS, strict=False):
        sizes, rates = zip(*sorted(points), strict=True)
        axes.plot(sizes, rates, marker="o", color=colour, label=name.replace("_", ", "))
        axes.hlines(0.8 * rates[0], sizes[0], sizes[-1], color=colour, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("devices; dotted: 0.8 of the smallest fleet")
    axes.set_ylabel("readings stored a second")
    axes.legend(frameon=False, loc="lower left")


def _mark_aims(axes: Axes, aims: Sequence[float | None]) -> None:
    high = axes.get_xlim()[1]
    for place, aim in enumerate(aims):
        if aim is not None:
            high = max(high, aim * 1.05)
            middle = len(aims) - 1 - place
            axes.vlines(aim, middle - 0.42, middle + 0.42, color=AIM, linewidth=1.6)
    axes.set_xlim(0, high)


def _label(figure: Figure) -> str:
    text = re.sub(r"^(udp_ingest|chart|command|live)_", "", figure.figure)
    text = re.sub(r"_(per_cpu_s|at_\d+_per_s)|(?<=backlog)_p99|(?<=idle)_p99", "", text)
    return text.replace("_", " ")


PANELS: tuple[tuple[str, Drawer, str], ...] = (
    ("Rows, against the bare bulk insert in the same run (mark: aim)", ratios, _ROWS),
    ("udp-server, for a second of processor time (mark: aim)", per_cpu, r"^udp_ingest_.*_per_cpu_s$"),
    ("Live p99 alone and beside a backlog of 100,000 (mark: aim)", beside_backlog, r"^live_"),
    ("Fleets, from datagram to row", fleets, r"^fleet_.*_stored$"),
    ("A chart of one day at 1 Hz through the REST API, to its aim", waits, r"^chart_"),
    ("Waits, to their aims for p99", waits, r"^(udp_ack|command)_.*_p(50|99)$"),
)  # fmt: skip
"""Title, how it is drawn, and which figures go in."""
