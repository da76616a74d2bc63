"""``simway writers``: which recorder writes what, by which right, and whether a right holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simway_cli.errors import Exit, Refused, Usage
from simway_cli.parsing import Arguments, Run, add_command, group
from simway_cli.table import Cell, Column

REFUSALS = frozenset({"unknown_writer", "forged", "other_partition", "other_writer", "superseded", "expired"})
SHORT = 8


def add(where: Any) -> None:
    """Adds the sub-commands."""
    writers = add_command(
        where,
        "writers",
        "Recorders: who writes which partitions, by what right.",
        handler=_list,
        examples=[
            ("simway writers", "who records what"),
            ("simway writers --partitions", "one line a partition, with its fencing number"),
            ("simway writers --json | jq '.writers[0].rights[0].right' | simway writers verify -", "does a right hold?"),
        ],
    )
    writers.add_argument("--partitions", action="store_true", help="one line a partition")
    verbs = group(writers, title="what to do", name="verb")
    verify = add_command(
        verbs,
        "verify",
        "Does a write right hold now?",
        handler=_verify,
        about="Exit status 0 while it holds; 1 when it is forged, superseded, expired, or another's: the reason is shown.",
        examples=[("simway writers verify right.json", "a right as 'simway writers --json' shows it")],
    )
    verify.add_argument("file", metavar="FILE", help="JSON of a right; '-' for standard input")
    verify.add_argument("--partition", type=int, metavar="N", help="it must be of this partition")
    verify.add_argument("--writer", metavar="NAME", help="it must be this recorder's")


def _list(run: Run, args: Arguments) -> Exit:
    body = run.client.get("writers")
    if run.screen.json_:
        run.screen.document(body)
    elif args.partitions:
        _partitions(run, body["writers"])
    else:
        _writers(run, body["writers"])
    return Exit.OK


def _writers(run: Run, writers: Any) -> None:
    columns = [
        Column("writer"),
        Column("host", gives=True),
        Column("pid", right=True, spare=2),
        Column("state"),
        Column(f"since ({run.times.name})", spare=3),
        Column("seen"),
        Column("partitions", gives=True),
        Column("expired", right=True, spare=1),
    ]
    run.screen.table(columns, [_writer(run, item) for item in writers])
    if not writers:
        run.screen.note("No recorder has written yet.")


def _writer(run: Run, item: Any) -> list[str | Cell]:
    expired = sum(1 for held in item["rights"] if held["expired"])
    return [
        item["writer"][:SHORT],
        item["host"],
        str(item["pid"]),
        Cell("live", "green") if item["live"] else Cell("gone", "yellow"),
        run.times.short(item["started_us"]),
        run.times.ago(item["seen_us"]),
        spans(held["right"]["partition"] for held in item["rights"]) or "-",
        Cell(str(expired), "yellow") if expired else "-",
    ]


def spans(numbers: Iterable[int]) -> str:
    """``0-3,7`` of 0, 1, 2, 3 and 7."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _partitions(run: Run, writers: Any) -> None:
    columns = [
        Column("topic", spare=2),
        Column("partition", right=True),
        Column("writer"),
        Column("number", right=True),
        Column(f"granted ({run.times.name})", spare=1),
        Column("until"),
    ]
    rights = [held for writer in writers for held in writer["rights"]]
    rights.sort(key=lambda held: (held["right"]["log_id"], held["right"]["topic"], held["right"]["partition"]))
    run.screen.table(columns, [_right(run, held) for held in rights])


def _right(run: Run, held: Any) -> list[str | Cell]:
    right = held["right"]
    return [
        right["topic"],
        str(right["partition"]),
        right["writer"][:SHORT],
        str(right["number"]),
        run.times.short(right["granted_us"]),
        Cell("expired", "yellow") if held["expired"] else run.times.ago(right["expires_us"]),
    ]


def _verify(run: Run, args: Arguments) -> Exit:
    body = {"right": _read(args.file), "partition": args.partition, "writer": args.writer}
    try:
        verdict = run.client.send("POST", "writers/verify", body)
    except Refused as error:
        if error.reason not in REFUSALS:
            raise
        _show(run, {"valid": False, "reason": error.reason, "detail": str(error)}, Cell(f"{error.reason}: {error}", "red"))
        return Exit.NOT_SO
    _show(run, verdict, Cell(f"it holds, until {verdict['expires_at']}", "green"))
    return Exit.OK


def _show(run: Run, body: Any, cell: Cell) -> None:
    if run.screen.json_:
        run.screen.document(body)
    else:
        run.screen.facts({"right": cell})


def _read(name: str) -> Any:
    try:
        right = json.loads(sys.stdin.read() if name == "-" else Path(name).read_text())
    except (OSError, ValueError) as error:
        raise Usage(f"{name}: {error}", hint="Give a right as 'simway writers --json' shows it, under 'right'.") from error
    return right["right"] if isinstance(right, dict) and isinstance(right.get("right"), dict) else right
