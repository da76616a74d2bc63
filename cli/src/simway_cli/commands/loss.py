"""``simway loss``: what became of every reading that was ever sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simway_cli.client import device_path
from simway_cli.errors import Exit
from simway_cli.parsing import Arguments, Run, add_command, add_limit
from simway_cli.table import Cell, Column

RANGES_SHOWN = 20
PAGE_MAX = 500


def add(where: Any) -> None:
    """Adds the sub-command."""
    parser = add_command(
        where,
        "loss",
        "The loss ledger: what became of every reading, of a device or of all.",
        handler=_loss,
        about="sent = stored + duplicate + conflict + rejected + dropped + missing, always; redelivered stands beside it.\n"
        "Exit status 0 when it balances, else 1; with --check also 1 when anything is missing or was dropped.",
        examples=[
            ("simway loss", "all devices, and the totals"),
            ("simway loss demo", "one device, with the ranges that are missing"),
            ("simway loss --only missing", "devices that lack something"),
            ("simway loss --check --json >/dev/null || mail ...", "for a script: was anything lost?"),
        ],
    )
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="without: the whole fleet")
    parser.add_argument("--only", choices=("missing", "unbalanced"), help="of the fleet: devices with such readings")
    parser.add_argument("--check", action="store_true", help="exit status 1 when anything is missing or was dropped")
    add_limit(parser, 50, "devices")


def _loss(run: Run, args: Arguments) -> Exit:
    balance = _device(run, args) if args.device is not None else _fleet(run, args)
    lost = args.check and (balance["missing"] or balance["dropped"])
    return Exit.OK if balance["balanced"] and not lost else Exit.NOT_SO


def _device(run: Run, args: Arguments) -> Any:
    body = run.client.get(device_path(args.device, "loss"))
    if run.screen.json_:
        run.screen.document(body)
        return body
    run.screen.facts({"device": body["device"], **_facts(body)})
    if body["epochs"]:
        run.screen.line()
        _epochs(run, body["epochs"])
    missing = body["missing_ranges"]
    for gap in missing[:RANGES_SHOWN]:
        run.screen.line(
            run.screen.paint(f"missing in epoch {gap['epoch'] or '-'}: {_range(gap['first'], gap['last'])}", "yellow")
        )
    if len(missing) > RANGES_SHOWN:
        run.screen.note(f"The first {RANGES_SHOWN} of {len(missing)} missing ranges; --json has them all.")
    _log_gaps(run, body["log_gaps"])
    return body


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last} ({last - first + 1})"


def _facts(body: Mapping[str, Any]) -> dict[str, str | Cell | None]:
    rejected = sum(body["rejected"].values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(body["rejected"].items()))
    return {
        "sent": str(body["sent"]),
        "= stored": str(body["stored"]),
        "+ duplicate": str(body["duplicate"]),
        "+ conflict": _count(body["conflict"]),
        "+ rejected": Cell(f"{rejected} ({reasons})", "yellow") if rejected else "0",
        "+ dropped": _count(body["dropped"]),
        "+ missing": _count(body["missing"]),
        "balance": Cell("holds", "green") if body["balanced"] else Cell("does not hold: this is a defect of Simway", "red"),
        "redelivered": str(body["redelivered"]),
    }


def _count(count: int) -> Cell:
    return Cell(str(count), "yellow" if count else "")


_COUNTS = [
    Column("sent", right=True),
    Column("stored", right=True),
    Column("duplicate", right=True, spare=2),
    Column("conflict", right=True),
    Column("rejected", right=True),
    Column("dropped", right=True),
    Column("missing", right=True),
    Column("redelivered", right=True, spare=1),
    Column("", spare=3),
]


def _counts(body: Mapping[str, Any]) -> list[str | Cell]:
    return [
        str(body["sent"]),
        str(body["stored"]),
        str(body["duplicate"]),
        _count(body["conflict"]),
        _count(sum(body["rejected"].values())),
        _count(body["dropped"]),
        _count(body["missing"]),
        str(body["redelivered"]),
        Cell("" if body["balanced"] else "UNBALANCED", "red"),
    ]


def _epochs(run: Run, epochs: Sequence[Any]) -> None:
    columns = [Column("epoch", gives=True), Column(f"since ({run.times.name})", spare=4), *_COUNTS]
    run.screen.table(columns, [[item["epoch"] or "-", run.times.short(item["first_us"]), *_counts(item)] for item in epochs])


def _fleet(run: Run, args: Arguments) -> Any:
    first = run.client.get("loss", {"only": args.only, "limit": min(args.limit or PAGE_MAX, PAGE_MAX)})
    totals, devices, cursor = first["totals"], list(first["devices"]), first["next_cursor"]
    while cursor is not None and (not args.limit or len(devices) < args.limit):
        wanted = min(args.limit - len(devices), PAGE_MAX) if args.limit else PAGE_MAX
        page = run.client.get("loss", {"only": args.only, "limit": wanted, "cursor": cursor})
        devices += page["devices"]
        cursor = page["next_cursor"]
    run.screen.cut_note(len(devices), cursor is not None, "first")
    if run.screen.json_:
        run.screen.document({"totals": totals, "devices": devices, "more": cursor is not None, "log_gaps": first["log_gaps"]})
        return totals
    numbers = f"{totals['devices']} ({totals['missing_devices']} lack readings, {totals['unbalanced_devices']} do not balance)"
    run.screen.facts({"devices": numbers, **_facts(totals)})
    if devices:
        run.screen.line()
        columns = [Column("device", gives=True), Column("epochs", right=True, spare=4), *_COUNTS]
        run.screen.table(columns, [[item["device"], str(item["epochs"]), *_counts(item)] for item in devices])
    _log_gaps(run, first["log_gaps"])
    return totals


def _log_gaps(run: Run, gaps: Sequence[Any]) -> None:
    for gap in gaps[:RANGES_SHOWN]:
        offsets = _range(gap["first_offset"], gap["last_offset"])
        text = f"retention of the log took records of {gap['topic']}/{gap['partition']} before they were read: {offsets}"
        run.screen.line(run.screen.paint(text, "red"))
