"""What a modem writes, as lines, and which of them answer the command under way. Pure.

Rules that keep this clean: a modem may echo the command, put unsolicited results (URCs) between any two lines, cut its output
anywhere, and write garbage while it boots. So a line belongs to the answer only when the command's own pattern matches it; the
final result ends the command; everything else is unsolicited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

LINE_MAX_BYTES = 4_096
"""Longer than the longest answer, an APDU of 258 bytes in hexadecimal; a longer line is garbage and is dropped whole."""

_FINAL_ERROR = re.compile(r"(?:ERROR|\+CM[ES] ERROR:.*|ABORTED|COMMAND NOT SUPPORT|TOO MANY PARAMETERS)\Z")
_CME = re.compile(r"\+CME ERROR:\s*(.*?)\s*\Z")
_BOOT = re.compile(r"(?:RDY|APP RDY|\+CFUN: ?1|\^?SYSSTART|START|NORMAL POWER DOWN|POWERED DOWN)\Z")

CME_CODES = {
    "operation not allowed": 3, "operation not supported": 4, "sim not inserted": 10, "sim pin required": 11,
    "sim puk required": 12, "sim failure": 13, "sim busy": 14, "sim wrong": 15, "not found": 22, "no network service": 30,
    "incorrect parameters": 50, "unknown": 100,
}  # fmt: skip
"""The texts of AT+CMEE=2, for modems that know no other (TS 27.007, 9.2)."""


class Command(NamedTuple):
    """A command and the pattern of its information lines, matched from the line's start to its end; None: it has none."""

    text: str
    answer: re.Pattern[str] | None = None


@dataclass
class Answer:
    """What came back. ``error`` is empty for OK, else the final line; ``cme``: its code where it has one."""

    matches: list[re.Match[str]] = field(default_factory=list)
    error: str = ""

    @property
    def ok(self) -> bool:
        """The final result was OK."""
        return not self.error

    @property
    def first(self) -> re.Match[str] | None:
        """The first information line."""
        return self.matches[0] if self.matches else None

    @property
    def cme(self) -> int | None:
        """The code of +CME ERROR, of its number or of its text; None for a plain ERROR."""
        found = _CME.match(self.error)
        if found is None:
            return None
        text = found[1]
        return int(text) if text.isascii() and text.isdigit() else CME_CODES.get(text.lower(), CME_CODES["unknown"])


class Splitter:
    """Bytes to lines, whatever the chunks. Empty lines are left out; what is no ASCII becomes ``?``."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes."""
        lines = []
        *ended, rest = re.split(rb"[\r\n]", data)
        for part in ended:
            line = self._take(part)
            if line:
                lines.append(line)
        self._keep(rest)
        return lines

    def _take(self, part: bytes) -> str:
        self._keep(part)
        line = "" if self._skipping else self._kept.decode("ascii", "replace").replace("\ufffd", "?").strip(" \0")
        self._kept.clear()
        self._skipping = False
        return line

    def _keep(self, part: bytes) -> None:
        if not self._skipping and len(self._kept) + len(part) <= LINE_MAX_BYTES:
            self._kept += part
        else:
            self._skipping = True
            self._kept.clear()


class Dialogue:
    """One command under way: sorts lines until the final result."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.answer = Answer()
        self.over = False

    def take(self, line: str) -> bool:
        """True when the line belongs to this command; False: it is unsolicited."""
        if self.over:
            return False
        if self._is_echo(line):
            return True
        if is_final(line):
            self.over = True
            self.answer.error = "" if line == "OK" else line
            return True
        match = self._command.answer.fullmatch(line) if self._command.answer else None
        if match is not None:
            self.answer.matches.append(match)
        return match is not None

    def _is_echo(self, line: str) -> bool:
        """Garbage of the line may stand before the echo; AT alone is too short to be looked for inside a line."""
        text = self._command.text
        return line == text or (len(text) > 2 and line.endswith(text))


def is_final(line: str) -> bool:
    """True for a final result: it ends the answer to one command."""
    return line == "OK" or bool(_FINAL_ERROR.match(line))


def is_boot(line: str) -> bool:
    """True for an unsolicited line that tells that the modem starts, or goes down: what it was told before is void."""
    return bool(_BOOT.match(line))
