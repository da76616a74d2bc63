"""Traces of sampled uplinks from gateway to row (W3C Trace Context; OpenTelemetry carries them away).

Off unless ``TRACE_RATIO`` is above 0; then a process has one ``Tracer``. Who samples decides once, at the gateway; everybody
behind it goes by the ``traceparent`` in the uplink. A span is put down when it is over, into a bounded queue that one thread
empties: an exporter that is away, slow or hung costs spans, which are counted, and nothing else. What carries spans away is
``otlp``, the one module that imports OpenTelemetry.
"""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import structlog
from simway_protocol.trace_context import SPAN_ID_BITS, TRACE_ID_BITS, TraceContext

from simway_backbone import metrics
from simway_backbone.settings import Env, SettingError

ENDPOINT_DEFAULT = "http://127.0.0.1:4318"
QUEUE_MAX_SPANS = 4_096
EXPORT_MAX_SPANS = 512
EXPORT_EVERY_S = 1.0
CLOSE_DEADLINE_S = 1.0
"""At the end of a process what waits is exported for so long; the rest is dropped, and counted."""

_log = structlog.get_logger("tracing")

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """``ratio``: of uplinks that are traced, 0 (off) to 1. ``endpoint``: base URL of an OTLP/HTTP receiver."""

    ratio: float = 0.0
    endpoint: str = ENDPOINT_DEFAULT

    @classmethod
    def of(cls, env: Env) -> TraceSettings:
        """Raises ``SettingError``."""
        ratio = env.number("TRACE_RATIO", 0, least=0, most=1)
        endpoint = env.text("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT_DEFAULT)
        if not endpoint.startswith(("http://", "https://")):
            raise SettingError(f"OTEL_EXPORTER_OTLP_ENDPOINT={endpoint!r} is no URL; write {ENDPOINT_DEFAULT}")
        return cls(ratio, endpoint.rstrip("/"))


class Span(NamedTuple):
    """Something that took its time. ``parent_id``: 0 for the first of a trace. ``kind``: server|producer|consumer|internal.

    ``error``: what went wrong, or empty.
    """

    name: str
    context: TraceContext
    parent_id: int
    kind: str
    started_ns: int
    ended_ns: int
    attributes: Attributes
    error: str = ""


Export: TypeAlias = Callable[[Sequence[Span]], bool]
"""Carries spans away; False when they are lost. May block for seconds; called in the tracer's thread."""


class Tracer:
    """Samples, and takes spans; neither ever blocks. One thread calls ``sample``, any thread the rest."""

    def __init__(
        self, export: Export, ratio: float, *, queue_max_spans: int = QUEUE_MAX_SPANS, every_s: float = EXPORT_EVERY_S,
        rng: random.Random | None = None,
    ) -> None:  # fmt: skip
        """``ratio``: above 0, at most 1."""
        self._export, self._ratio, self._every_s = export, ratio, every_s
        self._rng = rng or random.Random()
        self._waiting: deque[Span] = deque()
        self._queue_max_spans = queue_max_spans
        self._until_next = self._gap()
        self._woken, self._closing = threading.Event(), False
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
        self._thread.start()

    def sample(self) -> TraceContext | None:
        """A new trace for about ``ratio`` of the calls; None for the others, which cost a subtraction."""
        self._until_next -= 1
        if self._until_next > 0:
            return None
        self._until_next = self._gap()
        return TraceContext(self._id(TRACE_ID_BITS), self._id(SPAN_ID_BITS))

    def child(self, parent: TraceContext) -> TraceContext:
        """A new span in the trace of ``parent``."""
        return TraceContext(parent.trace_id, self._id(SPAN_ID_BITS))

    def put(self, span: Span) -> None:
        """Takes a span that is over; drops and counts it when ``queue_max_spans`` wait already."""
        if self._closing or len(self._waiting) >= self._queue_max_spans:
            metrics.TRACE_SPANS.labels("dropped").inc()
            return
        self._waiting.append(span)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Exports what waits, for at most ``deadline_s``."""
        self._closing = True
        self._woken.set()
        self._thread.join(deadline_s)
        if left := len(self._waiting):
            metrics.TRACE_SPANS.labels("dropped").inc(left)

    def _gap(self) -> int:
        """Calls up to the next that is sampled: geometrically distributed, as if each were drawn for itself."""
        if self._ratio >= 1:
            return 1
        return 1 + int(math.log(1 - self._rng.random()) / math.log1p(-self._ratio))

    def _id(self, bits: int) -> int:
        return self._rng.getrandbits(bits) or 1

    def _run(self) -> None:
        while not self._closing:
            self._woken.wait(self._every_s)
            self._empty()
        self._empty()

    def _empty(self) -> None:
        while self._waiting:
            spans = [self._waiting.popleft() for _ in range(min(len(self._waiting), EXPORT_MAX_SPANS))]
            try:
                well = self._export(spans)
            except Exception as error:
                _log.error("spans cannot be exported", error=f"{type(error).__name__}: {error}")
                well = False
            metrics.TRACE_SPANS.labels("exported" if well else "failed").inc(len(spans))
            self._tell(well)

    def _tell(self, well: bool) -> None:
        if well is self._is_failing:
            self._is_failing = not well
            if well:
                _log.info("the receiver of traces takes spans again")
            else:
                _log.warning("the receiver of traces takes no spans; they are dropped meanwhile, and counted")


def open_tracer(settings: TraceSettings, service: str) -> Tracer | None:
    """The tracer of a process, by its service name; None, and nothing imported, when traces are off. Raises ``SettingError``."""
    if not settings.ratio:
        return None
    try:
        from simway_backbone.otlp import exporter
    except ImportError as error:
        raise SettingError(f"TRACE_RATIO needs what pip install 'simway-backbone[tracing]' installs ({error})") from error
    return Tracer(exporter(settings.endpoint, service), settings.ratio)
