"""How sub-commands describe themselves: flags, a help text that teaches, and the function that runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from simway_cli.client import Client
from simway_cli.errors import Exit, Usage
from simway_cli.output import Screen
from simway_cli.times import Times, duration_us

Arguments = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Run:
    """What a sub-command works with."""

    client: Client
    screen: Screen
    times: Times


EVERYWHERE_TITLE = "everywhere"
EVERYWHERE = frozenset({"help", "url", "token_file", "json", "utc", "color"})
Handler = Callable[[Run, Arguments], Exit]
Examples = Sequence[tuple[str, str]]


class Parser(argparse.ArgumentParser):
    """Errors are raised as ``Usage``; abbreviations of flags are not taken, since a later flag would change their meaning."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **more)

    def format_help(self) -> str:
        """What is the same everywhere comes last."""
        self._action_groups.sort(key=lambda group: group.title == EVERYWHERE_TITLE)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """The command line does not fit."""
        raise Usage(message, hint=f"'{self.prog} --help' shows how.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **more: Any) -> None:
        super().__init__(prog, max_help_position=28, **more)

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        """The first lines, without the flags that are the same everywhere."""
        super().add_usage(usage, [action for action in actions if action.dest not in EVERYWHERE], groups, prefix)


def group(parser: Parser, *, title: str, name: str, required: bool = False) -> Any:
    """A place for sub-commands; their name lands in ``args.<name>``."""
    return parser.add_subparsers(title=title, dest=name, required=required, metavar=name.upper(), parser_class=Parser)


def add_command(
    where: Any, name: str, summary: str, *, handler: Handler | None = None, about: str = "", examples: Examples = ()
) -> Parser:
    """A sub-command. ``about``: what its help says after the summary; ``examples``: lines to type, each with what it does."""
    description = summary + (f"\n\n{about}" if about else "")
    parser: Parser = where.add_parser(name, help=summary.rstrip("."), description=description, epilog=examples_text(examples))
    add_everywhere(parser)
    if handler is not None:
        parser.set_defaults(handler=handler)
    return parser


def examples_text(examples: Examples) -> str:
    """The end of a help text."""
    room = max((len(line) for line, _ in examples), default=0)
    if room > 46:
        return "examples:\n" + "\n".join(f"  {line}\n      {does}" for line, does in examples)
    return "examples:\n" + "\n".join(f"  {line.ljust(room)}  {does}" for line, does in examples) if examples else ""


def add_everywhere(parser: Parser) -> None:
    """The flags that every sub-command takes, before or after its name."""
    flags = parser.add_argument_group(EVERYWHERE_TITLE)
    flags.add_argument("--url", default=argparse.SUPPRESS, help="address of the server (SIMWAY_URL; else http://127.0.0.1:8000)")
    flags.add_argument(
        "--token-file", metavar="FILE", default=argparse.SUPPRESS,
        help="file with the API token (SIMWAY_TOKEN_FILE; else var/admin.token)",
    )  # fmt: skip
    flags.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON as the API answers it, for programs")
    flags.add_argument("--utc", action="store_true", default=argparse.SUPPRESS, help="times in UTC; else in this machine's zone")
    flags.add_argument(
        "--color", choices=("auto", "always", "never"), default=argparse.SUPPRESS, help="auto: on a terminal, without NO_COLOR"
    )


def add_limit(parser: Parser, default: int, what: str) -> None:
    """``--limit``: 0 for all."""
    parser.add_argument(
        "--limit", type=natural, default=default, metavar="N", help=f"at most so many {what}; 0 for all (default {default})"
    )


def add_range(parser: Parser) -> None:
    """``--last``, ``--from`` and ``--to``."""
    flags = parser.add_argument_group(
        "time range", "from <= time < to; times such as 2026-01-31T12:00:00Z, '2026-01-31 12:00', '2h ago'"
    )
    flags.add_argument("--last", type=_duration, metavar="SPAN", help="until now, since so long ago: 90s, 15m, 1h30m, 7d")
    flags.add_argument("--from", dest="from_", metavar="TIME", help="not before")
    flags.add_argument("--to", metavar="TIME", help="only before")


def inherit(parser: Parser) -> None:
    """Flags that the parser above has too: given there and not here, they hold."""
    for action in parser._actions:
        if action.option_strings and action.dest != "help":
            action.default = argparse.SUPPRESS


def time_range(times: Times, args: Arguments) -> tuple[int | None, int | None]:
    """From and to in microseconds; None where open. Raises ``Usage``."""
    if args.last is not None:
        if args.from_ is not None or args.to is not None:
            raise Usage("--last and --from or --to together say two things", hint="Give --last alone, or --from and --to.")
        return times.now_us - args.last, None
    from_us = times.moment_us(args.from_) if args.from_ is not None else None
    to_us = times.moment_us(args.to) if args.to is not None else None
    if from_us is not None and to_us is not None and from_us > to_us:
        raise Usage("--from is later than --to", hint="Turn them round.")
    return from_us, to_us


def _duration(text: str) -> int:
    try:
        return duration_us(text)
    except Usage as error:
        raise argparse.ArgumentTypeError(f"{error}. {error.hint}") from error


duration = _duration


def natural(text: str) -> int:
    """A whole number from 0."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    if not (number := natural(text)):
        raise argparse.ArgumentTypeError("0 is too small")
    return number
