"""``simway sim`` and ``simway alarms``: SIMs as they should be and as they are."""

from __future__ import annotations

from typing import Any

from simway_cli.client import device_path
from simway_cli.errors import Exit, Usage
from simway_cli.output import state
from simway_cli.parsing import Arguments, Run, add_command, add_limit
from simway_cli.sims import profile_table
from simway_cli.table import Cell, Column


def add(where: Any) -> None:
    """Adds the sub-commands."""
    sim = add_command(
        where,
        "sim",
        "The SIM of a device: what belongs on it, what it reports, alarms.",
        handler=_sim,
        about="--accept says that what the SIM reports now is right, or which profile should be active; it switches nothing.",
        examples=[
            ("simway sim demo", "its profiles, the active one marked"),
            ("simway sim demo --accept", "what it reports now is as it should be"),
            ("simway sim demo --accept --iccid 8988211000000000033", "this profile should be the active one"),
        ],
    )
    sim.add_argument("device", metavar="DEVICE")
    sim.add_argument("--accept", action="store_true", help="set what belongs on the SIM")
    sim.add_argument("--iccid", metavar="ICCID", help="with --accept: the profile that should be active")
    sim.add_argument("--eid", metavar="EID", help="with --accept: the card that should be in the device")
    alarms = add_command(
        where,
        "alarms",
        "What is, or was, not as it should be.",
        handler=_alarms,
        about="Alarms end by themselves; nobody has to acknowledge them.",
        examples=[
            ("simway alarms", "open ones of all devices and of the platform"),
            ("simway alarms --device demo --state all", "of one device, over ones too"),
            ("simway alarms --platform", "of the platform itself"),
        ],
    )
    about = alarms.add_mutually_exclusive_group()
    about.add_argument("--device", metavar="DEVICE", help="of this device")
    about.add_argument("--platform", action="store_true", help="of no device")
    alarms.add_argument("--state", choices=("open", "over", "all"), default="open", help="default open")
    add_limit(alarms, 100, "alarms")


def _sim(run: Run, args: Arguments) -> Exit:
    if (args.iccid or args.eid) and not args.accept:
        raise Usage("--iccid and --eid go with --accept", hint="To switch: 'simway command DEVICE switch --iccid ICCID'.")
    if args.accept:
        wanted = {name: value for name, value in (("iccid", args.iccid), ("eid", args.eid)) if value}
        twin = run.client.send("PUT", device_path(args.device, "sim", "desired"), wanted)
    else:
        twin = run.client.get(device_path(args.device, "sim"))
    if run.screen.json_:
        run.screen.document(twin)
    else:
        _show(run, twin)
    return Exit.OK


def _show(run: Run, twin: Any) -> None:
    reported, desired, word = twin["reported"], twin["desired"], twin["sim_word"]
    run.screen.facts(
        {
            "device": twin["device"],
            "active": twin["active_iccid"] or "not known",
            "should be": _desired(run, desired) if desired else "not said yet",
            "eid": reported["eid"] or None if reported else None,
            "reported": run.times.short(reported["at_us"]) if reported else "never: 'simway command DEVICE audit' asks for it",
            "SIM's word": _word(word) if word else None,
            "open switch": twin["journal_open"],
            "last switch": twin["last_switch"],
            "audited": run.times.short(twin["audited_us"]) if twin["audited_us"] else None,
        }
    )
    if reported:
        run.screen.line()
        profile_table(run.screen, reported)
    if twin["alarms"]:
        run.screen.line()
        _alarm_table(run, twin["alarms"])


def _desired(run: Run, desired: Any) -> str:
    return f"{desired['iccid']} (by {desired['source']}, {run.times.short(desired['at_us'])})"


def _word(word: Any) -> Cell:
    text = f"change {word['n']} enabled {word['iccid'] or 'none'}"
    return Cell(f"{text}, proved", "green") if word["verified"] else Cell(f"{text}, not proved", "yellow")


def _alarms(run: Run, args: Arguments) -> Exit:
    query = {"device": args.device, "scope": "platform" if args.platform else None, "state": args.state}
    alarms, more = run.client.some("alarms", "alarms", query, limit=args.limit)
    run.screen.cut_note(len(alarms), more)
    if run.screen.json_:
        run.screen.document({"alarms": alarms, "more": more})
    elif alarms:
        _alarm_table(run, alarms)
    else:
        run.screen.line("No alarms." if args.state == "all" else f"No alarms that are {args.state}.")
    return Exit.OK


def _alarm_table(run: Run, alarms: Any) -> None:
    columns = [
        Column(f"raised ({run.times.name})"),
        Column("over", spare=2),
        Column("severity"),
        Column("device", gives=True),
        Column("kind"),
        Column("what", gives=True),
    ]
    run.screen.table(
        columns,
        [
            [
                run.times.short(item["raised_us"]),
                run.times.short(item["over_us"]),
                state(item["severity"]),
                item["device"] or "platform",
                item["kind"],
                item["text"],
            ]
            for item in alarms
        ],
    )
