"""A receiver of OTLP/HTTP in a thread of the test: it decodes the protobuf that it is sent (opentelemetry-proto).

``HUNG`` takes a request and never answers; ``AWAY`` is an endpoint where nothing listens.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

KINDS = {2: "server", 4: "producer", 5: "consumer"}
"""``Span.SpanKind`` of trace.proto."""


class Mood(StrEnum):
    WELL = "well"
    HUNG = "hung"
    REFUSES = "refuses"


@dataclass(frozen=True)
class Received:
    """One span, as it came. Ids in hexadecimal; ``parent`` empty for the first of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    kind: str
    started_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    error: str


class OtlpReceiver:
    """``endpoint`` is what ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set to. Use as a context manager."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        self.mood = mood
        self.spans: list[Received] = []
        self.requests = 0
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def traces(self) -> dict[str, dict[str, Received]]:
        """The spans of each trace, by name."""
        found: dict[str, dict[str, Received]] = {}
        for span in list(self.spans):
            found.setdefault(span.trace, {})[span.name] = span
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests += 1
                if receiver.mood is Mood.HUNG:
                    receiver._over.wait()
                    return
                if receiver.mood is Mood.REFUSES:
                    self._answer(400, b"")
                    return
                well = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
                if well:
                    receiver.spans += _decode(body)
                self._answer(200 if well else 404, ExportTraceServiceResponse().SerializeToString())

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler


def _decode(body: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Received(
            _attributes(group.resource.attributes)["service.name"], span.name, span.trace_id.hex(), span.span_id.hex(),
            span.parent_span_id.hex(), KINDS[span.kind], span.start_time_unix_nano, span.end_time_unix_nano,
            _attributes(span.attributes), span.status.message,
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]  # fmt: skip


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
