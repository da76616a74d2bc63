"""Every metric of Simway, declared once: name, unit, labels. The unit is in the name; ``_total`` counts since the process began.

A stage of the way that is not here is not measured: add it here, to ``SERVED_BY`` and to docs/observability.md, then use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside every counter, which Prometheus has no use for

_LATENCY_S = (0.0005, 0.001, 0.002, 0.005, 0.010, 0.025, 0.050, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576)

# UDP
DATAGRAMS = Counter("simway_udp_datagrams", "Datagrams", ["direction"])
"""``direction``: in, out."""
DATAGRAM_BYTES = Counter("simway_udp_bytes", "Bytes of datagrams, without UDP and IP headers", ["direction"])
BAD_DATAGRAMS = Counter("simway_udp_bad_datagrams", "Datagrams that were not taken", ["reason"])
SEND_DROPS = Counter("simway_udp_send_drops", "Datagrams not sent: no room in the socket's buffer, or no way there")
KERNEL_DROPS = Counter("simway_udp_kernel_drops", "Datagrams that the kernel dropped for want of room in a socket's buffer")
"""As ``/proc/net/udp`` counts them since the socket was made, which is when the parent began."""
WORKERS = Gauge("simway_udp_workers", "Worker processes that are heard of")
WORKER_ENDS = Counter("simway_udp_worker_ends", "Worker processes that ended and were started again")
SESSIONS = Gauge("simway_udp_sessions", "Sessions that live now")
ATTACHES = Counter("simway_udp_attaches", "Attaches", ["outcome"])

# admission
UPLINKS_RECEIVED = Counter("simway_uplinks_received", "Messages with readings that came in, authenticated", ["gateway"])
READINGS_RECEIVED = Counter("simway_readings_received", "Readings that came in, authenticated", ["gateway"])
READINGS_ADMITTED = Counter("simway_readings_admitted", "Readings admitted", ["gateway"])
READINGS_REJECTED = Counter("simway_readings_rejected", "Readings rejected for good", ["gateway", "reason"])
READINGS_DROPPED = Counter(
    "simway_readings_dropped_at_device", "Readings that devices report as dropped by a full outbox", ["gateway"]
)
UPLINKS_LATER = Counter("simway_uplinks_later", "Messages answered with: later", ["gateway", "reason"])
BATCH_UPLINKS = Histogram("simway_batch_uplinks", "Uplinks in a record of the log", buckets=_COUNTS)
BATCH_BYTES = Histogram("simway_batch_bytes", "Bytes of a record of the log", buckets=_BYTES)
ACK_SECONDS = Histogram(
    "simway_ack_seconds", "From the arrival of readings to their acknowledgement", ["gateway"], buckets=_LATENCY_S
)

# the log
APPEND_SECONDS = Histogram(
    "simway_log_append_seconds", "From an append to its durable acknowledgement", ["topic"], buckets=_LATENCY_S
)
APPEND_FAILURES = Counter("simway_log_append_failures", "Appends that failed", ["topic", "reason"])
"""``reason``: unavailable, refused."""
RECORDS_LOST = Counter("simway_log_records_lost", "Records given up, on their way into the log or out of it", ["topic", "reason"])
"""``reason``: full (no room while the log was slow), refused (by the log), unreadable (skipped by a reader)."""
CONSUMER_LAG = Gauge(
    "simway_consumer_lag_records", "Records that a consumer has still to read", ["consumer", "topic", "partition"]
)
"""Of the partitions that this process reads; those that went to another process are gone from here."""
CONSUMER_LAG_SECONDS = Gauge(
    "simway_consumer_lag_seconds", "How far a consumer is behind: 0 when nothing waits", ["consumer", "topic"]
)
"""While something waits: the age of the newest record that it has handled, of its partitions together."""
RECORDS_GONE = Counter("simway_consumer_records_gone", "Offsets that retention took before they were read", ["consumer", "topic"])

# recorder and store
COMMIT_SECONDS = Histogram("simway_recorder_commit_seconds", "One transaction of the recorder", buckets=_LATENCY_S)
COMMIT_ROWS = Histogram("simway_recorder_commit_rows", "Readings in one transaction of the recorder", buckets=_COUNTS)
READINGS_RECORDED = Counter("simway_readings_recorded", "Readings by what became of them", ["outcome"])
"""``outcome``: stored, duplicate, conflict, refused."""
PARTITIONS_HELD = Gauge("simway_recorder_partitions", "Partitions of the log that this recorder records now")
RIGHTS_LOST = Counter(
    "simway_recorder_rights_lost", "Write rights of a partition that were lost while they were used", ["reason"]
)
"""``reason``: superseded (another recorder has it), expired."""
DEAD_LETTERS = Counter("simway_dead_letters", "Readings and messages put aside", ["source", "reason"])
LEDGER_READINGS = Gauge("simway_ledger_readings", "Readings of all devices by what became of them: the loss ledger", ["outcome"])
"""``outcome``: sent, which is the sum of stored, duplicate, conflict, rejected, dropped and missing; redelivered, beside it."""
LEDGER_DEVICES = Gauge("simway_ledger_devices", "Devices that ever sent anything")
LEDGER_INCOMPLETE = Gauge("simway_ledger_missing_devices", "Devices of which readings are missing")
LEDGER_UNBALANCED = Gauge("simway_ledger_unbalanced_devices", "Devices whose ledger does not balance: 0, or Simway has a defect")
OUTBOX_ROWS = Gauge("simway_store_outbox_rows", "Rows of the store's outbox that are not in the log yet")
LIVE_PUSHES = Counter("simway_grafana_pushes", "Requests to Grafana Live", ["outcome"])
LIVE_DROPPED = Counter("simway_grafana_dropped_readings", "Readings not pushed to Grafana Live because it was slow or away")

# commands
COMMANDS_OPEN = Gauge("simway_commands_open", "Commands by state, while they are open", ["state"])
COMMAND_AGE = Gauge("simway_command_oldest_age_seconds", "Age of the oldest command in a state", ["state"])
COMMAND_TRANSITIONS = Counter("simway_command_transitions", "Transitions of the command ledger", ["state"])
COUNTER_ALARMS = Counter("simway_command_number_alarms", "Command counters that devices reported and that cannot be true")
ALARMS_OPEN = Gauge("simway_alarms_open", "Alarms that are not over, by kind", ["kind"])
COMMAND_SECONDS = Histogram(
    "simway_command_seconds",
    "From QUEUED to the end of a command",
    ["kind", "state"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900),
)

# device
DEVICE_BAD_DATAGRAMS = Counter("simway_device_bad_datagrams", "Datagrams that the device did not take", ["reason"])
DEVICE_REFUSED_COMMANDS = Counter("simway_device_refused_commands", "Commands that the device refused to begin", ["reason"])
DEVICE_OUTBOX_READINGS = Gauge("simway_device_outbox_readings", "Readings that wait in the device's outbox")
DEVICE_OUTBOX_BYTES = Gauge("simway_device_outbox_bytes", "Bytes of the device's outbox")
DEVICE_DROPPED = Counter("simway_device_dropped_readings", "Readings that the full outbox gave up")
DEVICE_ATTACHED = Gauge("simway_device_attached", "1 while the device has a session")
DEVICE_RTT = Gauge("simway_device_rtt_seconds", "Round-trip time to the server")
DEVICE_READINGS = Counter("simway_device_readings", "Readings by what became of them", ["outcome"])
"""``outcome``: taken (into the outbox), logged, rejected."""

# web
HTTP_REQUESTS = Counter("simway_http_requests", "Requests to the REST API and the page", ["method", "route", "status"])
"""``route``: as the API's description writes it; ``none`` for a path that is none of it."""
HTTP_SECONDS = Histogram(
    "simway_http_request_seconds", "From a request to the first byte of its answer", ["method", "route"], buckets=_LATENCY_S
)
HTTP_STREAMS = Gauge("simway_http_streams", "Event streams that are open")

# health
READY = Gauge("simway_ready", "1 while /health/ready says 200")
HEALTH_CHECK = Gauge("simway_health_check", "1 while a check of /health/ready is well", ["check"])

# traces
TRACE_SPANS = Counter("simway_trace_spans", "Spans of sampled uplinks by what became of them", ["outcome"])
"""``outcome``: exported, failed (the receiver did not take them), dropped (the queue was full)."""

# which process sets what; it serves no others, for one that it never sets would say 0
_ALL = (READY, HEALTH_CHECK)
_APPENDS = (APPEND_SECONDS, APPEND_FAILURES, RECORDS_LOST)
_CONSUMES = (CONSUMER_LAG, CONSUMER_LAG_SECONDS, RECORDS_GONE)
SERVED_BY: dict[str, tuple[MetricWrapperBase, ...]] = {
    "udp-server": (
        *_ALL, *_APPENDS, RECORDS_GONE, TRACE_SPANS, DATAGRAMS, DATAGRAM_BYTES, BAD_DATAGRAMS, SEND_DROPS, KERNEL_DROPS, WORKERS,
        WORKER_ENDS, SESSIONS, ATTACHES, UPLINKS_RECEIVED, READINGS_RECEIVED, READINGS_ADMITTED, READINGS_REJECTED,
        READINGS_DROPPED, UPLINKS_LATER, BATCH_UPLINKS, BATCH_BYTES, ACK_SECONDS, DEAD_LETTERS,
    ),
    "recorder": (
        *_ALL, *_CONSUMES, TRACE_SPANS, COMMIT_SECONDS, COMMIT_ROWS, READINGS_RECORDED, PARTITIONS_HELD, RIGHTS_LOST,
        DEAD_LETTERS, LIVE_PUSHES, LIVE_DROPPED,
    ),
    "dispatcher": (
        *_ALL, *_APPENDS, *_CONSUMES, OUTBOX_ROWS, DEAD_LETTERS, COMMANDS_OPEN, COMMAND_AGE, COMMAND_TRANSITIONS, COUNTER_ALARMS,
        ALARMS_OPEN, COMMAND_SECONDS, LEDGER_READINGS, LEDGER_DEVICES, LEDGER_INCOMPLETE, LEDGER_UNBALANCED,
    ),
    "modem": (
        *_ALL, DEVICE_BAD_DATAGRAMS, DEVICE_REFUSED_COMMANDS, DEVICE_OUTBOX_READINGS, DEVICE_OUTBOX_BYTES, DEVICE_DROPPED,
        DEVICE_ATTACHED, DEVICE_RTT, DEVICE_READINGS,
    ),
    "web": (*_ALL, HTTP_REQUESTS, HTTP_SECONDS, HTTP_STREAMS),
}  # fmt: skip


def families(process: str) -> Iterator[Metric]:
    """What is set in this process, of ``SERVED_BY`` and of Python and the operating system; everything, if it is not there."""
    served = SERVED_BY.get(process)
    names = None if served is None else {family.name for metric in served for family in metric.describe()}
    for family in REGISTRY.collect():
        if names is None or family.name in names or not family.name.startswith("simway_"):
            yield family


class Collected:
    """A collector of what a function gives, so that it can be written out as a registry is."""

    def __init__(self, found: Callable[[], Iterable[Metric]]) -> None:
        self.collect = found


def exposition(found: Callable[[], Iterable[Metric]]) -> bytes:
    """The Prometheus text of what a function gives."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(found))
    return generate_latest(registry)
