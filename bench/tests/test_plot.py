"""The picture and the report, from figures alone."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plot, report
from bench.figures import Figure, read_lines

FIGURES = [
    Figure("end_to_end_embedded_bare", 300_000, "rows/s", "executemany"),
    Figure("end_to_end_embedded", 120_000, "rows/s", "executemany in the same run, aim 0.3", 0.4),
    Figure("recorder_postgresql", 100_000, "rows/s", "COPY in the same run, aim 0.5", 0.45),
    Figure("recorder_sqlite_many_devices", 50_000, "rows/s", "executemany in the same run", 0.2),
    Figure("udp_ingest_embedded_1_per_cpu_s", 25_260, "uplinks/CPU-s", "aim 25000", 1.01),
    Figure("live_ack_embedded_idle_p99", 12, "ms", "no backlog"),
    Figure("live_ack_embedded_beside_backlog_p99", 30, "ms", "its value without a backlog, aim under 4", 2.5),
    Figure("fleet_embedded_1000_stored", 60_000, "readings/s", "1000 devices in the same run", 1.0),
    Figure("fleet_embedded_100000_stored", 50_000, "readings/s", "1000 devices in the same run, aim 0.8", 0.83),
    Figure("chart_sqlite_from_rollup_p50", 12.5, "ms", "aim 50", 0.25),
    Figure("command_embedded_switch_p99", 0.216, "s", "aim 2", 0.11),
]


def words(path: Path) -> str:
    return " ".join("".join(element.itertext()) for element in ElementTree.parse(path).iter() if element.tag.endswith("text"))


def test_each_group_has_a_panel_with_its_figures(tmp_path: Path) -> None:
    plot.draw(FIGURES, "one machine", tmp_path / "all.svg")
    text = words(tmp_path / "all.svg")
    for title, _, _ in plot.PANELS:
        assert title in text
    for part in ("0.40", "120,000 rows/s", "2.5 times", "12.5 ms", "0.216 s", "many devices", "one machine"):
        assert part in text
    assert "bare" not in text.replace("bare bulk insert", "")


def test_the_same_figures_give_the_same_svg(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        plot.draw(FIGURES[:2], "", tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("figures", [[], FIGURES[6:7], [Figure("chart_x_p50", 0, "ms", "aim 50", 0)]])
def test_few_figures_are_a_picture_too(tmp_path: Path, figures: list[Figure]) -> None:
    plot.draw(figures, "", tmp_path / "few.png")
    assert (tmp_path / "few.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_lines_table_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"# Bench\n\nBefore.\n\n{report.BEGIN}\nold\n{report.END}\n\nAfter.\n")
    report.write(tmp_path, FIGURES[-2:], ["a processor, 2 cores", "Python 3"], "2026-11-22")
    text = (tmp_path / "README.md").read_text()
    assert "old" not in text
    assert text.startswith("# Bench\n\nBefore.\n")
    assert text.endswith(f"{report.END}\n\nAfter.\n")
    assert "| chart_sqlite_from_rollup_p50 | 12.5 | ms | aim 50 | 0.25 |" in text
    assert "- a processor, 2 cores\n- Python 3\n" in text
    assert read_lines((tmp_path / report.LINES).read_text().splitlines()) == FIGURES[-2:]
    assert all((tmp_path / name).stat().st_size > 1000 for name in report.PICTURES)


def test_a_readme_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        report.replaced("# Bench\n", "table")


def test_the_readme_of_the_bench_has_its_marks() -> None:
    text = (Path(report.__file__).parent / "README.md").read_text()
    assert report.replaced(text, "x").count(report.BEGIN) == 1
