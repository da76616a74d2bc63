"""The parent's side of the generator: starts it, lets it go, takes its result."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from bench.generator import Load, command


@dataclass(frozen=True, slots=True)
class Sent:
    """What the generator says. ``uplinks``: acknowledged as logged; ``lost``: never answered; ``later``: told to come again.

    ``sent_s``: by device, when each uplink went out, where the load asked for ``stamps``.
    """

    uplinks: int
    lost: int
    later: int
    began_s: float
    elapsed_s: float
    latencies_s: Sequence[float]
    sent_s: dict[str, list[float]] = field(default_factory=dict)
    answered_s: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """By device: index and wait of each uplink that was logged."""

    def waits(self) -> Iterator[tuple[float, float]]:
        """When each stamped uplink went out, and how long it waited for its acknowledgement."""
        for device, answers in self.answered_s.items():
            out_s = self.sent_s[device]
            yield from ((out_s[index], wait_s) for index, wait_s in answers if index < len(out_s))


class Generator:
    """A generator process, attached and with its datagrams made; ``SystemExit`` when it gives up."""

    def __init__(self, load: Load) -> None:
        self._process = subprocess.Popen(command(load), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise SystemExit("the generator did not get ready")

    def go(self) -> None:
        """Lets it send."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> Sent:
        """Blocks until it is done."""
        found: dict[str, Any] = json.loads(self._line())
        return Sent(**found)

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the generator gave up; what it said is above")
        return line.strip()


def send(load: Load) -> Sent:
    """Sends all of it."""
    with Generator(load) as generator:
        generator.go()
        return generator.result()
