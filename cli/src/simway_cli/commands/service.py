"""``simway health`` and ``simway audit``."""

from __future__ import annotations

from typing import Any

from simway_cli.errors import Exit, Usage
from simway_cli.parsing import Arguments, Run, add_command, add_limit, add_range, group, time_range
from simway_cli.table import Cell, Column


def add(where: Any) -> None:
    """Adds the sub-commands."""
    add_command(
        where,
        "health",
        "Is the server well? Needs no token.",
        handler=_health,
        about="Exit status 0 when the service and its database answer, else 3.",
        examples=[
            ("simway health", "ok, or what is wrong"),
            ("simway health --url http://10.0.0.5:8000", "another server"),
        ],
    )
    audit = add_command(
        where,
        "audit",
        "The audit trail: who decided what, and whether it is whole.",
        examples=[
            ("simway audit list --last 1d", "decisions of the last day"),
            ("simway audit verify", "follow the whole chain; exit status 1 when it is broken"),
        ],
    )
    verbs = group(audit, title="what to do", name="verb", required=True)
    listed = add_command(
        verbs,
        "list",
        "Entries of the trail, the newest first.",
        handler=_list,
        examples=[
            ("simway audit list --device demo", "what was decided about one device"),
            ("simway audit list --kind command.refused", "refusals"),
        ],
    )
    listed.add_argument("--device", metavar="DEVICE", help="entries of this device")
    listed.add_argument("--kind", metavar="KIND", help="such as command.accepted or command.refused")
    add_range(listed)
    add_limit(listed, 50, "entries")
    verify = add_command(
        verbs,
        "verify",
        "Follows the whole trail and holds it against its signed heads.",
        handler=_verify,
        about="Note a head outside of the platform and give it later: then nobody can set the database back unseen.\n"
        "Exit status 0 when the trail holds, 1 when it is broken.",
        examples=[
            ("simway audit verify", "is it whole?"),
            ("simway audit verify --head 1042:9f86d0...15b0f00a", "and does it still hold the entry that was noted?"),
        ],
    )
    verify.add_argument("--head", metavar="SEQ:HASH", help="a head noted earlier, as this command prints it")


def _health(run: Run, _: Arguments) -> Exit:
    body = run.client.get("health", public=True)
    if run.screen.json_:
        run.screen.document(body)
    else:
        run.screen.line(run.screen.paint(f"{body['status']}: {run.client.url} and its database answer", "green"))
    return Exit.OK


def _list(run: Run, args: Arguments) -> Exit:
    from_us, to_us = time_range(run.times, args)
    query = {"device": args.device, "kind": args.kind, "from": from_us, "to": to_us}
    entries, more = run.client.some("audit", "entries", query, limit=args.limit)
    run.screen.cut_note(len(entries), more)
    if run.screen.json_:
        run.screen.document({"entries": entries, "more": more})
        return Exit.OK
    columns = [
        Column("seq", right=True),
        Column(f"time ({run.times.name})"),
        Column("kind"),
        Column("device", gives=True),
        Column("actor", spare=2),
        Column("subject", gives=True, spare=1),
    ]
    rows = [
        [
            str(item["seq"]),
            run.times.short(item["t_us"]),
            item["kind"],
            item["device"] or "-",
            item["actor"],
            item["subject"] or "-",
        ]
        for item in entries
    ]
    run.screen.table(columns, rows)
    return Exit.OK


def _verify(run: Run, args: Arguments) -> Exit:
    client = run.client
    verdict = client.get("audit/verify") if args.head is None else client.send("POST", "audit/verify", _head(args.head))
    if run.screen.json_:
        run.screen.document(verdict)
        return Exit.OK if verdict["ok"] else Exit.NOT_SO
    broken, head, signed = verdict["broken"], verdict["head"], verdict["signed"]
    run.screen.facts(
        {
            "trail": Cell("whole", "green")
            if verdict["ok"]
            else Cell(f"broken at entry {broken['seq']}: {broken['detail']}", "red"),
            "entries": str(verdict["count"]),
            "head": f"{head['seq']}:{head['hash']}",
            "signed": f"up to entry {signed['seq']}, {run.times.short(signed['at_us'])}" if signed else "not yet",
            "public key": verdict["public_key"],
        }
    )
    if broken:
        run.screen.note(f"({broken['problem']}) Entries from {broken['seq']} on cannot be trusted: ask who changed the database.")
    return Exit.OK if verdict["ok"] else Exit.NOT_SO


def _head(text: str) -> dict[str, Any]:
    seq, _, digest = text.partition(":")
    if not seq.isdigit() or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise Usage(f"{text!r} is no head", hint="Give it as 'simway audit verify' prints it: SEQ:HASH, 64 hexadecimal digits.")
    return {"seq": int(seq), "hash": digest}
