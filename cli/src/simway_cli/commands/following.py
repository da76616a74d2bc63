"""Shows a command state by state, until its end."""

from __future__ import annotations

import time
from typing import Any

from simway_cli.client import device_path
from simway_cli.errors import Away, Exit
from simway_cli.output import state
from simway_cli.parsing import Arguments, Run
from simway_cli.table import clean
from simway_cli.times import SECOND_US

POLL_S = 0.5
AWAY_MAX_S = 60.0
"""A server that is away for longer than this while a command is followed is given up."""
GOOD = frozenset({"VERIFIED", "EXECUTED"})
BAD = frozenset({"ROLLED_BACK", "FAILED", "EXPIRED", "CANCELLED"})
EVIDENCE = ("answered in", "proof", "plmn", "cause")


def follow(run: Run, args: Arguments, command_id: str, *, wanted: frozenset[str] = GOOD) -> Exit:
    path = device_path(args.device, "commands", command_id)
    ends_s = None if args.wait is None else time.monotonic() + args.wait / SECOND_US
    seen = -1
    if not run.screen.json_:
        run.screen.note(f"command {command_id}")
    while True:
        command = _patient(run, path)
        for entry in command["history"]:
            if entry["seq"] > seen:
                seen = entry["seq"]
                _show_entry(run, entry)
        outcome = outcome_of(command, wanted)
        if outcome is None and ends_s is not None and time.monotonic() >= ends_s:
            run.screen.note(f"It is still {command['state']}; --wait is over, the command goes on.")
            outcome = Exit.OPEN
        if outcome is not None:
            return _ended(run, args, command, outcome)
        time.sleep(POLL_S)


def outcome_of(command: Any, wanted: frozenset[str] = GOOD) -> Exit | None:
    """The exit status of a command that is at its end; None for one under way. Only a ping or an audit ends EXECUTED."""
    at = command["state"]
    if at == "EXECUTED" and command["kind"] == "switch":
        return None
    if at in GOOD | BAD:
        return Exit.OK if at in wanted else Exit.NOT_SO
    return Exit.OPEN if at == "UNKNOWN" else None


def _patient(run: Run, path: str) -> Any:
    """The command; a server that is away for a while is waited for."""
    ends_s = time.monotonic() + AWAY_MAX_S
    while True:
        try:
            return run.client.get(path)
        except Away as error:
            if time.monotonic() >= ends_s:
                raise
            run.screen.note(f"{error}; trying again")
            time.sleep(2 * POLL_S)


def _show_entry(run: Run, entry: Any) -> None:
    if run.screen.json_:
        run.screen.record(entry)
        return
    word = state(entry["state"])
    said = "" if entry["event"].upper() == word.text else entry["event"]
    details = "; ".join(part for part in (said, entry["reason"], evidence(entry)) if part)
    run.screen.line(
        f"{run.times.text(entry['t_us'])}  {run.screen.paint(word.text.ljust(11), word.colour)}  {clean(details)}".rstrip()
    )


def _ended(run: Run, args: Arguments, command: Any, outcome: Exit) -> Exit:
    if run.screen.json_:
        run.screen.record(command)
    elif command["state"] == "UNKNOWN":
        run.screen.note(f"How it ended is not known. 'simway command {args.device} audit --follow' asks the device.")
    return outcome


def evidence(entry: Any) -> str:
    """What proves or explains an entry, in few words."""
    found = dict(entry["evidence"])
    if isinstance(found.get("rtt_us"), int):
        found["answered in"] = f"{found['rtt_us'] / 1000:.0f} ms"
    said = [f"{name} {found[name]}" for name in EVIDENCE if found.get(name) not in (None, "")]
    if found.get("iccid_before") and found.get("iccid_after"):
        said.append(f"{found['iccid_before']} -> {found['iccid_after']}")
    return ", ".join(said)
