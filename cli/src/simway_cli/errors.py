"""What can go wrong, each with what to do next, and the exit status that it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses. They are part of what the command promises (docs/cli.md)."""

    OK = 0
    """What was asked for is done."""
    NOT_SO = 1
    """The question was answered, and the answer is no: a command that failed, a broken trail, lines that were not taken."""
    USAGE = 2
    """The command line, or a file that it names."""
    AWAY = 3
    """No server answers, it says that it cannot answer now, or its answer broke off."""
    TOKEN = 4
    """The API token is missing or refused."""
    NOT_FOUND = 5
    REFUSED = 6
    """The server will not do it as things stand (409, 429)."""
    INVALID = 7
    """The server does not take the request as it is (400, 413, 415, 422)."""
    OPEN = 8
    """How it ended is not known: UNKNOWN, or ``--wait`` was over."""
    INTERRUPTED = 130
    """Ctrl-C."""
    PIPE_CLOSED = 141
    """Whoever read the output stopped reading."""
    TERMINATED = 143


class CliError(Exception):
    """Ends the run. ``hint``: what to do next; ``lines``: details, one a line."""

    def __init__(self, text: str, *, exit_: Exit = Exit.USAGE, hint: str = "", lines: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.exit, self.hint, self.lines = exit_, hint, list(lines)


class Usage(CliError):
    """The command line's fault."""


class Away(CliError):
    """No server, or one that cannot answer."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text, exit_=Exit.AWAY, hint=hint)


class Refused(CliError):
    """An answer that is no success. ``status``: of HTTP; ``reason``: the server's stable word, empty where it gave none."""

    def __init__(
        self, text: str, *, exit_: Exit, status: int, reason: str = "", hint: str = "", lines: Sequence[str] = (),
        retry_after_s: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(text, exit_=exit_, hint=hint, lines=lines)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s
