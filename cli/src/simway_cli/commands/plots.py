"""``simway readings --plot``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simway_cli import charts
from simway_cli.client import device_path
from simway_cli.commands.asking import HOUR_US, aggregates, none_text, note_taken, point_us, texts_text, window_query
from simway_cli.errors import CliError, Exit
from simway_cli.parsing import Arguments, Run, time_range

POINTS_PER_COLUMN = 2
"""Braille characters are two dots wide."""


def plot(run: Run, args: Arguments) -> Exit:
    """Draws one frame a sensor; windows when ``--window`` is given, else readings reduced to the terminal's width."""
    width = run.screen.width or charts.WIDTH_DEFAULT
    if args.last is None and args.from_ is None and args.to is None:
        args.last = HOUR_US if args.window is None else args.window * width
    names = aggregates(args) if args.window is not None else ["value"]
    if args.window is not None:
        query = window_query(run, args) | {"fill": args.fill or "null", "points": args.points}
    else:
        from_us, to_us = time_range(run.times, args)
        points = args.points or width * POINTS_PER_COLUMN
        query = {"sensor": args.sensor, "from": from_us, "to": to_us, "points": points, "reduce": "minmax"}
    body = run.client.get(device_path(args.device, "readings"), query)
    if run.screen.json_:
        run.screen.document(body)
        return Exit.OK
    note_taken(run, body)
    drawable = [series for series in body["series"] if _numbers(series, names)]
    if not drawable:
        hint = texts_text(args) if _texts(run, args, body, query) else none_text(args)
        raise CliError("nothing to plot: no numbers in this time range", exit_=Exit.NOT_SO, hint=hint)
    _draw(run, args, drawable, names)
    left_out = [series["sensor"] for series in body["series"] if series not in drawable] + [
        series["sensor"] for series in drawable[charts.FRAMES_MAX :]
    ]
    if left_out:
        run.screen.note(f"Not plotted: {', '.join(left_out)}. --sensor NAME picks.")
    return Exit.OK


def _numbers(series: Any, names: Sequence[str]) -> bool:
    return any(isinstance(point.get(name), (int, float)) for point in series["points"] for name in names)


def _texts(run: Run, args: Arguments, body: Any, query: Mapping[str, Any]) -> bool:
    """Whether there are readings that are no numbers. Windows of them have a count and no average."""
    if args.window is None:
        return any(series["points"] for series in body["series"])
    counted = run.client.get(device_path(args.device, "readings"), {**query, "agg": "avg,count", "fill": "none"})
    points = [point for series in counted["series"] for point in series["points"]]
    return any(point["count"] and point["avg"] is None for point in points)


def _draw(run: Run, args: Arguments, drawable: Sequence[Any], names: Sequence[str]) -> None:
    from_us, to_us = time_range(run.times, args)
    times_us = [point_us(point) for series in drawable for point in series["points"]]
    range_us = (
        min(times_us) if from_us is None else from_us,
        to_us if to_us is not None else max(run.times.now_us if from_us else 0, *times_us),
    )
    height = charts.HEIGHT_LINES if len(drawable) == 1 else charts.HEIGHT_OF_MANY_LINES
    for series in drawable[: charts.FRAMES_MAX]:
        lines = [charts.Line(name, [(point_us(point), _number(point.get(name))) for point in series["points"]]) for name in names]
        unit = f" ({series['unit']})" if series["unit"] else ""
        how = charts.title_of(names)
        title = f"{args.device} {series['sensor']}{unit}" + (f": {how}" if how else "") + f", {run.times.name} time"
        run.screen.line(
            charts.draw(
                lines,
                run.times,
                title=title,
                width=run.screen.width,
                height=height,
                range_us=range_us,
                coloured=run.screen.style.on,
                braille=_takes_braille(run.screen.out.encoding),
            )
        )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _takes_braille(encoding: str | None) -> bool:
    try:
        "⠿┌…".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
