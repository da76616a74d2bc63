"""A run's figures as files: the lines themselves, a table in README.md between two marks, the plot as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import plot
from bench.figures import Figure, table

BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
LINES, PICTURES = "figures.jsonl", ("figures.svg", "figures.png")


def write(folder: Path, figures: Sequence[Figure], described: Sequence[str], day: str) -> None:
    """Writes all of it. ``described``: the machine; ``day``: of the run. ``ValueError`` for a README.md without the marks."""
    folder.mkdir(parents=True, exist_ok=True)
    readme = folder / "README.md"
    text = readme.read_text() if readme.exists() else f"# Figures\n\n{BEGIN}\n{END}\n"
    readme.write_text(replaced(text, section(figures, described, day)))
    (folder / LINES).write_text("".join(figure.line() + "\n" for figure in figures))
    for name in PICTURES:
        plot.draw(figures, f"{day}, {described[0]}", folder / name)


def section(figures: Sequence[Figure], described: Sequence[str], day: str) -> str:
    """What stands between the marks."""
    machine = "\n".join(f"- {line}" for line in described)
    return f"Taken on {day}:\n\n{machine}\n\n![The figures]({PICTURES[0]})\n\n{table(figures)}"


def replaced(text: str, new: str) -> str:
    """``text`` with ``new`` between the marks. ``ValueError`` when it lacks one."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md lacks the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{new}\n{END}{tail}"
