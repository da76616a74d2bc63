"""``simway-modem sim``: look at a card, switch it, watch it, listen to it, without any server."""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from simway_backbone import logs
from simway_backbone.settings import SettingError
from simway_protocol.sim.narrator import Told

from simway_modem_client.card import CardError
from simway_modem_client.cli_options import add_card_options, add_option, formatter
from simway_modem_client.desk import readers, words
from simway_modem_client.desk import trace as overheard
from simway_modem_client.desk import watch as watching
from simway_modem_client.desk.card import Desk
from simway_modem_client.desk.facts import read_facts
from simway_modem_client.desk.interrupts import held_off
from simway_modem_client.desk.plan import Plan, Unfit, key_survives, make_plan
from simway_modem_client.desk.switch import HandSwitch
from simway_modem_client.desk.switch_words import outcome_line, plan_lines
from simway_modem_client.home import RunLock
from simway_modem_client.settings import ModemSettings
from simway_modem_client.status import open_switch_phase

NOT_SWITCHED, REFUSED, UNWANTED = 1, 2, 4
TRACEABLE = ("info", "profiles", "switch")

_EXAMPLES = """\
examples:
  simway-modem sim readers                           every reader, which has a card, and whose it is
  simway-modem sim info                              the virtual SIM of this device's folder
  simway-modem sim info --card pcsc                  the card in the first reader that has one
  simway-modem sim profiles --card pcsc --reader omnikey
  simway-modem sim switch "Blue Harbour" --dry-run   would it be done? by which ways back?
  simway-modem sim switch 8999902480243833587 --yes  by ICCID, without asking
  simway-modem sim watch --card pcsc                 a line for each change, until Ctrl-C
  simway-modem sim trace info                        what really crosses the reader, in words
  simway-modem sim trace switch "Blue Harbour" --yes

CARD, CARD_READER and CARD_ICCID in the environment save typing the options. A card in a reader is shared: other programs may
use it between two commands of ours; only one that takes it for itself (lpac, pySim while they run) has to be waited for.
"""
_SWITCH_NOTES = """\
The profile is named by its ICCID, or by nickname, provider or name, or how one of these begins.

Before anything is touched: the profile is there, disabled, no test profile, no policy forbids it, there is a way back, and the
device key stays in reach. Then the card is asked, reset and read again; what it shows decides, not what it answered. A card
that shows something else than it was asked for is brought back at once. No profile is ever just disabled: another is enabled.

On a desk this proves the card's state only: whether the carrier lets it on the air shows in a modem (simway-modem run, CARD=at).

exit status: 0 the card shows the new profile; 1 it does not (the last line says where it stands); 2 refused, nothing was touched;
4 the question was answered with no
"""
_TRACE_NOTES = """\
Each exchange: > class, instruction, P1 and P2 with their names and what is asked; < status word in words and what was answered.
Keys, PINs and authentication data are never shown; ICCID, IMSI and EID are shortened unless --show-ids is given.
What the command itself would print comes after the trace.
"""
_WATCH_NOTES = """\
A line for each change: card in and out, another profile enabled, profiles added, deleted or renamed, notifications. Ctrl-C ends
it. The card is let go of between two looks, so other programs can use it.
"""


def add_sim_commands(commands: Any) -> None:
    """The ``sim`` group."""
    sim = commands.add_parser(
        "sim", help="look at the SIM, switch it, without any server", formatter_class=formatter, epilog=_EXAMPLES
    )
    looks = sim.add_subparsers(title="commands", metavar="WHAT", required=True)
    _add(looks, "info", "EID, ICCID, IMSI, versions, and where the key is", info)
    _add(looks, "profiles", "the carriers on it", profiles)
    switch = _add(looks, "switch", "enable another profile", switch_card, _SWITCH_NOTES)
    switch.add_argument("profile", metavar="ICCID|PROVIDER|NICKNAME", help="the profile to enable")
    switch.add_argument("--yes", action="store_true", help="do not ask")
    switch.add_argument("--dry-run", action="store_true", help="only judge, touch nothing")
    switch.add_argument("--force", action="store_true", help="let a test profile through, and a card with no other way back")
    add_option(switch, "--key-provider", "KEY_PROVIDER", "who holds the device key: card or file", metavar="WHERE")
    watch = _add(looks, "watch", "a line for each change, until Ctrl-C", watch_card, _WATCH_NOTES)
    watch.add_argument("--interval", type=_seconds, default=2.0, metavar="S", help="seconds between two looks (default 2)")
    watch.add_argument("--seconds", type=_seconds, default=None, metavar="S", help="end by itself after so long")
    trace = _add(looks, "trace", "what crosses the reader during a command, in words", trace_command, _TRACE_NOTES, card=False)
    trace.add_argument("--show-ids", action="store_true", help="ICCID, IMSI and EID in full")
    trace.add_argument("traced", nargs=argparse.REMAINDER, metavar="COMMAND", help=f"{', '.join(TRACEABLE)}, with its options")
    _add(looks, "readers", "every PC/SC reader, and the card in it", list_readers, card=False)


def _add(looks: Any, name: str, about: str, handler: Any, notes: str = "", *, card: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = looks.add_parser(
        name, help=about, description=about[0].upper() + about[1:] + ".", formatter_class=formatter, epilog=notes
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    if card:
        add_card_options(parser)
    parser.set_defaults(handler=_at_a_desk(handler), desk_handler=handler)
    return parser


def _at_a_desk(handler: Callable[[Desk, argparse.Namespace], int]) -> Callable[[ModemSettings, argparse.Namespace, TextIO], int]:
    def run(settings: ModemSettings, options: argparse.Namespace, out: TextIO) -> int:
        logs.configure("modem", "debug" if settings.log_level == "debug" else "error", settings.log_format)
        try:
            return handler(Desk(settings, out), options)
        except Unfit as error:
            print(f"error: simway-modem: {error}", file=sys.stderr)
            return REFUSED
        except CardError as error:
            if error.sw is None:
                raise
            hint = "is it a SIM? What was said to it: simway-modem sim trace info"
            print(f"error: simway-modem: the card refused: {error}; {hint}", file=sys.stderr)
            return REFUSED

    return run


# --- looking -------------------------------------------------------------------------------------------------------------


def info(desk: Desk, options: argparse.Namespace) -> int:
    """``sim info``."""
    with desk.sim() as sim:
        facts = read_facts(sim.use(), desk.atr)
    _show(desk, options, facts, words.info_lines(facts))
    return 0


def profiles(desk: Desk, options: argparse.Namespace) -> int:
    """``sim profiles``."""
    with desk.sim() as sim:
        found = sim.use().inventory().evidence()["profiles"]
    _show(desk, options, found, words.profile_table(found))
    return 0


def list_readers(desk: Desk, options: argparse.Namespace) -> int:
    """``sim readers``."""
    found = readers.look()
    _show(desk, options, found, words.reader_table(found))
    return 0


def watch_card(desk: Desk, options: argparse.Namespace) -> int:
    """``sim watch``."""
    over = threading.Event()
    end_s = None if options.seconds is None else time.monotonic() + options.seconds

    def wait() -> bool:
        left_s = options.interval if end_s is None else min(options.interval, end_s - time.monotonic())
        return left_s > 0 and not over.wait(left_s)

    try:
        for change in watching.follow(lambda: watching.look(desk), wait):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            desk.say(json.dumps({"t": at, **change._asdict()}) if options.json else f"{at}  {change.text}")
    except KeyboardInterrupt:
        pass
    return 0


# --- switching -----------------------------------------------------------------------------------------------------------


def switch_card(desk: Desk, options: argparse.Namespace) -> int:
    """``sim switch``. The card is let go of while a person thinks, so it is judged again before it is touched."""
    say: Callable[[str], None] = (lambda _text: None) if options.json else desk.say
    with desk.sim() as sim:
        plan = _plan(desk, sim.use(), options).must_be_fit()
    for line in plan_lines(plan):
        say(line)
    if options.dry_run:
        say("dry run: it would be done; nothing was touched")
        return 0
    if not options.yes and not _confirmed(desk):
        say("nothing was touched")
        return UNWANTED
    with held_off(say), desk.sim() as sim, sim.use().dialogue():
        outcome = HandSwitch(sim, say).run(_plan(desk, sim.use(), options).must_be_fit())
    if options.json:
        desk.say(json.dumps(outcome._asdict()))
        return 0 if outcome.result == "switched" else NOT_SWITCHED
    desk.say(outcome_line(outcome, plan))
    if (lock := RunLock(desk.settings.modem_dir)).is_held():
        desk.say(f"         the modem client that runs here (process {lock.holder()}) sees it within a minute, and attaches anew")
    return 0 if outcome.result == "switched" else NOT_SWITCHED


def _plan(desk: Desk, uicc: Any, options: argparse.Namespace) -> Plan:
    inventory = uicc.inventory()
    settings = desk.settings
    return make_plan(
        tuple(profile.message() for profile in inventory.profiles),
        inventory.active_iccid,
        options.profile,
        key_survives=key_survives(settings.key_provider, settings.card_key_level, uicc.applet_status() is not None),
        switch_open=bool(open_switch_phase(settings)),
        forced=options.force,
    )


def _confirmed(desk: Desk) -> bool:
    if not sys.stdin.isatty():
        raise SettingError("sim switch asks before it switches, and nobody can answer here: add --yes")
    desk.out.write("switch? [y/N] ")
    desk.out.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# --- tracing -------------------------------------------------------------------------------------------------------------


def trace_command(desk: Desk, options: argparse.Namespace) -> int:
    """``sim trace``."""
    arguments = [word for word in options.traced if word != "--"]
    if not arguments or arguments[0] not in TRACEABLE:
        raise SettingError(f"sim trace takes a command to listen to, one of {', '.join(TRACEABLE)}: simway-modem sim trace info")
    parser = argparse.ArgumentParser(prog="simway-modem sim trace")
    commands = parser.add_subparsers()
    add_sim_commands(commands)
    inner = parser.parse_args(["sim", *arguments])
    settings = ModemSettings.from_env(options.environment | _overlay(inner))
    result = io.StringIO()

    def hear(told: Told) -> None:
        for line in [json.dumps(overheard.plain(told))] if options.json or inner.json else told.lines():
            desk.say(line)

    listening = Desk(settings, result, lambda card: overheard.Overheard(card, hear, show_ids=options.show_ids))
    try:
        code: int = inner.desk_handler(listening, inner)
    finally:
        if not (options.json or inner.json):
            desk.say("")
            desk.out.write(result.getvalue())
    return code


def _overlay(options: argparse.Namespace) -> dict[str, str]:
    return {name: str(value) for name, value in vars(options).items() if name.isupper() and value is not None}


# --- inside --------------------------------------------------------------------------------------------------------------


def _show(desk: Desk, options: argparse.Namespace, value: Any, text: str) -> None:
    desk.out.write(json.dumps(value, indent=2) + "\n" if options.json else text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds above 0")
    return seconds
