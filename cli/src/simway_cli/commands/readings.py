"""``simway readings``: tables, the newest values, windows, plots, and readings as they come."""

from __future__ import annotations

from typing import Any

from simway_cli.client import device_path
from simway_cli.commands import live, plots
from simway_cli.commands.asking import (
    aggregates,
    newest,
    none_text,
    note_taken,
    point_us,
    short_number,
    value_text,
    window_query,
)
from simway_cli.errors import Exit, Usage
from simway_cli.parsing import Arguments, Run, add_command, add_limit, add_range, duration, positive
from simway_cli.table import Cell, Column
from simway_cli.times import duration_text

LIMIT_DEFAULT = 50
AGGREGATES = "avg, min, max, sum, count, first, last, p50, p95, p99"


def add(where: Any) -> None:
    """Adds the sub-command."""
    parser = add_command(
        where,
        "readings",
        "Readings of a device: table, plot, windows, live.",
        handler=_readings,
        about="Without a time range it shows the newest readings, the oldest of them first.",
        examples=[
            ("simway readings demo", f"the newest {LIMIT_DEFAULT}"),
            ("simway readings demo --latest", "the newest of each sensor"),
            ("simway readings demo --sensor cpu --last 1h --plot", "a plot with a time axis"),
            ("simway readings demo --last 1d --window 1h --agg avg,min,max", "one line an hour and sensor"),
            ("simway readings demo --sensor cpu --follow", "as they come, until Ctrl-C"),
            ("simway readings demo --from 2026-01-31 --to 2026-02-01 --limit 0 --json", "a whole day for a program"),
        ],
    )
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("--sensor", action="append", default=[], metavar="NAME", help="only this one; may be given several times")
    add_range(parser)
    add_limit(parser, LIMIT_DEFAULT, "readings, the newest ones")
    what = parser.add_argument_group("what to show").add_mutually_exclusive_group()
    what.add_argument("--latest", action="store_true", help="the newest reading of each sensor")
    what.add_argument(
        "--plot",
        action="store_true",
        help="a plot for the terminal, one frame a sensor (default: the last hour, or a window a column)",
    )
    what.add_argument("--follow", action="store_true", help="readings as they come, until Ctrl-C; --last shows what was before")
    windows = parser.add_argument_group("windows")
    windows.add_argument("--window", type=duration, metavar="SPAN", help="one row a window of this length: 5s, 1m, 1h, 1d")
    windows.add_argument("--agg", metavar="NAMES", help=f"of {AGGREGATES} (any pNN); default avg,min,max")
    windows.add_argument(
        "--fill",
        choices=("none", "null", "previous", "linear", "zero"),
        help="what stands in a window without readings (default: none, no line; with --plot null, a gap)",
    )
    parser.add_argument(
        "--points", type=positive, metavar="N", help="points of a plotted line (default: by the terminal's width)"
    )


def _readings(run: Run, args: Arguments) -> Exit:
    if args.window is None and (args.agg or args.fill):
        raise Usage("--agg and --fill are about windows", hint="Say how long one is: --window 1m.")
    if args.window is not None and (args.latest or args.follow):
        raise Usage("--window goes with a table or --plot", hint="Leave --latest or --follow away.")
    if args.points is not None and not args.plot:
        raise Usage("--points is about plots", hint="Say --plot too; --limit is about tables.")
    if args.latest and (args.last is not None or args.from_ is not None or args.to is not None):
        raise Usage("--latest is the newest of each sensor, whenever it was", hint="Leave --latest or the time range away.")
    if args.latest:
        return _latest(run, args)
    if args.follow:
        return live.follow(run, args)
    if args.plot:
        return plots.plot(run, args)
    return _windows(run, args) if args.window is not None else _table(run, args)


def _columns(run: Run) -> list[Column]:
    return [
        Column(f"time ({run.times.name})"),
        Column("sensor", gives=True),
        Column("value", right=True, gives=True),
        Column("unit", spare=1),
    ]


def _row(run: Run, item: Any) -> list[str | Cell]:
    return [run.times.text(item["t_us"]), item["sensor"], value_text(item["value"]), item["unit"] or ""]


def _table(run: Run, args: Arguments) -> Exit:
    readings, more = newest(run, args)
    run.screen.cut_note(len(readings), more)
    if run.screen.json_:
        run.screen.document({"device": args.device, "readings": readings, "more": more})
        return Exit.OK
    run.screen.table(_columns(run), [_row(run, item) for item in readings])
    if not readings:
        run.screen.note(none_text(args))
    return Exit.OK


def _latest(run: Run, args: Arguments) -> Exit:
    body = run.client.get(device_path(args.device, "readings", "latest"))
    readings = [item for item in body["readings"] if not args.sensor or item["sensor"] in args.sensor]
    if run.screen.json_:
        run.screen.document({"device": args.device, "readings": readings})
        return Exit.OK
    columns = [
        Column("sensor", gives=True),
        Column("value", right=True, gives=True),
        Column("unit"),
        Column(f"time ({run.times.name})"),
        Column("age", spare=1),
    ]
    run.screen.table(
        columns,
        [
            [
                item["sensor"],
                value_text(item["value"]),
                item["unit"] or "",
                run.times.text(item["t_us"]),
                run.times.ago(item["t_us"]),
            ]
            for item in readings
        ],
    )
    if not readings:
        run.screen.note("No readings yet.")
    return Exit.OK


def _windows(run: Run, args: Arguments) -> Exit:
    body = run.client.get(device_path(args.device, "readings"), window_query(run, args))
    if run.screen.json_:
        run.screen.document(body)
        return Exit.OK
    names = aggregates(args)
    rows = sorted(
        (point_us(point), series["sensor"], series["unit"] or "", [short_number(point.get(name)) for name in names])
        for series in body["series"]
        for point in series["points"]
    )
    shown = rows[-args.limit :] if args.limit else rows
    columns = [
        Column(f"from ({run.times.name})"),
        Column("sensor", gives=True),
        *(Column(name, right=True) for name in names),
        Column("unit", spare=1),
    ]
    run.screen.table(columns, [[run.times.short(t_us), sensor, *values, unit] for t_us, sensor, unit, values in shown])
    note = f"Windows of {duration_text(body['window_us'])}, from {body['tier']} data."
    run.screen.note(note if len(shown) == len(rows) else f"{note} The newest {len(shown)}; --limit 0 gives all.")
    note_taken(run, body)
    return Exit.OK
