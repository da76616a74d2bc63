"""``python -m bench``: each figure as one JSON object a line on standard output, progress and a table on standard error."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from functools import cached_property
from pathlib import Path

from simway_backbone import logs
from simway_testing import Unavailable, kafka_server, postgres_server

from bench import card, command, recorder, udp_ingest
from bench.figures import Figure, machine, progress, table

QUICK_SCALE = 0.12


class Run:
    """One run below ``directory``. Kafka and PostgreSQL start when they are first needed, and end with ``servers``."""

    def __init__(self, directory: Path, servers: contextlib.ExitStack, *, quick: bool, embedded_alone: bool) -> None:
        self._directory, self._servers, self._quick, self._embedded_alone = directory, servers, quick, embedded_alone

    @cached_property
    def _kafka_url(self) -> str:
        return self._servers.enter_context(kafka_server.running(_made(self._directory / "broker")))

    @cached_property
    def _postgres_url(self) -> str:
        return self._servers.enter_context(postgres_server.running(_made(self._directory / "postgresql"), durable=True))

    def udp(self) -> list[Figure]:
        """What a udp-server takes in."""
        scale = QUICK_SCALE if self._quick else 1.0
        figures = udp_ingest.measure(self._directory, "sqlite:///{place}/log", "embedded", scale=scale)
        if not self._embedded_alone:
            figures += udp_ingest.measure(self._directory, self._kafka_url, "kafka", scale=scale)
        return figures

    def recorder(self) -> list[Figure]:
        """What the recorder stores."""
        readings, rounds = (30_000, 2) if self._quick else (200_000, 5)
        loads = recorder.LOADS[:1] if self._quick else recorder.LOADS
        url = f"sqlite:///{self._directory / 'store.db'}"
        place = _made(self._directory / "sqlite")
        figures = recorder.measure(place, url, "sqlite", readings=readings, rounds=rounds, loads=loads)
        if not self._embedded_alone:
            url = postgres_server.database(self._postgres_url)
            log = _made(self._directory / "pg-log")
            figures += recorder.measure(log, url, "postgresql", readings=readings, rounds=rounds, loads=loads)
        return figures

    def command(self) -> list[Figure]:
        """How long a command takes; the quick run has no time for Kafka and PostgreSQL."""
        pings, switches = (20, command.SWITCHES_AT_ONCE) if self._quick else (200, 40)
        place = _made(self._directory / "platform")
        figures = command.measure(place, "embedded", pings=pings, switches=switches)
        if not (self._quick or self._embedded_alone):
            place, store_url = _made(self._directory / "platform-kafka"), postgres_server.database(self._postgres_url)
            figures += command.measure(
                place, "kafka", pings=pings, switches=switches, log_url=self._kafka_url, store_url=store_url
            )
        return figures

    def card(self) -> list[Figure]:
        """How fast a SIM answers; nothing where pcscd or pyscard is missing."""
        try:
            return card.measure(_made(self._directory / "card"), scale=QUICK_SCALE if self._quick else 1.0)
        except Unavailable as missing:
            progress(f"no figures of cards without {missing}")
            return []


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs: all figures in under 50 s")
    parser.add_argument("--only", choices=("udp", "recorder", "command", "card"), help="just these figures")
    parser.add_argument("--embedded", action="store_true", help="without a Kafka broker and PostgreSQL")
    options = parser.parse_args()
    logs.configure("bench", "warning")
    progress(machine())
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="simway-bench-") as name, contextlib.ExitStack() as servers:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user than root
        run = Run(directory, servers, quick=options.quick, embedded_alone=options.embedded)
        for part, measure in (("udp", run.udp), ("recorder", run.recorder), ("command", run.command), ("card", run.card)):
            if options.only in (None, part):
                figures += measure()
    print(f"\n{machine()}\n\n{table(figures)}", file=sys.stderr)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


if __name__ == "__main__":
    main()
