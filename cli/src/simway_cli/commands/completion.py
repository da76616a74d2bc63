"""``simway completion``: what a shell needs to complete sub-commands, flags and choices (shtab)."""

from __future__ import annotations

from functools import partial
from typing import Any

from simway_cli.errors import Exit
from simway_cli.parsing import Arguments, Parser, Run, add_command

SHELLS = ("bash", "zsh", "tcsh")


def add(where: Any, whole: Parser) -> None:
    """Adds the sub-command. ``whole``: the parser that is to be completed."""
    parser = add_command(
        where,
        "completion",
        "Prints what a shell needs to complete sub-commands and flags.",
        handler=partial(_completion, whole),
        examples=[
            ('eval "$(simway completion bash)"', "in ~/.bashrc"),
            ("simway completion zsh >~/.zfunc/_simway", "a folder of zsh's fpath"),
        ],
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or tcsh")


def _completion(whole: Parser, run: Run, args: Arguments) -> Exit:
    import shtab

    run.screen.line(shtab.complete(whole, shell=args.shell))
    return Exit.OK
