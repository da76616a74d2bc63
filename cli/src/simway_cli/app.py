"""The whole command: parse, run one sub-command, turn whatever happens into words and an exit status."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from importlib import metadata
from types import FrameType
from typing import NoReturn, TextIO

from simway_cli.client import Client
from simway_cli.commands import (
    command,
    completion,
    devices,
    export,
    imports,
    letters,
    loss,
    readings,
    retention,
    service,
    sim,
    writers,
)
from simway_cli.errors import Away, CliError, Exit
from simway_cli.output import Screen, screen_for, to_nowhere
from simway_cli.parsing import Parser, Run, add_everywhere, examples_text, group
from simway_cli.settings import Settings
from simway_cli.table import clean
from simway_cli.times import Times

ROOMS = (service, devices, readings, export, imports, command, sim, loss, letters, retention, writers)
_EXITS = """exit status:
  0  done                                          4  the API token is missing or refused
  1  the answer is no: a command failed, a trail   5  no such device, command, ...
     is broken, lines were not taken               6  refused as things stand (409, 429)
  2  the command line does not fit                 7  the server does not take the request (400, 422, ...)
  3  no server answers, or its answer broke off    8  how it ended is not known
"""
_EXAMPLES = (
    ("simway devices", "what is there"),
    ("simway readings demo --last 1h --plot", "how it has been"),
    ("simway command demo switch --provider NAME --follow", "another carrier, to the end"),
    ("simway export demo --last 1d -o day.parquet", "take it with you"),
    ("simway devices --help", "more of each"),
)


class Terminated(BaseException):
    """SIGTERM: what is under way is put away before the end."""


def make_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="simway",
        description="Simway from a terminal, over its REST API: devices, readings, commands.",
        epilog=f"{_EXITS}\n{examples_text(_EXAMPLES)}",
    )
    parser.add_argument("--version", action="version", version=f"simway {metadata.version('simway-cli')}")
    add_everywhere(parser)
    where = group(parser, title="sub-commands", name="what", required=True)
    for room in ROOMS:
        room.add(where)
    completion.add(where, parser)
    return parser


def run(argv: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """Runs one command line; the exit status. Everything that a person can cause ends here in words, not in a trace."""
    try:
        return _told(argv, environ, out, err)
    except BrokenPipeError:
        to_nowhere(out)
        return Exit.PIPE_CLOSED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Terminated:
        return Exit.TERMINATED


def _told(argv: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    screen = screen_for(out, err, environ, json_=False, colour="auto")
    try:
        args = make_parser().parse_args(list(argv))
        screen = screen_for(out, err, environ, json_=getattr(args, "json", False), colour=getattr(args, "color", "auto"))
        return _run(args, Settings.from_env(environ), screen)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    except KeyError as error:
        _complain(screen, Away(f"the server's answer lacks {error}", hint="Server and command are of different releases."))
        return Exit.AWAY
    except CliError as error:
        _complain(screen, error)
        return error.exit


def _run(args: argparse.Namespace, settings: Settings, screen: Screen) -> int:
    client = Client(getattr(args, "url", settings.url), getattr(args, "token_file", settings.token_file))
    times = Times(UTC if getattr(args, "utc", False) else None, time.time_ns() // 1000)
    try:
        status: int = args.handler(Run(client, screen, times), args)
        screen.finish()
        return status
    finally:
        client.close()


def _complain(screen: Screen, error: CliError) -> None:
    text = "\n".join(
        [screen.err_style.paint("simway: ", "red") + clean(str(error)), *(f"  {clean(line)}" for line in error.lines)]
        + ([f"  {error.hint}"] if error.hint else [])
    )
    try:
        screen.err.write(text + "\n")
        screen.err.flush()
    except BrokenPipeError:
        to_nowhere(screen.err)


def on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    """A signal handler: ends the run as an exception, so that no half file is left."""
    raise Terminated


def guard_signals() -> None:
    """SIGTERM ends as orderly as Ctrl-C."""
    signal.signal(signal.SIGTERM, on_sigterm)
