"""``simway import``: history from a CSV file."""

from __future__ import annotations

import gzip
import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import IO, Any

from simway_cli.client import device_path
from simway_cli.csv_parts import Part, bounded_lines, parts
from simway_cli.errors import CliError, Exit, Usage
from simway_cli.output import Progress
from simway_cli.parsing import Arguments, Run, add_command
from simway_cli.table import Cell, Column

COUNTS = ("lines", "readings", "stored", "duplicate", "conflict", "refused", "empty")
BAD_SHOWN = 20
GZIP = b"\x1f\x8b"
"""The first bytes of a packed file (RFC 1952, 2.3.1)."""
FLAGS = {"text": "--text", "open_end": "--open-end", "utc": "--utc-times"}


def add(where: Any) -> None:
    """Adds the sub-command."""
    parser = add_command(
        where,
        "import",
        "Takes a CSV file into a device's history.",
        handler=_import,
        about="Long form: a reading a line, with columns time, sensor, value (and unit), as 'simway export' writes them.\n"
        "Wide form: a sensor a column; it is taken so when there is no column for the value.\n"
        "What is there already counts as a duplicate, so the same file may be given again.\n"
        "Exit status 0 when every reading is in, 1 when lines were bad or readings not taken: they are listed.",
        examples=[
            ("simway import demo history.csv", "columns time, sensor, value"),
            ("simway import demo wide.csv --time-column when --utc", "a sensor a column; times without an offset are UTC"),
            ("simway import demo temp.csv --sensor temp --unit Cel", "one sensor; the file has time and value alone"),
            ("zcat old.csv.gz | simway import demo -", "from standard input"),
        ],
    )
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("file", metavar="FILE", help="may be packed with gzip; '-' for standard input, unpacked")
    columns = parser.add_argument_group("columns, by their names in the header")
    columns.add_argument("--time-column", metavar="NAME", help="when (default time)")
    columns.add_argument("--sensor-column", metavar="NAME", help="which sensor (default sensor)")
    columns.add_argument("--value-column", metavar="NAME", help="the value (default value)")
    columns.add_argument("--unit-column", metavar="NAME", help="its unit (default unit)")
    columns.add_argument("--kind-column", metavar="NAME", help="float, integer, boolean, string or object (default kind)")
    columns.add_argument("--delimiter", choices=(",", ";", "tab", "|"), help="between columns (default ,)")
    more = parser.add_argument_group("what the file does not say")
    more.add_argument("--sensor", metavar="NAME", help="the sensor of every line")
    more.add_argument("--unit", metavar="UNIT", help="the unit of readings for which the file names none (SenML: Cel, %%RH, V)")
    more.add_argument("--utc-times", action="store_true", help="times without an offset are UTC (--utc says so too)")
    more.add_argument("--text", action="store_true", help="take what is no number and no boolean as a string")
    more.add_argument("--open-end", action="store_true", help="take a last line without a line end; else it counts as half")


def _import(run: Run, args: Arguments) -> Exit:
    query = {
        "time_column": args.time_column,
        "sensor_column": args.sensor_column,
        "value_column": args.value_column,
        "unit_column": args.unit_column,
        "kind_column": args.kind_column,
        "sensor": args.sensor,
        "unit": args.unit,
        "text": _flag(args.text),
        "utc": _flag(args.utc_times or run.times.name == "UTC"),
        "open_end": _flag(args.open_end),
        "delimiter": "\t" if args.delimiter == "tab" else args.delimiter,
    }
    path = device_path(args.device, "import")
    total: dict[str, Any] = {"device": args.device, **dict.fromkeys(COUNTS, 0), "rejected": {}, "bad_lines": []}
    with _opened(args.file) as file:
        progress = Progress(run.screen, args.file, _size(file))
        try:
            for part in _parts(args.file, file):
                _add(total, _send(run, path, query, part, total))
                progress.add(len(part.data))
        finally:
            progress.end()
    if run.screen.json_:
        run.screen.document(total)
    else:
        _show(run, args, total)
    return Exit.OK if total["stored"] + total["duplicate"] == total["readings"] and not total["rejected"] else Exit.NOT_SO


def _flag(on: bool) -> str | None:
    return "true" if on else None


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115
    except OSError as error:
        raise Usage(f"{name}: {error.strerror}", hint="Name a CSV file, or '-' for standard input.") from error
    with file:
        if _first_bytes(name, file) != GZIP:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked


def _first_bytes(name: str, file: BufferedReader) -> bytes:
    try:
        return file.peek(len(GZIP))[: len(GZIP)]
    except OSError as error:
        raise Usage(f"{name}: {error.strerror}", hint="Name a CSV file, or '-' for standard input.") from error


def _size(file: IO[bytes] | gzip.GzipFile) -> int:
    """0 where nobody knows it before the end."""
    if isinstance(file, gzip.GzipFile):
        return 0
    try:
        return os.fstat(file.fileno()).st_size
    except OSError:
        return 0


def _parts(name: str, file: IO[bytes] | gzip.GzipFile) -> Iterator[Part]:
    try:
        yield from parts(bounded_lines(file))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise Usage(
            f"{name}: {error}", hint="Is this a CSV file? What came before is in; give it again when it is put right."
        ) from error


def _send(run: Run, path: str, query: dict[str, Any], part: Part, so_far: dict[str, Any]) -> Any:
    asked = dict(query) if part.first_line == 1 else query | {"header": part.header, "first_line": part.first_line}
    if not part.last:
        asked["open_end"] = None
    try:
        return run.client.upload(path, part.data, asked, "text/csv")
    except CliError as error:
        error.args = (_as_flags(str(error)),)
        if part.first_line > 1:
            error.lines.append(f"lines 1 to {part.first_line - 1} are in ({so_far['stored']} readings stored)")
            error.hint = f"{error.hint} Give the same file again: what is in counts as duplicates.".strip()
        raise


def _as_flags(text: str) -> str:
    """The API's words for its parameters as those of the command line."""
    text = re.sub(r"\b(time|sensor|value|unit|kind)_column\b", r"--\1-column", text)
    return re.sub(r"\b(text|open_end|utc)=true", lambda found: FLAGS[found[1]], text)


def _add(total: dict[str, Any], reply: Any) -> None:
    for name in COUNTS:
        total[name] += reply[name]
    for reason, count in reply["rejected"].items():
        total["rejected"][reason] = total["rejected"].get(reason, 0) + count
    total["bad_lines"] += reply["bad_lines"]


def _show(run: Run, args: Arguments, total: dict[str, Any]) -> None:
    rejected = sum(total["rejected"].values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in total["rejected"].items())
    run.screen.facts(
        {
            "lines": str(total["lines"]),
            "stored": Cell(str(total["stored"]), "green" if total["stored"] else ""),
            "duplicate": str(total["duplicate"]),
            "conflict": Cell(str(total["conflict"]), "yellow") if total["conflict"] else None,
            "refused": Cell(str(total["refused"]), "red") if total["refused"] else None,
            "bad": Cell(f"{rejected} ({reasons})", "red") if rejected else None,
            "empty cells": str(total["empty"]) if total["empty"] else None,
        }
    )
    bad = total["bad_lines"]
    if bad:
        columns = [
            Column("line", right=True),
            Column("reason"),
            Column("column", gives=True),
            Column("what is wrong", gives=True),
        ]
        run.screen.line()
        run.screen.table(
            columns,
            [[str(item["line"]), item["reason"], item["column"] or "-", _as_flags(item["detail"])] for item in bad[:BAD_SHOWN]],
        )
    if rejected > BAD_SHOWN:
        run.screen.note(f"The first {min(BAD_SHOWN, len(bad))} of {rejected} bad lines; --json lists up to 100 a part.")
    if total["conflict"]:
        run.screen.note(f"Conflicts are kept: 'simway dead-letters --device {args.device}'.")
