"""What ``simway readings`` asks the API, and how values read."""

from __future__ import annotations

import json
from math import floor, log10
from typing import Any

from simway_cli.client import device_path
from simway_cli.errors import Usage
from simway_cli.parsing import Arguments, Run, time_range
from simway_cli.times import duration_text

PAGE_MAX = 5_000
HOUR_US = 3_600_000_000
WINDOWS_DEFAULT = 50


def value_text(value: Any) -> str:
    """A value as people read it: numbers short, objects as JSON."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_number(value: Any) -> str:
    """A number to six digits, never as a power of ten where it can be helped: averages have more digits than meaning."""
    if isinstance(value, bool) or not isinstance(value, float) or value == 0 or not 1e-6 < abs(value) < 1e15:
        return value_text(value)
    text = f"{value:.{max(0, 5 - floor(log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def newest(run: Run, args: Arguments) -> tuple[list[Any], bool]:
    """The newest readings of the range, oldest first, and whether there are more."""
    from_us, to_us = time_range(run.times, args)
    query = {"sensor": args.sensor, "from": from_us, "to": to_us, "order": "desc"}
    path = device_path(args.device, "readings")
    found, more = run.client.some(path, "readings", query, limit=args.limit, page_max=PAGE_MAX)
    return found[::-1], more


def none_text(args: Arguments) -> str:
    """What to do about an empty answer."""
    return f"No readings. 'simway readings {args.device} --latest' shows which sensors there are, and their newest time."


def texts_text(args: Arguments) -> str:
    """What to do about readings that have no plot."""
    return f"There are only text and objects. Leave --plot away: 'simway readings {args.device}' lists them."


def aggregates(args: Arguments) -> list[str]:
    """What each window is to say, in order."""
    return [name.strip() for name in (args.agg or "avg,min,max").split(",") if name.strip()]


def window_query(run: Run, args: Arguments) -> dict[str, Any]:
    """The question of ``--window``; without a time range the last ones."""
    if args.last is None and args.from_ is None and args.to is None:
        args.last = args.window * (args.limit or WINDOWS_DEFAULT)
    from_us, to_us = time_range(run.times, args)
    return {
        "sensor": args.sensor,
        "from": from_us,
        "to": to_us,
        "window": window_text(args.window),
        "agg": ",".join(aggregates(args)),
        "fill": args.fill,
    }


def window_text(span_us: int) -> str:
    """A window as the API takes it: a whole number of its largest unit."""
    for unit, size_us in (("d", 24 * HOUR_US), ("h", HOUR_US), ("m", HOUR_US // 60), ("s", 1_000_000), ("ms", 1_000)):
        if span_us % size_us == 0:
            return f"{span_us // size_us}{unit}"
    raise Usage(f"a window of {duration_text(span_us)} is too fine", hint="Write 5s, 1m, 1h or 1d.")


def point_us(point: Any) -> int:
    """When a point is, or its window begins."""
    return int(point["t"])


def note_taken(run: Run, body: Any) -> None:
    """Says what retention has taken of what was asked."""
    if body.get("known_from_us") is not None:
        moment = run.times.short(body["known_from_us"])
        run.screen.note(
            f"Windows of this width are known from {moment} on: retention has taken older ones. Wider ones may be there."
        )
    elif body.get("raw_from_us") is not None:
        run.screen.note(
            f"Percentiles are known from {run.times.short(body['raw_from_us'])} on: retention has taken older readings."
        )
