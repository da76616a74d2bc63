"""``simway retention``: how long readings are kept, and for how long they are to be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from simway_cli.errors import Exit, Usage
from simway_cli.parsing import Arguments, Run, add_command, group
from simway_cli.table import Column
from simway_cli.times import SECOND_US, duration_text, duration_us

TIERS = ("raw", "minute", "hour", "day")
FOR_EVER = ("forever", "0")
KEEP_MIN_S, KEEP_MAX_S = 86_400, 36_500 * 86_400
"""What the server takes (docs/store.md)."""
_WHAT = {"raw": "every reading", "minute": "windows of a minute", "hour": "windows of an hour", "day": "windows of a day"}


class Change(NamedTuple):
    """``keep_s``: 0 for ever."""

    tier: str
    keep_s: int


def add(where: Any) -> None:
    """Adds the sub-commands."""
    retention = add_command(
        where,
        "retention",
        "How long readings and their windows are kept.",
        handler=_show,
        about="Raw readings and each rollup (minute, hour, day) have a time of their own; newest values and the ledger stay.\n"
        "How long raw readings are kept is also how old a reading may be that comes in: gateways refuse older ones (too_old).",
        examples=[
            ("simway retention", "what holds now, and who said so"),
            ("simway retention set raw=90d minute=1y", "keep longer"),
            ("simway retention set day=forever", "never delete"),
        ],
    )
    verbs = group(retention, title="what to do", name="verb")
    add_command(verbs, "show", "What holds now.", handler=_show, examples=[("simway retention show --json", "for a program")])
    set_ = add_command(
        verbs,
        "set",
        "Says how long to keep a tier.",
        handler=_set,
        about="It takes effect within minutes. What is older than a shorter time is deleted for good and has to be confirmed:\n"
        "on a terminal by a question, elsewhere by --yes.",
        examples=[
            ("simway retention set raw=90d minute=1y", "90 days of readings, a year of minutes"),
            ("simway retention set raw=7d --yes", "less than now: older readings are deleted"),
        ],
    )
    set_.add_argument("changes", nargs="+", type=change, metavar="TIER=SPAN", help="of raw, minute, hour, day; 30d, 2y, forever")
    set_.add_argument("--yes", action="store_true", help="delete what is older, without a question")


def change(text: str) -> Change:
    """``raw=30d``."""
    tier, _, span = text.partition("=")
    if tier not in TIERS or not span:
        raise argparse.ArgumentTypeError(f"{text!r} does not say how long to keep what: write raw=30d, minute=1y, day=forever")
    if span in FOR_EVER:
        return Change(tier, 0)
    try:
        keep_s = duration_us(span) // SECOND_US
    except Usage as error:
        raise argparse.ArgumentTypeError(f"{error}. {error.hint}") from error
    if not KEEP_MIN_S <= keep_s <= KEEP_MAX_S:
        raise argparse.ArgumentTypeError(f"{text!r}: a tier is kept for 1d to {KEEP_MAX_S // 86_400}d, or forever")
    return Change(tier, keep_s)


def keep_text(keep_s: int) -> str:
    """How long, in words."""
    return "for ever" if keep_s == 0 else duration_text(keep_s * SECOND_US)


def _show(run: Run, _: Arguments) -> Exit:
    _shown(run, run.client.get("retention"))
    return Exit.OK


def _shown(run: Run, body: Any) -> None:
    if run.screen.json_:
        run.screen.document(body)
        return
    columns = [
        Column("tier"),
        Column("what", spare=1),
        Column("kept"),
        Column(f"set ({run.times.name})"),
        Column("by", gives=True),
    ]
    rows = [
        [item["tier"], _WHAT.get(item["tier"], ""), keep_text(item["keep_s"]), run.times.short(item["updated_us"]), item["actor"]]
        for item in body["tiers"]
    ]
    run.screen.table(columns, rows)


def _set(run: Run, args: Arguments) -> Exit:
    wanted = dict(args.changes)
    if len(wanted) < len(args.changes):
        raise Usage("a tier is named twice")
    now = {item["tier"]: item["keep_s"] for item in run.client.get("retention")["tiers"]}
    shorter = [tier for tier, keep_s in wanted.items() if keep_s and (not now[tier] or keep_s < now[tier])]
    if shorter and not args.yes:
        _confirm(run, shorter, wanted)
    tiers = [{"tier": tier, "keep_s": keep_s} for tier, keep_s in wanted.items()]
    _shown(run, run.client.send("PUT", "retention", {"tiers": tiers}))
    return Exit.OK


def _confirm(run: Run, shorter: list[str], wanted: Mapping[str, int]) -> None:
    what = ", ".join(f"{_WHAT[tier]} older than {keep_text(wanted[tier])}" for tier in shorter)
    if not sys.stdin.isatty():
        raise Usage(f"this deletes for good: {what}", hint="Say --yes if that is meant.")
    run.screen.err.write(f"This deletes for good: {what}. Type yes to go on: ")
    run.screen.err.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise Usage("nothing was changed")
