"""``python -m bench``: each figure as one JSON object a line on standard output, progress and a table on standard error."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simway_backbone import logs
from simway_testing import Unavailable

from bench import machine, report
from bench.figures import Figure, progress, table
from bench.groups import GROUPS, QUICK_GROUPS, Run
from bench.stored import made


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. ``report``: the folder that table and plots go to, or None."""

    groups: tuple[str, ...]
    quick: bool
    embedded_alone: bool
    report: Path | None


def parse(arguments: Sequence[str]) -> Options:
    """The command line; ends the program with a message where that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"short runs; without --only: {', '.join(QUICK_GROUPS)}, under 50 s")
    parser.add_argument(
        "--only", action="append", metavar="GROUP", default=[], help=f"just these, by commas: {', '.join(GROUPS)}"
    )
    parser.add_argument("--embedded", action="store_true", help="without a Kafka broker and PostgreSQL")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write figures.jsonl, plots and README's table there")
    given = parser.parse_args(arguments)
    chosen = [name for names in given.only for name in names.split(",")]
    if unknown := [name for name in chosen if name not in GROUPS]:
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    usual = QUICK_GROUPS if given.quick else tuple(GROUPS)
    groups = tuple(name for name in GROUPS if name in chosen) if chosen else usual
    return Options(groups, given.quick, given.embedded, given.report)


def main() -> None:
    """Runs what was asked for. SIGTERM ends it as Ctrl-C does, with all that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = parse(sys.argv[1:])
    logs.configure("bench", "warning")
    figures: list[Figure] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="simway-bench-", dir=machine.place()) as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user than root
        described = machine.describe(directory)
        for line in described:
            progress(line)
        began = time.monotonic()
        for number, group in enumerate(options.groups, 1):
            progress(f"[{number}/{len(options.groups)}] {group}, after {time.monotonic() - began:.0f} s")
            try:
                with contextlib.ExitStack() as servers:
                    run = Run(made(directory / group), servers, quick=options.quick, embedded_alone=options.embedded_alone)
                    figures += GROUPS[group](run)
            except (SystemExit, Unavailable, AssertionError) as error:
                progress(f"{group} gave up: {error}")
                failed.append(group)
    print("\n" + "\n".join(described) + f"\n\n{table(figures)}", file=sys.stderr)
    if options.report is not None:
        report.write(options.report, figures, described, time.strftime("%Y-%m-%d", time.gmtime()))
    if failed:
        sys.exit(f"without all figures of {', '.join(failed)}: see above")


if __name__ == "__main__":
    main()
