"""``simway dead-letters``: what could not be admitted or stored, why, and another try."""

from __future__ import annotations

import json
from typing import Any

from simway_cli.client import PAGE_MAX
from simway_cli.commands.asking import value_text
from simway_cli.errors import Exit, Refused, Usage
from simway_cli.parsing import Arguments, Parser, Run, add_command, add_limit, add_range, group, inherit, natural, time_range
from simway_cli.table import Cell, Column


def add(where: Any) -> None:
    """Adds the sub-commands."""
    letters = add_command(
        where,
        "dead-letters",
        "What could not be admitted or stored: list, show, replay.",
        handler=_list,
        about="Without a verb it lists them. They are kept for 30 days; 'simway loss' counts since the beginning.",
        examples=[
            ("simway dead-letters", "those that came last"),
            ("simway dead-letters --device demo --reason conflict", "of one device, for one reason"),
            ("simway dead-letters counts", "how many, by reason"),
            ("simway dead-letters show 17", "all that was kept of one"),
            ("simway dead-letters replay 17 18", "store now what can be stored now"),
        ],
    )
    _add_filter(letters)
    add_limit(letters, 50, "dead letters")
    verbs = group(letters, title="what to do", name="verb")
    listed = add_command(
        verbs,
        "list",
        "Dead letters, those that came last first.",
        handler=_list,
        examples=[("simway dead-letters list --last 1d", "of the last day")],
    )
    _add_filter(listed)
    add_limit(listed, 50, "dead letters")
    inherit(listed)
    counts = add_command(
        verbs,
        "counts",
        "How many there are, by reason.",
        handler=_counts,
        examples=[("simway dead-letters counts", "of all devices")],
    )
    counts.add_argument("--device", metavar="DEVICE", help="of this device")
    show = add_command(
        verbs, "show", "All that was kept of one.", handler=_show, examples=[("simway dead-letters show 17", "by its number")]
    )
    show.add_argument("letter", type=natural, metavar="ID")
    replay = add_command(
        verbs,
        "replay",
        "Puts dead letters into the log anew, where they can be stored now.",
        handler=_replay,
        about="Exit status 0 when all were put into the log, 1 when one was not: the reason is shown.",
        examples=[
            ("simway dead-letters replay 17 18", "by their numbers"),
            (
                "simway dead-letters replay --device truck-7 --reason unknown_device",
                "all of a kind, once the device is registered",
            ),
        ],
    )
    replay.add_argument("letters", nargs="*", type=natural, metavar="ID")
    _add_filter(replay)
    inherit(replay)


def _add_filter(parser: Parser) -> None:
    parser.add_argument("--device", metavar="DEVICE", help="of this device")
    parser.add_argument("--reason", metavar="WORD", help="such as too_old, conflict, corrupt_record")
    parser.add_argument(
        "--source", metavar="WORD", help="who put it aside: admit (a gateway's rules), udp-server, recorder, dispatcher, letters"
    )
    add_range(parser)


def _query(run: Run, args: Arguments) -> dict[str, Any]:
    from_us, to_us = time_range(run.times, args)
    return {"device": args.device, "reason": args.reason, "source": args.source, "from": from_us, "to": to_us}


def _list(run: Run, args: Arguments) -> Exit:
    letters, more = run.client.some("dead-letters", "dead_letters", _query(run, args), limit=args.limit)
    run.screen.cut_note(len(letters), more)
    if run.screen.json_:
        run.screen.document({"dead_letters": letters, "more": more})
        return Exit.OK
    columns = [
        Column("id", right=True),
        Column(f"time ({run.times.name})"),
        Column("source", spare=2),
        Column("reason"),
        Column("device", gives=True),
        Column("what", gives=True),
        Column("replayed", spare=1),
    ]
    run.screen.table(columns, [_row(run, item) for item in letters])
    if not letters:
        run.screen.note("No dead letters.")
    return Exit.OK


def _row(run: Run, item: Any) -> list[str | Cell]:
    return [
        str(item["id"]),
        run.times.short(item["t_us"]),
        item["source"],
        item["reason"],
        item["device"] or "-",
        _what(item),
        run.times.short(item["replayed_us"]),
    ]


def _what(item: Any) -> str:
    reading = item["reading"]
    if reading is None:
        return item["detail"] or f"{item['payload_bytes']} bytes"
    return f"{reading['sensor']} = {value_text(reading['value'])} {reading['unit'] or ''}".rstrip()


def _counts(run: Run, args: Arguments) -> Exit:
    body = run.client.get("dead-letters/counts", {"device": args.device})
    if run.screen.json_:
        run.screen.document(body)
        return Exit.OK
    rows = [[reason, str(count)] for reason, count in sorted(body["by_reason"].items(), key=lambda item: -item[1])]
    run.screen.table([Column("reason"), Column("count", right=True)], [*rows, ["total", str(body["total"])]])
    return Exit.OK


def _show(run: Run, args: Arguments) -> Exit:
    item = run.client.get(f"dead-letters/{args.letter}")
    if run.screen.json_:
        run.screen.document(item)
        return Exit.OK
    reading = item["reading"]
    run.screen.facts({
        "id": str(item["id"]),
        "time": run.times.text(item["t_us"]),
        "put aside by": item["source"],
        "reason": Cell(item["reason"], "yellow"),
        "detail": item["detail"] or None,
        "device": item["device"] or "not known",
        "gateway": item["gateway"] or None,
        "number": f"{item['seq']} of epoch {item['epoch']}" if item["seq"] is not None else None,
        "reading": _what(item) if reading else None,
        "of": run.times.text(reading["t_us"]) if reading else None,
        "replayed": f"{run.times.short(item['replayed_us'])} by {item['replayed_by']}" if item["replayed_by"] else None,
    })  # fmt: skip
    if item["payload_bytes"]:
        run.screen.line()
        shown = item["payload"] if item["payload_form"] else item["payload_base64"]
        run.screen.line(f"payload, {item['payload_bytes']} bytes ({item['payload_form'] or 'base64'}):")
        run.screen.line(json.dumps(shown, ensure_ascii=True, indent=2))
    return Exit.OK


def _replay(run: Run, args: Arguments) -> Exit:
    query = _query(run, args)
    filtered = any(value is not None for value in query.values())
    if bool(args.letters) == filtered:
        raise Usage("name dead letters by number, or a kind of them", hint="'simway dead-letters replay --help' shows both.")
    numbers = args.letters or [
        item["id"]
        for item in run.client.pages("dead-letters", "dead_letters", query, limit=0, page_max=PAGE_MAX)
        if item["replayed_us"] is None
    ]
    results = [_replayed(run, number) for number in numbers]
    put = sum(1 for result in results if result["replayed"])
    if run.screen.json_:
        run.screen.document({"results": results})
    else:
        columns = [Column("id", right=True), Column("result"), Column("why", gives=True)]
        run.screen.table(columns, [[str(item["id"]), _result(item), item["detail"] or "-"] for item in results])
        run.screen.note(f"{put} of {len(results)} put into the log anew; the recorder stores them in a moment.")
    return Exit.OK if put == len(results) else Exit.NOT_SO


def _replayed(run: Run, number: int) -> dict[str, Any]:
    try:
        run.client.send("POST", f"dead-letters/{number}/replay")
    except Refused as error:
        if error.status not in (404, 409):
            raise
        return {"id": number, "replayed": False, "reason": error.reason, "detail": str(error)}
    return {"id": number, "replayed": True, "reason": "", "detail": ""}


def _result(item: Any) -> Cell:
    return Cell("replayed", "green") if item["replayed"] else Cell(item["reason"], "red")
