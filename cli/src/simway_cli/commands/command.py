"""``simway command``: carrier switches, pings and audits, followed to their end."""

from __future__ import annotations

from typing import Any

from simway_cli.client import device_path
from simway_cli.commands.following import evidence, follow
from simway_cli.errors import CliError, Exit, Usage
from simway_cli.output import state
from simway_cli.parsing import Arguments, Run, add_command, add_limit, duration, group
from simway_cli.table import Column
from simway_cli.times import SECOND_US

ID_CHARS = 32
PREFIX_LEAST = 4
SEARCHED = 200
_FOLLOW_ABOUT = (
    "Exit status with --follow: 0 when it ended VERIFIED (a switch) or EXECUTED (ping, audit); 1 when it ended otherwise;\n"
    "8 when its end is not known (UNKNOWN, or --wait was over)."
)


def add(where: Any) -> None:
    """Adds the sub-commands."""
    command = add_command(
        where,
        "command",
        "Commands to a device: switch, ping, audit; list, show, cancel.",
        about=_FOLLOW_ABOUT,
        examples=[
            ("simway command demo switch --provider 'Azul Telecom' --follow", "another carrier, until it is proved or undone"),
            ("simway command demo ping --follow", "does it answer?"),
            ("simway command demo audit --follow", "have it report its SIM and its journal"),
            ("simway command demo list", "the newest commands"),
            ("simway command demo show", "the newest one and all that happened to it"),
            ("simway command demo cancel 3f2a", "by the beginning of its id"),
        ],
    )
    command.add_argument("device", metavar="DEVICE")
    verbs = group(command, title="what to do", name="verb", required=True)
    switch = add_command(
        verbs,
        "switch",
        "Enables another profile of the SIM.",
        handler=_switch,
        about="The device goes back by itself when the new carrier cannot be confirmed by the deadline.\n" + _FOLLOW_ABOUT,
        examples=[
            ("simway command demo switch --provider 'Azul Telecom' --follow", "by the provider's name"),
            ("simway command demo switch --iccid 8988211000000000033", "by the profile's number"),
            (
                "simway command demo switch --iccid 8988211000000000033 --force --reason 'test in the lab'",
                "sets aside a rule that may be",
            ),
        ],
    )
    target = switch.add_mutually_exclusive_group(required=True)
    target.add_argument("--provider", metavar="NAME", help="the one profile of this provider")
    target.add_argument("--iccid", metavar="ICCID", help="the profile of this number")
    switch.add_argument("--deadline", type=duration, metavar="SPAN", help="goes back by itself after this (default 10m)")
    switch.add_argument("--force", action="store_true", help="sets aside the rules that may be; wants a reason")
    switch.add_argument("--reason", default="", metavar="WHY", help="kept in the audit trail")
    _add_sending(switch)
    for kind, summary in (("ping", "Asks the device to answer."), ("audit", "Has the device report its SIM and its journal.")):
        parser = add_command(
            verbs,
            kind,
            summary,
            handler=_plain,
            about=_FOLLOW_ABOUT,
            examples=[(f"simway command demo {kind} --follow", "until it has")],
        )
        parser.set_defaults(kind=kind)
        _add_sending(parser)
    _add_looking(verbs)


def _add_sending(parser: Any) -> None:
    parser.add_argument("--expires-in", type=duration, metavar="SPAN", help="how long the device has to take it (default 1h)")
    _add_follow(parser)


def _add_follow(parser: Any) -> None:
    parser.add_argument("--follow", action="store_true", help="show each state as it comes, until the end")
    parser.add_argument("--wait", type=duration, metavar="SPAN", help="with --follow: no longer than this")


def _add_looking(verbs: Any) -> None:
    listed = add_command(
        verbs, "list", "Commands, the newest first.", handler=_list, examples=[("simway command demo list", "the newest")]
    )
    add_limit(listed, 20, "commands")
    show = add_command(
        verbs,
        "show",
        "One command and all that happened to it.",
        handler=_show,
        about=_FOLLOW_ABOUT,
        examples=[
            ("simway command demo show", "the newest one"),
            ("simway command demo show 3f2a --follow", "by the beginning of its id"),
        ],
    )
    show.add_argument("command", nargs="?", metavar="ID", help="its id, or the beginning of it; without, the newest")
    _add_follow(show)
    cancel = add_command(
        verbs,
        "cancel",
        "Cancels a command, or asks the device to.",
        handler=_cancel,
        about="What a device has already may only be asked back; from EXECUTED on it is refused (exit status 6).",
        examples=[("simway command demo cancel 3f2a --follow", "and see what the device says")],
    )
    cancel.add_argument("command", metavar="ID", help="its id, or the beginning of it")
    _add_follow(cancel)


# --- asking ------------------------------------------------------------------------------------------------------------


def _seconds(span_us: int | None) -> int | None:
    return None if span_us is None else max(1, round(span_us / SECOND_US))


def _switch(run: Run, args: Arguments) -> Exit:
    if args.force != bool(args.reason):
        raise Usage("--force and --reason come together", hint="The reason is kept in the audit trail: --force --reason 'WHY'.")
    body = {
        "kind": "switch",
        "iccid": args.iccid,
        "provider": args.provider,
        "deadline_s": _seconds(args.deadline),
        "expires_in_s": _seconds(args.expires_in),
        "force": args.force or None,
        "reason": args.reason or None,
    }
    return _send(run, args, body)


def _plain(run: Run, args: Arguments) -> Exit:
    return _send(run, args, {"kind": args.kind, "expires_in_s": _seconds(args.expires_in)})


def _send(run: Run, args: Arguments, body: dict[str, Any]) -> Exit:
    _check_wait(args)
    given = {name: value for name, value in body.items() if value is not None}
    command = run.client.send("POST", device_path(args.device, "commands"), given)
    if args.follow:
        return follow(run, args, command["id"])
    if run.screen.json_:
        run.screen.document(command)
    else:
        _facts(run, command)
        run.screen.note(f"'simway command {args.device} show {command['id'][:8]} --follow' shows how it goes on.")
    return Exit.OK


def _check_wait(args: Arguments) -> None:
    if args.wait is not None and not args.follow:
        raise Usage("--wait goes with --follow")


# --- looking -----------------------------------------------------------------------------------------------------------


def _list(run: Run, args: Arguments) -> Exit:
    path = device_path(args.device, "commands")
    commands, more = run.client.some(path, "commands", {}, limit=args.limit, page_max=SEARCHED)
    run.screen.cut_note(len(commands), more)
    if run.screen.json_:
        run.screen.document({"commands": commands, "more": more})
        return Exit.OK
    columns = [
        Column("id"),
        Column(f"created ({run.times.name})"),
        Column("kind"),
        Column("state"),
        Column("target", gives=True),
        Column("reason", gives=True, spare=1),
        Column("actor", spare=2),
    ]
    run.screen.table(
        columns,
        [
            [
                item["id"][:8],
                run.times.short(item["created_us"]),
                item["kind"],
                state(item["state"]),
                _target_short(item),
                item["reason"] or "-",
                item["actor"],
            ]
            for item in commands
        ],
    )
    return Exit.OK


def _target(command: Any) -> str:
    target = command["target"]
    return "-" if target is None else f"{target['provider']} {target['iccid']}".strip()


def _target_short(command: Any) -> str:
    target = command["target"]
    return "-" if target is None else target["provider"] or target["iccid"]


def _show(run: Run, args: Arguments) -> Exit:
    _check_wait(args)
    command_id = _resolved(run, args)
    if args.follow:
        return follow(run, args, command_id)
    command = run.client.get(device_path(args.device, "commands", command_id))
    if run.screen.json_:
        run.screen.document(command)
        return Exit.OK
    _facts(run, command)
    run.screen.line()
    columns = [
        Column(f"time ({run.times.name})"),
        Column("state"),
        Column("event"),
        Column("actor", spare=2),
        Column("reason", gives=True),
        Column("evidence", gives=True, spare=1),
    ]
    run.screen.table(
        columns,
        [
            [
                run.times.text(item["t_us"]),
                state(item["state"]),
                item["event"],
                item["actor"],
                item["reason"] or "-",
                evidence(item) or "-",
            ]
            for item in command["history"]
        ],
    )
    word = command["sim_word"]
    if word is not None:
        said = "with the device's key" if word["verified"] else "without a proof that it holds the device's key"
        run.screen.note(f"The SIM itself says, {said}: its change {word['n']} enabled {word['iccid'] or 'none'}.")
    return Exit.OK


def _facts(run: Run, command: Any) -> None:
    run.screen.facts(
        {
            "command": command["id"],
            "device": command["device"],
            "kind": command["kind"] + (" (forced)" if command["forced"] else ""),
            "target": _target(command) if command["target"] else None,
            "state": state(command["state"]),
            "reason": command["reason"] or None,
            "created": f"{run.times.short(command['created_us'])} by {command['actor']}",
            "expires": run.times.short(command["expires_us"]) if command["state"] == "QUEUED" else None,
            "cancel asked": run.times.short(command["cancel_requested_us"]) if command["cancel_requested_us"] else None,
        }
    )


def _cancel(run: Run, args: Arguments) -> Exit:
    _check_wait(args)
    command_id = _resolved(run, args)
    command = run.client.send("POST", device_path(args.device, "commands", command_id, "cancel"))
    if args.follow:
        return follow(run, args, command_id, wanted=frozenset({"CANCELLED"}))
    if run.screen.json_:
        run.screen.document(command)
    else:
        _facts(run, command)
        if command["state"] != "CANCELLED":
            run.screen.note("The device has it already and is asked; --follow shows its answer.")
    return Exit.OK


def _resolved(run: Run, args: Arguments) -> str:
    """The whole id of what a person typed."""
    text = (args.command or "").lower()
    if len(text) == ID_CHARS:
        return text
    if text and len(text) < PREFIX_LEAST:
        raise Usage(f"{text!r} is too short for the beginning of an id", hint=f"Give at least {PREFIX_LEAST} digits of it.")
    limit = SEARCHED if text else 1
    found = [
        item["id"]
        for item in run.client.pages(device_path(args.device, "commands"), "commands", {}, limit=limit, page_max=SEARCHED)
        if item["id"].startswith(text)
    ]
    if not found:
        raise CliError(
            f"{args.device} has no command {text}".rstrip() if text else f"{args.device} has had no command yet",
            exit_=Exit.NOT_FOUND,
            hint=f"'simway command {args.device} list' lists them." if text else "",
        )
    if len(found) > 1:
        raise Usage(f"{len(found)} commands begin with {text}", hint="Give more of the id.")
    return str(found[0])
