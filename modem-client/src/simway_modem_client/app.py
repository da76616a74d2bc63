"""The running modem client: outbox, source, card, link; startup, main loop, shutdown, in that order."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apsw
import structlog
from simway_backbone import metrics
from simway_backbone.service import Service, StartError
from simway_backbone.sqlite import SqliteUnusable
from simway_protocol.errors import PeerError
from simway_protocol.udp.client import ClientEndpoint
from simway_protocol.udp.keys import card_response

from simway_modem_client.agent import Agent
from simway_modem_client.bearers import Bearer, BearerUnusable, open_bearer
from simway_modem_client.card import CardError, NoDriver, SimCard, open_card
from simway_modem_client.journal import Journal, open_journal
from simway_modem_client.keys import CardKey, FileKey, KeyProvider, KeyUnusable, personalise, read_key_file
from simway_modem_client.link import Link
from simway_modem_client.outbox import Outbox, OutboxClosed, OutboxStats
from simway_modem_client.settings import ModemSettings
from simway_modem_client.sources import Source, SourceReport
from simway_modem_client.sources.signal import SignalSource
from simway_modem_client.terminal import SimTerminal, platform_at
from simway_modem_client.udp_loop import UdpLoop, UdpPath

ROUND_S = 1.0
"""Status file, metrics and health are refreshed this often."""
DRAIN_SAID_EVERY_S = 10.0

log = structlog.get_logger(__name__)


class ModemClient:
    """One device. ``run`` is the body of ``run_service``."""

    def __init__(self, settings: ModemSettings, source: Source) -> None:
        self._settings = settings
        self._source = source
        self.report = SourceReport()
        self._source_over = threading.Event()
        self._counted: OutboxStats | None = None
        self._refresh_at_s = self._say_at_s = 0.0
        self._has_radio = False

    def run(self, service: Service) -> None:
        """Until it is told to stop, or the source has ended and everything is acknowledged. Raises ``StartError``."""
        service.health.starting("server")
        try:
            self._outbox = Outbox(self._settings.outbox_path, max_bytes=self._settings.outbox_max_bytes)
            journal = open_journal(self._settings.journal_path)
        except (SqliteUnusable, apsw.Error, OSError) as error:
            raise StartError(f"{error}") from error
        service.defer(journal.close)
        service.defer(self._outbox.close)
        self._service = service
        bearer = make_bearer(self._settings)
        self._has_radio = bearer.has_radio
        service.defer(bearer.close)
        self._clock_us = steady_clock()
        self._sim = sim = SimCard(
            lambda: open_card(self._settings.card, self._card_settings(journal)), terminal=self._make_terminal(bearer)
        )
        service.defer(sim.drop)
        self._link, path = self._build(journal, sim, bearer)
        loop = UdpLoop(self._link, path)
        service.defer(loop.close)
        self._outbox.on_commit = loop.wake
        service.on_stop(loop.wake)
        service.on_stop(self._outbox.interrupt)
        threading.Thread(target=self._run_source, name="source", daemon=True).start()
        if bearer.has_radio and self._settings.signal_interval_s:
            threading.Thread(target=self._run_signal, args=[bearer], name="signal", daemon=True).start()
        self._refresh()
        loop.run(self._is_over, self._refresh)
        self._write_status(attached=False)

    # --- startup -------------------------------------------------------------------------------------------------------

    def _build(self, journal: Journal, sim: SimCard, bearer: Bearer) -> tuple[Link, UdpPath]:
        settings = self._settings
        keys = make_keys(settings, sim, may_be_away=journal.open_switch() is not None)
        endpoint = ClientEndpoint(device=settings.device, key_version=keys.key_version, random=os.urandom)
        path = UdpPath(bearer, settings.server_host, settings.server_port, settings.local_port)
        clock_us = self._clock_us

        def agent_of(link: Link) -> Agent:
            return Agent(
                device=settings.device, keys=keys, sim=sim, journal=journal, uplink=endpoint, clock_us=clock_us,
                reattach=link.reattach, proof=bearer.proof, describe=link.describe,
                registration=bearer.registration, switch_floor_s=bearer.switch_floor_s,
            )  # fmt: skip

        link = Link(
            endpoint=endpoint, outbox=self._outbox, agent_of=agent_of, keys=keys, sim=sim, path=path, bearer=bearer,
            boot_counter=journal.count_boot(), last_counter=lambda: journal.last_counter, clock_us=clock_us,
            rng=random.Random(),
        )  # fmt: skip
        return link, path

    def _card_settings(self, journal: Journal) -> dict[str, str]:
        """While a switch is open, a driver that can choose takes no card but the one that holds its target."""
        settings, opened = self._settings.card_settings, journal.open_switch()
        return settings if opened is None or settings["iccid"] else settings | {"iccid": opened.target}

    def _make_terminal(self, bearer: Bearer) -> SimTerminal | None:
        """None where the SIM sits in a modem, which is its terminal."""
        settings = self._settings
        if settings.card == "at":
            return None
        return SimTerminal(
            device=settings.device, outbox=self._outbox, clock_us=self._clock_us, registration=bearer.registration,
            is_platform=platform_at(settings.server_host, settings.server_port),
        )  # fmt: skip

    def _run_source(self) -> None:
        try:
            self.report = self._source.run(self._outbox, self._service.stopping)
        except OutboxClosed:
            log.info("the source was stopped")
            self.report.error = "stopped before the end" if self._source.ends else ""
        except Exception as error:
            log.exception("the source failed")
            self.report.error = str(error) or repr(error)
        self._outbox.flush()
        if self.report.error:
            log.error("the source ended early", why=self.report.error)
        self._source_over.set()

    def _run_signal(self, bearer: Bearer) -> None:
        """Ends with the source, so that what is waited for to be acknowledged comes to an end."""
        try:
            SignalSource(bearer.registration, self._settings.signal_interval_s).run(self._outbox, self._source_over)
        except OutboxClosed:
            log.info("signal readings were stopped")

    # --- main loop -----------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._service.stopping.is_set():
            return True
        if not self._source.ends or not self._source_over.is_set():
            return False
        return bool(self.report.error) or self._outbox.is_empty()

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s < self._refresh_at_s:
            return
        self._refresh_at_s = now_s + ROUND_S
        stats = self._outbox.stats()
        self._count(stats)
        state = self._link.state
        self._service.health.set("server", None if self._link.endpoint.attached else state.trouble)
        self._service.health.set("outbox", self._outbox.trouble)
        self._service.health.set("source", self.report.error or None)
        self._write_status(attached=self._link.endpoint.attached)
        if self._source.ends and self._source_over.is_set() and now_s >= self._say_at_s:
            self._say_at_s = now_s + DRAIN_SAID_EVERY_S
            log.info("waiting for acknowledgement", readings=stats.waiting, trouble=state.trouble or None)

    def _count(self, stats: OutboxStats) -> None:
        before, self._counted = self._counted, stats
        metrics.DEVICE_OUTBOX_READINGS.set(stats.waiting)
        metrics.DEVICE_OUTBOX_BYTES.set(stats.waiting_bytes)
        metrics.DEVICE_ATTACHED.set(1 if self._link.endpoint.attached else 0)
        metrics.DEVICE_RTT.set((self._link.endpoint.rtt_us or 0) / 1e6)
        if before is not None:
            metrics.DEVICE_DROPPED.inc(stats.dropped_total - before.dropped_total)
            metrics.DEVICE_READINGS.labels("taken").inc(stats.next_seq - before.next_seq)
            metrics.DEVICE_READINGS.labels("logged").inc(stats.logged_total - before.logged_total)
            metrics.DEVICE_READINGS.labels("rejected").inc(stats.rejected_total - before.rejected_total)

    def _write_status(self, *, attached: bool) -> None:
        state = self._link.state
        status: dict[str, Any] = {
            "pid": os.getpid(),
            "t_us": time.time_ns() // 1000,
            "device": self._settings.device,
            "server": f"{self._settings.server_host}:{self._settings.server_port}",
            "session": asdict(state) | {"attached": attached, "rtt_us": self._link.endpoint.rtt_us},
            "sim": self._link.agent.inventory,
            "toolkit": self._sim.terminal.describe() if self._sim.terminal else None,
            "bearer": self._settings.bearer,
            "registration": self._link.registration().evidence() if self._has_radio else {},
            "source": self._settings.source,
        }
        write_atomically(self._settings.status_path, json.dumps(status))


def make_bearer(settings: ModemSettings) -> Bearer:
    """What carries the datagrams. Raises ``StartError``."""
    try:
        return open_bearer(settings.bearer, settings.bearer_settings)
    except BearerUnusable as error:
        raise StartError(str(error)) from error


def make_keys(settings: ModemSettings, sim: SimCard, *, may_be_away: bool) -> KeyProvider:
    """The key's holder. A blank virtual SIM is personalised on the way.

    ``may_be_away``: a switch is open, so that an applet which cannot be reached now may come back with the way back.
    Raises ``StartError`` when the device has no key.
    """
    try:
        _open_if_possible(sim)
        if settings.key_provider == "file":
            return FileKey(settings.key_file, settings.key_version)
        survives = settings.card_key_level == "card"
        return CardKey(sim, _key_version_on_card(settings, sim, may_be_away=may_be_away), survives_switch=survives)
    except (KeyUnusable, NoDriver) as error:
        raise StartError(str(error)) from error


def _open_if_possible(sim: SimCard) -> None:
    """A card that is away may come; a driver that is not installed will not. Raises ``NoDriver``."""
    try:
        sim.use()
    except NoDriver:
        raise
    except CardError as error:
        log.warning("the SIM cannot be opened yet; the link will try again", error=str(error))


def _key_version_on_card(settings: ModemSettings, sim: SimCard, *, may_be_away: bool) -> int:
    try:
        if settings.card == "virtual" and personalise(sim, settings.key_file, settings.key_version):
            log.info("the blank virtual SIM now holds the device key", key_file=str(settings.key_file))
        status = sim.use().applet_status()
        if status is None or not status.personalised:
            if may_be_away:
                return settings.key_version
            raise KeyUnusable(
                "the card has no Simway applet that holds a key: run `simway-modem personalise`, or use a key file "
                "(KEY_PROVIDER=file, DEVICE_KEY_FILE)"
            )
        _warn_of_other_key(settings, sim)
        return status.key_version
    except NoDriver:
        raise
    except (CardError, PeerError) as error:
        log.warning("the SIM cannot be read yet; the link will try again", error=str(error))
        sim.drop()
        return settings.key_version


def _warn_of_other_key(settings: ModemSettings, sim: SimCard) -> None:
    """A virtual SIM made for another platform is refused by this one: say so where both keys are at hand."""
    if settings.card != "virtual" or not settings.key_file.exists():
        return
    challenge = os.urandom(32)
    if sim.use().applet_authenticate(challenge) != card_response(read_key_file(settings.key_file), challenge):
        log.warning(
            "the virtual SIM holds another key than DEVICE_KEY_FILE; for a new SIM remove its file",
            sim=settings.card_settings["state_file"], key_file=str(settings.key_file),
        )  # fmt: skip


def steady_clock() -> Any:
    """UTC microseconds as of now, going on steadily whatever is done to the system's clock, through suspend too."""
    clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    ahead_us = time.time_ns() // 1000 - time.clock_gettime_ns(clock_id) // 1000
    return lambda: time.clock_gettime_ns(clock_id) // 1000 + ahead_us


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one. A disk that refuses costs the status only."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(text)
        fresh.replace(path)
    except OSError as error:
        log.warning("the status file cannot be written", error=str(error))


def feed(settings: ModemSettings, source: Source, stopping: threading.Event) -> SourceReport:
    """Puts a source's readings into the outbox of a modem client that runs elsewhere, which sends them.

    Raises ``SqliteUnusable``, naming the file: of another schema, or damaged (it is not set aside under the other's feet).
    """
    try:
        with Outbox(settings.outbox_path, max_bytes=settings.outbox_max_bytes, set_aside=False) as outbox:
            try:
                report = source.run(outbox, stopping)
            except OutboxClosed:
                report = SourceReport(error="stopped")
            if not outbox.flush():
                report.error = report.error or outbox.trouble or f"the outbox {outbox.path} takes too long to write"
    except apsw.Error as error:
        raise SqliteUnusable(f"{settings.outbox_path} cannot be used: {error}; if it is damaged, move it away") from error
    return report
