"""Spans to an OTLP/HTTP receiver, as protobuf, by OpenTelemetry's exporter. Imported only where traces are on.

The exporter reads the other variables of the specification itself (``OTEL_EXPORTER_OTLP_HEADERS``, ``_COMPRESSION``,
``_CERTIFICATE``): https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from simway_backbone.tracing import Export, Span

TIMEOUT_S = 5.0
"""For one batch of spans, tries again included."""
_PATH = "/v1/traces"
_KINDS = {
    "server": SpanKind.SERVER, "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER, "internal": SpanKind.INTERNAL,
}  # fmt: skip
_SCOPE = InstrumentationScope("simway")


def exporter(endpoint: str, service: str, *, timeout_s: float = TIMEOUT_S) -> Export:
    """Exports to ``endpoint``, a base URL, as the service of this name. The export blocks for ``timeout_s`` at most."""
    carrier = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH, timeout=timeout_s)
    resource = Resource({"service.name": service, "service.namespace": "simway"})

    def export(spans: Sequence[Span]) -> bool:
        return carrier.export([_readable(span, resource) for span in spans]) is SpanExportResult.SUCCESS

    return export


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        context=_context(span.context.trace_id, span.context.span_id, remote=False),
        parent=_context(span.context.trace_id, span.parent_id, remote=True) if span.parent_id else None,
        resource=resource,
        attributes=span.attributes,
        kind=_KINDS[span.kind],
        instrumentation_scope=_SCOPE,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
        start_time=span.started_ns,
        end_time=span.ended_ns,
    )


def _context(trace_id: int, span_id: int, *, remote: bool) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))
