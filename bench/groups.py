"""The groups of figures, each with a broker and a database of its own, which start when they are first asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from simway_testing import Unavailable, kafka_server, postgres_server

from bench import backlog, card, command, fleet, pipeline, query, recorder, udp_ingest
from bench.figures import Figure, progress
from bench.stored import made

QUICK_SCALE = 0.12
FLEETS, FLEETS_QUICK = (1_000, 10_000, 100_000), (1_000, 10_000)
EMBEDDED, CLUSTER = "embedded", "kafka_postgresql"


class Run:
    """One group's run below ``directory``, its servers ended by ``servers``. ``embedded_alone``: without Kafka and PostgreSQL."""

    def __init__(self, directory: Path, servers: contextlib.ExitStack, *, quick: bool, embedded_alone: bool) -> None:
        self._directory, self._servers, self._quick, self._embedded_alone = directory, servers, quick, embedded_alone

    @cached_property
    def _kafka_url(self) -> str:
        return self._servers.enter_context(kafka_server.running(made(self._directory / "broker")))

    @cached_property
    def _postgres_url(self) -> str:
        return self._servers.enter_context(postgres_server.running(made(self._directory / "postgresql"), durable=True))

    def udp(self) -> list[Figure]:
        """What a udp-server takes in."""
        scale = QUICK_SCALE if self._quick else 1.0
        figures = udp_ingest.measure(self._directory, "sqlite:///{place}/log", EMBEDDED, scale=scale)
        if not self._embedded_alone:
            figures += udp_ingest.measure(self._directory, self._kafka_url, "kafka", scale=scale)
        return figures

    def recorder(self) -> list[Figure]:
        """What the recorder stores."""
        readings, rounds = (80_000, 2) if self._quick else (200_000, 5)
        url = f"sqlite:///{self._directory / 'store.db'}"
        place = made(self._directory / "sqlite")
        figures = recorder.measure(place, url, "sqlite", readings=readings, rounds=rounds, quick=self._quick)
        if not self._embedded_alone:
            place, url = made(self._directory / "pg-log"), postgres_server.database(self._postgres_url)
            figures += recorder.measure(place, url, "postgresql", readings=readings, rounds=rounds, quick=self._quick)
        return figures

    def pipeline(self) -> list[Figure]:
        """From datagrams to rows."""
        readings, rounds = (60_000, 2) if self._quick else (400_000, 4)
        return self._on_pairs("pipeline", lambda *pair: pipeline.measure(*pair, readings=readings, rounds=rounds))

    def backlog(self) -> list[Figure]:
        """A backlog beside live traffic, and a flood."""
        live_s, rounds, flood = (3.0, 1, 60_000) if self._quick else (8.0, 4, 150_000)
        return self._on_pairs(
            "backlog", lambda *pair: backlog.measure(*pair, live_s=live_s, rounds=rounds, flood_uplinks=flood)
        )  # fmt: skip

    def query(self) -> list[Figure]:
        """Charts of a day."""
        times = 20 if self._quick else 200
        stores = [("sqlite", f"sqlite:///{self._directory / 'day.db'}")]
        if not self._embedded_alone:
            stores.append(("postgresql", postgres_server.database(self._postgres_url)))
        return [
            figure
            for name, url in stores
            for figure in query.measure(made(self._directory / f"query-{name}"), url, name, times=times)
        ]

    def fleet(self) -> list[Figure]:
        """Many devices."""
        sizes, uplinks, rounds = (FLEETS_QUICK, 10_000, 1) if self._quick else (FLEETS, 100_000, 2)
        place = made(self._directory / "fleets")
        stores = {EMBEDDED: ("sqlite:///{place}/log", f"sqlite:///{place / 'store.db'}")}
        if not self._embedded_alone:
            stores["embedded_postgresql"] = ("sqlite:///{place}/log", postgres_server.database(self._postgres_url))
        return [
            figure
            for name, (log_url, store_url) in stores.items()
            for figure in fleet.measure(made(place / name), log_url, store_url, name, sizes=sizes, uplinks=uplinks, rounds=rounds)
        ]

    def command(self) -> list[Figure]:
        """How long a command takes; the quick run has no time for Kafka and PostgreSQL."""
        pings, switches = (20, command.SWITCHES_AT_ONCE) if self._quick else (200, 40)
        figures = command.measure(made(self._directory / "platform"), EMBEDDED, pings=pings, switches=switches)
        if not (self._quick or self._embedded_alone):
            place, store_url = made(self._directory / "platform-kafka"), postgres_server.database(self._postgres_url)
            figures += command.measure(
                place, "kafka", pings=pings, switches=switches, log_url=self._kafka_url, store_url=store_url
            )
        return figures

    def card(self) -> list[Figure]:
        """How fast a SIM answers; nothing where pcscd or pyscard is missing."""
        try:
            return card.measure(made(self._directory / "card"), scale=QUICK_SCALE if self._quick else 1.0)
        except Unavailable as missing:
            progress(f"no figures of cards without {missing}")
            return []

    def _on_pairs(self, group: str, measure: Callable[[Path, str, str, str], list[Figure]]) -> list[Figure]:
        """On the embedded log and store, and on a Kafka broker and PostgreSQL."""
        place = made(self._directory / group)
        figures = measure(place, f"sqlite:///{place / 'log'}", f"sqlite:///{place / 'store.db'}", EMBEDDED)
        if not self._embedded_alone:
            place, store_url = made(self._directory / f"{group}-cluster"), postgres_server.database(self._postgres_url)
            figures += measure(place, self._kafka_url, store_url, CLUSTER)
        return figures


GROUPS: dict[str, Callable[[Run], list[Figure]]] = {
    "udp": Run.udp, "recorder": Run.recorder, "pipeline": Run.pipeline, "backlog": Run.backlog, "query": Run.query,
    "fleet": Run.fleet, "command": Run.command, "card": Run.card,
}  # fmt: skip
QUICK_GROUPS = ("udp", "recorder", "card")
"""What the quick run has time for; ``--only`` takes the others, too."""
