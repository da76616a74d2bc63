"""The entry points: settings in, a running process out. ``__main__`` picks one."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING

import structlog
from simway_backbone import logs, metrics, open_log
from simway_backbone.health import Health
from simway_backbone.log import Log, LogError
from simway_backbone.service import Service, StartError, run_service
from simway_backbone.settings import SettingError, read_secret
from simway_backbone.tracing import open_tracer

from simway_flask_app import init, letter_keeper
from simway_flask_app.anchors import PERIOD_S as ANCHOR_PERIOD_S
from simway_flask_app.anchors import Anchors
from simway_flask_app.audits import PERIOD_S as AUDITS_PERIOD_S
from simway_flask_app.audits import Audits
from simway_flask_app.clock import utc_now_us as now_us
from simway_flask_app.device_events import DeviceEvents
from simway_flask_app.dispatcher import CONSUMER as DISPATCHER
from simway_flask_app.dispatcher import TOPIC as EVENTS
from simway_flask_app.dispatcher import Dispatcher
from simway_flask_app.gauges import LOSS_PERIOD_S, LedgerGauges, LossGauges
from simway_flask_app.gauges import PERIOD_S as GAUGES_PERIOD_S
from simway_flask_app.lag import LagGauges
from simway_flask_app.letter_keeper import LetterKeeper
from simway_flask_app.overdue import PERIOD_S as OVERDUE_PERIOD_S
from simway_flask_app.overdue import refresh_overdue
from simway_flask_app.periodic import JOIN_S, Periodic
from simway_flask_app.recorder import CONSUMER, TOPIC, Committed, Recorder, spare_the_collector
from simway_flask_app.rights import WriterKey
from simway_flask_app.settings import (
    DispatcherSettings,
    InitSettings,
    RecorderSettings,
    StoreSettings,
    WebSettings,
    read_master_secret,
)
from simway_flask_app.store.port import SchemaMismatch, StoreError, StoreUnavailable
from simway_flask_app.store.retention import PERIOD_S as RETENTION_PERIOD_S
from simway_flask_app.store.sql import SqlStore, open_store
from simway_flask_app.store.uplinks import Outcome, StoredReadings
from simway_flask_app.store.writers import APPLICATION
from simway_flask_app.traces import CommitTraces
from simway_flask_app.trail import Signer
from simway_flask_app.watching import DATABASE, StoreWatch
from simway_flask_app.watching import PERIOD_S as WATCH_PERIOD_S

if TYPE_CHECKING:
    from flask import Flask

log = structlog.get_logger()

DAY_S = 24 * 3600
WRITERS_PERIOD_S = 3600.0
WRITERS_KEPT_US = 7 * DAY_S * 1_000_000
"""A recorder that was not seen for so long is no longer shown."""
STOP_DEADLINE_S = 10.0
PARTITIONS_PERIOD_S = 0.25
LOG_CLOSE_S = 3.0
"""How long appends under way may take at the end."""


def run_init(settings: InitSettings) -> None:
    """Makes what is missing, then returns. Ends the process with status 1 or 2 and one clear line when it cannot."""
    logs.configure("init", settings.log_level, settings.log_format)
    try:
        init.initialise(settings, now_us=now_us)
    except SettingError as error:
        sys.exit(_say("init", error, 2))
    except (LogError, StoreError, OSError) as error:
        sys.exit(_say("init", error, 1))


def run_web(settings: WebSettings) -> None:
    """Serves the REST API and the page until told to stop."""
    from simway_flask_app.web.app import WebConfig, create_app
    from simway_flask_app.web.serve import serve
    from simway_flask_app.web.watched import WatchedWeb

    logs.configure("web", settings.service.log_level, settings.service.log_format)
    try:
        config = WebConfig(
            admin_token=read_secret(settings.admin_token_file, "ADMIN_TOKEN_FILE"),
            session_secret=read_secret(settings.session_secret_file, "SESSION_SECRET_FILE").encode(),
            master_secret=read_master_secret(settings.master_secret_file),
            switches_per_day=settings.switches_per_day,
        )
        url = settings.store.complete_url()
        watched = WatchedWeb(settings.service.metrics_host, settings.service.metrics_port)
        with watched.answering():
            checked = open_store(url)
            _await_schema(checked, watched.health)
            checked.close()
    except (SettingError, StartError, SchemaMismatch) as error:
        sys.exit(_say("web", error, 2))

    def make_app() -> Flask:
        store = open_store(url)
        watched.start(store)
        app = create_app(config, store)
        gc.collect()
        gc.freeze()  # what the app consists of stays: to look through it again cost whoever asked just then 50 ms
        return app

    serve(make_app, host=settings.host, port=settings.port)


def run_recorder(settings: RecorderSettings) -> None:
    """Records until told to stop."""
    run_service(
        "recorder", lambda service: _record(service, settings), metrics_host=settings.service.metrics_host,
        metrics_port=settings.service.metrics_port, log_level=settings.service.log_level,
        log_format=settings.service.log_format, stop_deadline_s=STOP_DEADLINE_S,
    )  # fmt: skip


def run_dispatcher(settings: DispatcherSettings) -> None:
    """Dispatches until told to stop."""
    run_service(
        "dispatcher", lambda service: _dispatch(service, settings), metrics_host=settings.service.metrics_host,
        metrics_port=settings.service.metrics_port, log_level=settings.service.log_level,
        log_format=settings.service.log_format, stop_deadline_s=STOP_DEADLINE_S,
    )  # fmt: skip


def _record(service: Service, settings: RecorderSettings) -> None:
    service.health.starting("log", "store")
    key = WriterKey.make()
    store = _open_store(service, settings.store, name=APPLICATION + key.writer)
    opened = _open_log(service, settings.log_url, "recorder")
    recorder = Recorder(
        opened, store.uplink_writer(), store.write_rights(key), session_timeout_s=settings.group_session_timeout_s,
        on_lost=lambda reason, count: metrics.RIGHTS_LOST.labels(reason).inc(count), stopping=service.stopping,
        report=service.health.set, on_outcome=_note_outcome,
        on_missing=metrics.RECORDS_GONE.labels(CONSUMER, TOPIC).inc, on_stored=_live_view(service, settings),
        on_committed=_traces(service, settings),
    )  # fmt: skip
    retention = store.retention_job(settings.raw_retention_days * DAY_S, stopping=service.stopping, now_us=now_us)
    _repeat(service, "retention", retention.apply, RETENTION_PERIOD_S)
    _repeat(service, "writers", lambda: store.forget_writers(now_us() - WRITERS_KEPT_US), WRITERS_PERIOD_S)
    lag = LagGauges(
        opened, CONSUMER, TOPIC, positions=lambda: recorder.positions, newest_us=lambda: recorder.newest_us, now_us=now_us
    )
    _repeat(service, "lag", lag.measure, GAUGES_PERIOD_S)
    _repeat(service, "partitions", lambda: _note_partitions(service, recorder), PARTITIONS_PERIOD_S)
    spare_the_collector()
    recorder.run()


def _traces(service: Service, settings: RecorderSettings) -> Committed | None:
    """What is to be told of commits where uplinks are traced."""
    tracer = open_tracer(settings.traces, "recorder")
    if tracer is None:
        return None
    service.defer(tracer.close)
    return CommitTraces(tracer).committed


def _live_view(service: Service, settings: RecorderSettings) -> Callable[[StoredReadings], None] | None:
    """What is to be told of new readings: a pusher to Grafana Live, where one is set up."""
    if not settings.grafana_url:
        return None
    from simway_flask_app.grafana import make_pusher

    try:
        pusher = make_pusher(
            url=settings.grafana_url, user=settings.grafana_admin_user,
            password_file=settings.grafana_admin_password_file, token_file=settings.grafana_token_file,
        )  # fmt: skip
    except ValueError as error:
        raise StartError(str(error)) from error
    service.defer(pusher.stop)
    pusher.start()
    return pusher.offer


def _dispatch(service: Service, settings: DispatcherSettings) -> None:
    service.health.starting("log", "store")
    master_secret = read_master_secret(settings.master_secret_file)
    store = _open_store(service, settings.store)
    opened = _open_log(service, settings.log_url, "dispatcher")
    _repeat(service, "gauges", LedgerGauges(store, now_us=now_us).measure, GAUGES_PERIOD_S)
    _repeat(service, "loss", LossGauges(store).measure, LOSS_PERIOD_S)
    _keep_letters(service, store, opened)
    events = DeviceEvents(master_secret, on_alarm=metrics.COUNTER_ALARMS.inc)
    anchors = Anchors(store, Signer.of(master_secret), events.noted, now_us=now_us)
    _repeat(service, "anchors", anchors.anchor, ANCHOR_PERIOD_S)
    _repeat(service, "overdue", lambda: refresh_overdue(store, now_us()), OVERDUE_PERIOD_S)
    if settings.audit_interval_s:
        audits = Audits(store, settings.audit_interval_s, now_us=now_us)
        _repeat(service, "audits", audits.queue_due, AUDITS_PERIOD_S)
    dispatcher = Dispatcher(opened, store, events, stopping=service.stopping, report=service.health.set)
    source = dispatcher.source
    lag = LagGauges(
        opened, DISPATCHER, EVENTS, positions=lambda: source.positions, newest_us=lambda: source.newest_us, now_us=now_us
    )
    _repeat(service, "lag", lag.measure, GAUGES_PERIOD_S)
    dispatcher.run()


def _keep_letters(service: Service, store: SqlStore, opened: Log) -> None:
    """Follows the topic of dead letters in a thread of its own, and measures how far."""
    consumer, topic = letter_keeper.CONSUMER, letter_keeper.TOPIC
    gone = metrics.RECORDS_GONE.labels(consumer, topic).inc
    keeper = LetterKeeper(opened, store, stopping=service.stopping, on_missing=gone)
    thread = Thread(target=keeper.run, name="letters", daemon=True)
    service.defer(lambda: thread.join(JOIN_S))
    thread.start()
    source = keeper.source
    lag = LagGauges(
        opened, consumer, topic, positions=lambda: source.positions, newest_us=lambda: source.newest_us, now_us=now_us
    )
    _repeat(service, "letters lag", lag.measure, GAUGES_PERIOD_S)


def _open_store(service: Service, settings: StoreSettings, name: str = "simway") -> SqlStore:
    store = open_store(settings.complete_url(), name=name)
    service.defer(store.close)
    try:
        _await_schema(store, service.health, service.stopping)
    except SchemaMismatch as error:
        raise StartError(str(error)) from error
    _repeat(service, "watch", StoreWatch(store, service.health).look, WATCH_PERIOD_S)
    return store


def _await_schema(store: SqlStore, health: Health, stopping: Event | None = None) -> None:
    """Waits for a database that is away; raises ``SchemaMismatch``."""
    stopping = stopping or Event()
    while not stopping.is_set():
        try:
            store.check_schema()
            return
        except StoreUnavailable as error:
            log.warning("the store is away; waiting", detail=str(error))
            health.set(DATABASE, str(error))
            stopping.wait(1)


def _open_log(service: Service, url: str, client_id: str) -> Log:
    opened = open_log(url, client_id=client_id)
    service.defer(lambda: opened.close(LOG_CLOSE_S))
    return opened


def _repeat(service: Service, name: str, job: Callable[[], object], period_s: float) -> None:
    periodic = Periodic(name, job, period_s, stopping=service.stopping)
    service.defer(periodic.join)
    periodic.start()


def _note_partitions(service: Service, recorder: Recorder) -> None:
    held = len(recorder.partitions)
    metrics.PARTITIONS_HELD.set(held)
    service.health.set("partitions", None if held else "no partition assigned: other recorders hold them, or did until now")


def _note_outcome(outcome: Outcome, seconds: float) -> None:
    metrics.COMMIT_SECONDS.observe(seconds)
    metrics.COMMIT_ROWS.observe(len(outcome.readings))
    for name, count in (
        ("stored", len(outcome.readings)), ("duplicate", outcome.duplicates), ("conflict", outcome.conflicts),
        ("redelivered", outcome.redelivered), ("refused", outcome.refused),
    ):  # fmt: skip
        if count:
            metrics.READINGS_RECORDED.labels(name).inc(count)
    for reason, count in outcome.letters.items():
        metrics.DEAD_LETTERS.labels(CONSUMER, reason).inc(count)


def _say(name: str, error: Exception, status: int) -> int:
    print(f"error: {name}: {error}", file=sys.stderr, flush=True)
    return status
