"""``python -m bench``: each figure as one JSON object a line on standard output, progress and a table on standard error."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from simway_backbone import logs
from simway_testing import kafka_server, postgres_server

from bench import recorder, udp_ingest
from bench.figures import Figure, machine, progress, table

QUICK_SCALE = 0.2


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs: all figures in under 50 s")
    parser.add_argument("--only", choices=("udp", "recorder"), help="just these figures")
    parser.add_argument("--embedded", action="store_true", help="without a Kafka broker and PostgreSQL")
    options = parser.parse_args()
    logs.configure("bench", "warning")
    progress(machine())
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="simway-bench-") as name, contextlib.ExitStack() as servers:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user than root
        scale = QUICK_SCALE if options.quick else 1.0
        if options.only != "recorder":
            figures += udp_ingest.measure(directory, "sqlite:///{place}/log", "embedded", scale=scale)
            if not options.embedded:
                url = servers.enter_context(kafka_server.running(_made(directory / "broker")))
                figures += udp_ingest.measure(directory, url, "kafka", scale=scale)
        if options.only != "udp":
            readings, rounds = (40_000, 2) if options.quick else (200_000, 5)
            url = f"sqlite:///{directory / 'store.db'}"
            figures += recorder.measure(_made(directory / "sqlite"), url, "sqlite", readings=readings, rounds=rounds)
            if not options.embedded:
                server_url = servers.enter_context(postgres_server.running(_made(directory / "postgresql"), durable=True))
                url = postgres_server.database(server_url)
                figures += recorder.measure(_made(directory / "pg-log"), url, "postgresql", readings=readings, rounds=rounds)
    print(f"\n{machine()}\n\n{table(figures)}", file=sys.stderr)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


if __name__ == "__main__":
    main()
