"""The spans of sampled uplinks in one worker: ``gateway.receive``, and in it ``log.append``, which the recorder's span follows.

The span of the append exists before it begins: its id travels in the uplink (``Uplink.trace``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import structlog
from simway_backbone.tracing import Span, Tracer
from simway_ingest.batcher import Settled
from simway_protocol.identity import partition_of
from simway_protocol.messages import Uplink
from simway_protocol.trace_context import TraceContext

_log = structlog.get_logger("worker")


@dataclass(slots=True)
class Sampled:
    """A sampled uplink on its way: the contexts of its two spans, when it came, and when it was handed to the log."""

    receive: TraceContext
    append: TraceContext
    uplink: Uplink
    received_ns: int
    readings: int = 0
    handed_ns: int = 0

    def handed_over(self, readings: int) -> None:
        """The batcher took it. ``readings``: how many came."""
        self.readings, self.handed_ns = readings, time.time_ns()


class Traces:
    """Of one worker, on its event loop. What is sampled goes through the batcher beside its token."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def sample(self, head: Uplink) -> Sampled | None:
        """Decides whether an uplink is traced; then ``head`` says so to whoever reads it from the log."""
        receive = self._tracer.sample()
        if receive is None:
            return None
        append = self._tracer.child(receive)
        head.trace = append.encode()
        return Sampled(receive, append, head, head.received_us * 1000)

    def turned_away(self, sampled: Sampled, reason: str) -> None:
        """It went no further."""
        self._tracer.put(self._received(sampled, time.time_ns(), reason))

    def settled(self, result: Settled[Any]) -> None:
        """The log has answered: ends the spans of those that are sampled."""
        now_ns = time.time_ns()
        for sampled in result.traced:
            self._end(sampled, now_ns, str(result.error) if result.error else "")

    def _end(self, sampled: Sampled, now_ns: int, error: str) -> None:
        uplink, receive = sampled.uplink, sampled.receive
        where = {
            "messaging.operation.type": "send", "messaging.destination.name": "uplink",
            "messaging.destination.partition.id": str(partition_of(uplink.device)),
        }  # fmt: skip
        self._tracer.put(Span("log.append", sampled.append, receive.span_id, "producer", sampled.handed_ns, now_ns, where, error))
        self._tracer.put(self._received(sampled, now_ns, error))
        _log.info(
            "a sampled uplink is not in the log" if error else "a sampled uplink is in the log", trace_id=receive.trace_hex,
            span_id=f"{sampled.append.span_id:016x}", device=uplink.device, error=error or None,
        )  # fmt: skip

    def _received(self, sampled: Sampled, now_ns: int, error: str) -> Span:
        uplink = sampled.uplink
        about: dict[str, str | int] = {
            "simway.device": uplink.device, "simway.gateway": uplink.gateway, "simway.epoch": uplink.epoch or "",
            "simway.first_seq": uplink.first_seq or 0, "simway.readings": sampled.readings,
        }  # fmt: skip
        return Span("gateway.receive", sampled.receive, 0, "server", sampled.received_ns, now_ns, about, error)
