"""``simway export``: readings as CSV, NDJSON, Parquet or Arrow, to a file or standard output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from simway_cli.client import device_path
from simway_cli.errors import Exit, Usage
from simway_cli.files import whole_file
from simway_cli.output import Progress, size_text
from simway_cli.parsing import Arguments, Run, add_command, add_range, time_range

FORMATS = ("csv", "ndjson", "parquet", "arrow")
BINARY = frozenset({"parquet", "arrow"})
SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet", ".arrow": "arrow"}
QUIET_S = 300.0
"""An export that says nothing for so long is lost: the database may have to look at many rows first."""


def add(where: Any) -> None:
    """Adds the sub-command."""
    parser = add_command(
        where,
        "export",
        "Saves readings as CSV, NDJSON, Parquet or Arrow.",
        handler=_export,
        about="With -o the file appears only when it is whole: what breaks off leaves nothing behind.\n"
        "Without, it goes to standard output, and an exit status other than 0 says that it is not whole.",
        examples=[
            ("simway export demo -o demo.csv", "everything of a device"),
            ("simway export demo --last 1d -o day.parquet", "the last day; the name tells the format"),
            ("simway export demo truck-7 --sensor cpu -o two.csv.gz", "two devices, one sensor, compressed"),
            ("simway export --all --format ndjson | jq .value", "every device, into another program"),
        ],
    )
    parser.add_argument("devices", nargs="*", metavar="DEVICE")
    parser.add_argument("--all", action="store_true", help="every device")
    parser.add_argument("--format", choices=FORMATS, help="else by the name after -o, else csv")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to; '-' or nothing for standard output")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE when the new one is whole")
    parser.add_argument("--sensor", action="append", default=[], metavar="NAME", help="only this one; may be given several times")
    parser.add_argument(
        "--columns", metavar="NAMES", help="of device,sensor,time,t_us,value,kind,unit, in the order that is wanted"
    )
    parser.add_argument("--gzip", action="store_true", help="compress (csv, ndjson); a name that ends with .gz says so too")
    add_range(parser)


def _export(run: Run, args: Arguments) -> Exit:
    if bool(args.devices) == args.all:
        raise Usage("name the devices, or --all", hint="'simway devices' lists them.")
    output = None if args.output in (None, "-") else Path(args.output)
    path, query = _question(run, args, output)
    if output is None:
        return _to_stdout(run, query["format"], path, query)
    progress = Progress(run.screen, output.name)
    try:
        with whole_file(output, overwrite=args.overwrite) as file, run.client.stream(path, query, quiet_s=QUIET_S) as pieces:
            _copy(pieces, file, progress)
    finally:
        progress.end()
    if run.screen.json_:
        run.screen.document({"file": str(output), "format": query["format"], "bytes": progress.done})
    else:
        run.screen.note(f"{output}: {size_text(progress.done)}, whole")
    return Exit.OK


def _question(run: Run, args: Arguments, output: Path | None) -> tuple[str, dict[str, Any]]:
    from_us, to_us = time_range(run.times, args)
    packed = args.gzip or (output is not None and output.suffix == ".gz")
    name = output.stem if output is not None and output.suffix == ".gz" else output.name if output is not None else ""
    format_ = args.format or SUFFIXES.get(Path(name).suffix, "csv")
    if packed and format_ in BINARY:
        raise Usage(f"{format_} is compressed already", hint="Leave --gzip and .gz away.")
    query = {
        "format": format_,
        "sensor": args.sensor,
        "from": from_us,
        "to": to_us,
        "columns": args.columns,
        "compress": "gzip" if packed else None,
    }
    if len(args.devices) == 1:
        return device_path(args.devices[0], "export"), query
    return "export", query | {"device": args.devices}


def _to_stdout(run: Run, format_: str, path: str, query: dict[str, Any]) -> Exit:
    if run.screen.out.isatty() and (format_ in BINARY or query["compress"]):
        raise Usage("what is not text would garble the terminal", hint="Name a file: -o FILE, or pipe it into a program.")
    out: BinaryIO = run.screen.out.buffer
    progress = Progress(run.screen, "export") if not run.screen.out.isatty() else None
    try:
        with run.client.stream(path, query, quiet_s=QUIET_S) as pieces:
            _copy(pieces, out, progress)
    finally:
        if progress is not None:
            progress.end()
    out.flush()
    return Exit.OK


def _copy(pieces: Iterator[bytes], out: BinaryIO, progress: Progress | None) -> None:
    for piece in pieces:
        _write(out, piece)
        if progress is not None:
            progress.add(len(piece))


def _write(out: BinaryIO, piece: bytes) -> None:
    """All of it: with PYTHONUNBUFFERED standard output is a raw file, which may take less than it is given."""
    left = memoryview(piece)
    while left:
        left = left[out.write(left) :]
