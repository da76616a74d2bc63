"""The command line: ``run``, ``status``, ``personalise``, and the ``sim`` group (``cli_sim``)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TextIO

from simway_backbone.service import StartError
from simway_backbone.settings import SettingError
from simway_backbone.sqlite import SqliteUnusable
from simway_protocol.errors import PeerError

from simway_modem_client import cli_run
from simway_modem_client.card import CardError
from simway_modem_client.cli_options import add_card_options, add_device_options, add_option, add_source_options, formatter
from simway_modem_client.cli_sim import add_sim_commands
from simway_modem_client.desk.card import Desk
from simway_modem_client.keys import KeyUnusable, personalise
from simway_modem_client.settings import ModemSettings
from simway_modem_client.status import gather, table

INTERRUPTED = 130
"""As shells give it for Ctrl-C."""
_EXAMPLES = """\
examples:
  simway-modem run                                  this machine's CPU, memory, network ... once a second
  simway-modem run --interval 10 --device truck-7 --server iot.example.org:6001 --key-file truck-7.key
  sensor-daemon | simway-modem run --source stdin   one JSON document a line: {"sensor_id": "door", "value": true}
  simway-modem run --csv log.csv                    a column with the time, a sensor in each other column
  simway-modem run --csv log.csv --time-column ts --sensor-column name --value-column v --unit-column u
  simway-modem status                               SIM, session, outbox and last command, from another terminal
  simway-modem sim info                             who the SIM is, without any server
  simway-modem sim --help                           everything about cards: readers, profiles, switch, watch, trace

Readings are on this machine's disk before they are sent, and stay there until the platform has them. Every option can also
be given by its environment variable (`simway-modem run --help` names them in brackets); options win. Logs go to standard error.
"""
_RUN_NOTES = """\
With --source stdin or csv it ends when everything that was read is acknowledged by the platform. When a modem client runs on the
same directory already, the readings are only put into its outbox, and that one sends them.

exit status: 0 all went well; 1 could not go on; 2 wrong settings; 3 ended, but lines were skipped (each is named by its number)
"""


def run_cli(arguments: list[str], environment: Mapping[str, str], out: TextIO | None = None) -> int:
    """Runs one command; its exit status. ``out``: where results go (default: standard output)."""
    options = _parser().parse_args(arguments)
    overlay = {name: str(value) for name, value in vars(options).items() if name.isupper() and value is not None}
    options.environment = {**environment, **overlay}
    try:
        settings = ModemSettings.from_env(options.environment)
        chosen: Callable[[ModemSettings, argparse.Namespace, TextIO], int] = options.handler
        return chosen(settings, options, out or sys.stdout)
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        print("simway-modem: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (SettingError, StartError, KeyUnusable, CardError, PeerError) as error:
        print(f"error: simway-modem: {error}", file=sys.stderr)
        return 2


def _status(settings: ModemSettings, options: argparse.Namespace, out: TextIO) -> int:
    try:
        status = gather(settings)
    except SqliteUnusable as error:
        print(f"error: simway-modem: {error}", file=sys.stderr)
        return 1
    out.write(json.dumps(status, indent=2) + "\n" if options.json else table(status))
    return 0 if status["running"] and status["session"].get("attached") else 3


def _personalise(settings: ModemSettings, options: argparse.Namespace, out: TextIO) -> int:
    with Desk(settings, out).sim() as sim:
        if personalise(sim, settings.key_file, settings.key_version, options.transport_code):
            out.write(f"the SIM now holds the key of {settings.key_file}, version {settings.key_version}\n")
            return 0
    out.write("the SIM holds a key already; it takes one once in its life\n")
    return 1


def _hexadecimal(text: str) -> bytes:
    return bytes.fromhex(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simway-modem", formatter_class=formatter, epilog=_EXAMPLES,
        description="The device side of Simway: takes readings, keeps them safe, sends them, and switches carriers when told to.",
    )  # fmt: skip
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="measure or read, send, and obey", formatter_class=formatter, epilog=_RUN_NOTES)
    add_device_options(run)
    add_source_options(run)
    run.set_defaults(handler=cli_run.run)

    status = commands.add_parser("status", help="SIM, session, outbox and last command", formatter_class=formatter)
    add_option(status, "--dir", "MODEM_DIR", "the device's folder")
    status.add_argument("--json", action="store_true", help="for machines")
    status.set_defaults(handler=_status)

    once = commands.add_parser("personalise", help="give a blank SIM its device key, once", formatter_class=formatter)
    add_option(once, "--key-file", "DEVICE_KEY_FILE", "the key as 64 hexadecimal digits, mode 0600")
    add_card_options(once)
    code = "for an applet that was installed with a transport code"
    once.add_argument("--transport-code", metavar="HEX", type=_hexadecimal, default=b"", help=code)
    once.set_defaults(handler=_personalise)

    add_sim_commands(commands)
    return parser
