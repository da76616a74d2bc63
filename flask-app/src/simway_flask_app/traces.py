"""The last span of a sampled uplink: ``recorder.commit``, the transaction that made its readings rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import structlog
from simway_backbone.log import Record
from simway_backbone.tracing import Span, Tracer
from simway_protocol.messages import Uplink
from simway_protocol.trace_context import TraceContext, parse

from simway_flask_app.store.uplinks import Outcome

log = structlog.get_logger()


class StoredPart(Protocol):
    """A record of ``uplink`` with what it held; see ``recorder.Part``."""

    record: Record
    uplinks: list[Uplink]


def trace_ids(uplinks: Sequence[Uplink]) -> list[str]:
    """The traces that uplinks belong to, for a line of the log; none for those that are not sampled."""
    return [context.trace_hex for uplink in uplinks if uplink.trace is not None and (context := parse(uplink.trace))]


class CommitTraces:
    """``committed`` is called after each commit, in the recorder's thread; it never blocks."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def committed(self, parts: Sequence[StoredPart], outcome: Outcome, seconds: float) -> None:
        """Ends the traces of the sampled uplinks in these records. ``seconds``: how long their transaction took."""
        ended_ns = time.time_ns()
        for part in parts:
            for uplink in part.uplinks:
                if uplink.trace is not None and (context := parse(uplink.trace)) and context.sampled:
                    self._put(context, part.record, uplink, outcome, ended_ns, ended_ns - int(seconds * 1e9))

    def _put(
        self, parent: TraceContext, record: Record, uplink: Uplink, outcome: Outcome, ended_ns: int, started_ns: int
    ) -> None:
        about: dict[str, str | int] = {
            "simway.device": uplink.device, "simway.sensors": len({reading.sensor for reading in uplink.readings}),
            "simway.readings": len(uplink.readings), "simway.transaction.rows": len(outcome.readings),
            "messaging.operation.type": "process", "messaging.destination.name": "uplink",
            "messaging.destination.partition.id": str(record.partition), "messaging.kafka.offset": record.offset,
        }  # fmt: skip
        context = self._tracer.child(parent)
        self._tracer.put(Span("recorder.commit", context, parent.span_id, "consumer", started_ns, ended_ns, about))
        log.info(
            "a sampled uplink is in the store", trace_id=context.trace_hex, span_id=f"{context.span_id:016x}",
            device=uplink.device, partition=record.partition, offset=record.offset,
        )  # fmt: skip
