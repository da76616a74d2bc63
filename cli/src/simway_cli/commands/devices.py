"""``simway devices``: what is registered, what is known of it, and who may come in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from simway_cli.client import device_path
from simway_cli.errors import CliError, Exit, Usage
from simway_cli.output import state
from simway_cli.parsing import Arguments, Run, add_command, add_limit, group, inherit
from simway_cli.sims import profile_table
from simway_cli.table import Cell, Column


def add(where: Any) -> None:
    """Adds the sub-commands."""
    devices = add_command(
        where,
        "devices",
        "Devices: list, show, create, revoke, restore.",
        handler=_list,
        about="Without a verb it lists them.",
        examples=[
            ("simway devices", "every device, its carrier and its newest reading"),
            ("simway devices show demo", "all that is known of one"),
            ("simway devices create truck-7 --key-file truck-7.key", "register one and keep its key"),
            ("simway devices revoke truck-7", "refuse it everywhere, within a second"),
        ],
    )
    add_limit(devices, 100, "devices")
    verbs = group(devices, title="what to do", name="verb")
    listed = add_command(
        verbs,
        "list",
        "Devices by id.",
        handler=_list,
        examples=[("simway devices list --limit 0", "all of them"), ("simway devices list --json", "for a program")],
    )
    add_limit(listed, 100, "devices")
    inherit(listed)
    show = add_command(
        verbs,
        "show",
        "One device: status, carrier, session, SIM, alarms.",
        handler=_show,
        examples=[("simway devices show demo", "what is known of it")],
    )
    show.add_argument("device", metavar="DEVICE")
    create = add_command(
        verbs,
        "create",
        "Registers a device and gives its key, this once.",
        handler=_create,
        about="The key belongs on the SIM or into the device's key file (DEVICE_KEY_FILE). Nobody can show it again.",
        examples=[
            ("simway devices create truck-7 --key-file truck-7.key", "the key goes into a file that only you can read"),
            ("simway devices create truck-7 --name 'Truck 7, Leipzig'", "the key is printed"),
        ],
    )
    create.add_argument("device", metavar="DEVICE", help="1 to 64 of A-Z a-z 0-9 . _ : -, begins with a letter or digit")
    create.add_argument("--name", default="", help="for people")
    create.add_argument("--key-file", metavar="FILE", help="write the key there (mode 0600) instead of printing it")
    for verb, summary, status in (
        ("revoke", "Refuses a device at every gateway.", "revoked"),
        ("restore", "Lets a revoked device in again.", "active"),
    ):
        change = add_command(
            verbs, verb, summary, handler=_change, examples=[(f"simway devices {verb} truck-7", "within a second")]
        )
        change.add_argument("device", metavar="DEVICE")
        change.set_defaults(status=status)


def _list(run: Run, args: Arguments) -> Exit:
    shown, more = run.client.some("devices", "devices", {}, limit=args.limit)
    run.screen.cut_note(len(shown), more, "first")
    if run.screen.json_:
        run.screen.document({"devices": shown, "more": more})
        return Exit.OK
    columns = [
        Column("device", gives=True),
        Column("name", gives=True, spare=3),
        Column("status"),
        Column("carrier", gives=True),
        Column("link"),
        Column("last reading"),
        Column("alarms", right=True, spare=2),
    ]
    run.screen.table(columns, [_row(run, item) for item in shown])
    return Exit.OK


def _row(run: Run, item: Any) -> list[str | Cell]:
    carrier, session, alarms = item["active_carrier"], item["session"], item["alarms"]
    worst = "red" if any(alarm["severity"] == "critical" for alarm in alarms) else "yellow" if alarms else ""
    return [
        item["id"],
        item["name"] or "-",
        state(item["status"]),
        (carrier["provider"] or carrier["iccid"]) if carrier else "-",
        Cell("up", "green") if session and session["attached"] else "-",
        run.times.ago(item["last_reading_us"]),
        Cell(str(len(alarms)) if alarms else "-", worst),
    ]


def _show(run: Run, args: Arguments) -> Exit:
    item = run.client.get(device_path(args.device))
    if run.screen.json_:
        run.screen.document(item)
        return Exit.OK
    carrier, session = item["active_carrier"], item["session"]
    run.screen.facts(
        {
            "device": item["id"],
            "name": item["name"] or None,
            "status": state(item["status"]),
            "created": run.times.short(item["created_us"]),
            "last reading": f"{run.times.text(item['last_reading_us'])} ({run.times.ago(item['last_reading_us'])})"
            if item["last_reading_us"] is not None
            else "none yet",
            "carrier": f"{carrier['provider'] or '?'} ({carrier['iccid']}), by {carrier['source']}" if carrier else "not known",
            "session": _session(run, session) if session else "never attached",
            "key version": str(item["key_version"]),
        }
    )
    if item["inventory"]:
        run.screen.line()
        profile_table(run.screen, item["inventory"])
    for alarm in item["alarms"]:
        run.screen.line(f"{run.screen.paint(alarm['severity'], 'red')} {alarm['kind']}: {alarm['text']}")
    return Exit.OK


def _session(run: Run, session: Any) -> str:
    if session["attached"]:
        return f"up since {run.times.short(session['attached_us'])}, {session['gateway']} {session['address']}"
    return f"over since {run.times.short(session['detached_us'])}: {session['detached_reason']}"


def _create(run: Run, args: Arguments) -> Exit:
    key_file = Path(args.key_file) if args.key_file else None
    if key_file is not None:
        _claim(key_file)
    try:
        reply = run.client.send("POST", "devices", {"id": args.device, "name": args.name})
    except BaseException:
        if key_file is not None:
            key_file.unlink(missing_ok=True)
        raise
    if key_file is not None:
        key_file.write_text(reply["key"]["hex"] + "\n")
        reply["key"]["hex"] = f"in {key_file}"
    if run.screen.json_:
        run.screen.document(reply)
        return Exit.OK
    run.screen.facts({"device": reply["device"]["id"], "key": reply["key"]["hex"], "key version": str(reply["key"]["version"])})
    if key_file is None:
        run.screen.note("The key is shown this once: put it on the SIM or into the device's key file.")
    return Exit.OK


def _claim(file: Path) -> None:
    """Makes the empty key file, so that no key is made that cannot be kept."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise Usage(f"{file} exists", hint="A key is never written over; name another file.") from error
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}", hint="Name a file that can be written.") from error


def _change(run: Run, args: Arguments) -> Exit:
    item = run.client.send("PATCH", device_path(args.device), {"status": args.status})
    if run.screen.json_:
        run.screen.document(item)
    else:
        run.screen.facts({"device": item["id"], "status": state(item["status"])})
    return Exit.OK
