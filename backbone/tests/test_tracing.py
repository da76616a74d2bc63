"""Traces: how many are sampled, that the queue is bounded, and that a receiver which is away or hung costs only spans."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest
from simway_backbone import metrics
from simway_backbone.otlp import exporter
from simway_backbone.settings import Env, SettingError
from simway_backbone.tracing import Span, Tracer, TraceSettings, open_tracer
from simway_protocol.trace_context import TraceContext
from simway_testing.otlp_receiver import Mood, OtlpReceiver
from simway_testing.platform import free_port
from simway_testing.waiting import wait_for


def span(number: int = 1) -> Span:
    return Span("log.append", TraceContext(number, 7), 5, "producer", 1_000, 2_000, {"simway.device": "demo", "n": 3}, "")


def count(outcome: str) -> float:
    return metrics.TRACE_SPANS.labels(outcome)._value.get()


@pytest.fixture
def counted():
    """How much each outcome has grown since the test began."""
    before = {outcome: count(outcome) for outcome in ("exported", "failed", "dropped")}
    return lambda outcome: count(outcome) - before[outcome]


def test_off_is_no_tracer_and_imports_nothing_of_opentelemetry() -> None:
    code = (
        "import sys; from simway_backbone.tracing import TraceSettings, open_tracer\n"
        "assert open_tracer(TraceSettings(), 'demo') is None\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_settings() -> None:
    assert TraceSettings.of(Env({})) == TraceSettings(0, "http://127.0.0.1:4318")
    given = {"TRACE_RATIO": "0.01", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318/"}
    assert TraceSettings.of(Env(given)) == TraceSettings(0.01, "https://collector:4318")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRACE_RATIO", "1.5", "TRACE_RATIO=1.5 is not within 0 to 1"), ("TRACE_RATIO", "nan", "is not within 0 to 1"),
        ("TRACE_RATIO", "some", "TRACE_RATIO='some' is no number"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "is no URL"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        TraceSettings.of(Env({name: value}))


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.01])
def test_about_the_ratio_is_sampled_and_no_id_comes_twice(ratio: float) -> None:
    tracer = Tracer(lambda _: True, ratio, rng=random.Random(5))
    calls = 40_000
    found = [context for _ in range(calls) if (context := tracer.sample())]
    tracer.close()
    assert abs(len(found) - calls * ratio) <= 5 * (calls * ratio) ** 0.5 * (1 - ratio)
    assert len({context.trace_id for context in found}) == len(found)
    assert all(0 < context.trace_id < 2**128 and 0 < context.span_id < 2**64 for context in found)
    assert tracer.child(found[0]).trace_id == found[0].trace_id


def test_a_span_arrives_as_it_was_put() -> None:
    with OtlpReceiver() as receiver:
        tracer = open_tracer(TraceSettings(1, receiver.endpoint), "demo")
        assert tracer is not None
        tracer.put(span()._replace(error="no answer"))
        tracer.close()
        (found,) = receiver.spans
    assert (found.service, found.name, found.kind, found.error) == ("demo", "log.append", "producer", "no answer")
    assert (found.trace, found.span, found.parent) == (f"{1:032x}", f"{7:016x}", f"{5:016x}")
    assert (found.started_ns, found.ended_ns, found.attributes) == (1_000, 2_000, {"simway.device": "demo", "n": 3})


def test_beyond_the_bound_spans_are_dropped_and_counted_and_put_does_not_wait(counted) -> None:
    entered, let_go = threading.Event(), threading.Event()

    def hang(_: Sequence[Span]) -> bool:
        entered.set()
        return let_go.wait(30)

    tracer = Tracer(hang, 1, queue_max_spans=10, every_s=0.01)
    tracer.put(span())
    assert entered.wait(60)
    for number in range(25):
        tracer.put(span(number + 2))
    assert counted("dropped") == 15
    let_go.set()
    tracer.close(10)
    assert (counted("exported"), counted("dropped")) == (11, 15)


def test_the_end_does_not_wait_for_a_receiver_that_hangs(counted) -> None:
    with OtlpReceiver(Mood.HUNG) as receiver:
        tracer = Tracer(exporter(receiver.endpoint, "demo"), 1, every_s=0.01)
        tracer.put(span())
        wait_for(lambda: receiver.requests, 60, "a request")
        tracer.put(span(2))
        began_s = time.monotonic()
        tracer.close(0.05)
        assert time.monotonic() - began_s < 4, "closing waited for the receiver's time-out"
        assert counted("dropped") == 1


@pytest.mark.parametrize("mood", [Mood.REFUSES, None], ids=["refuses", "away"])
def test_what_the_receiver_does_not_take_is_counted(counted, mood: Mood | None) -> None:
    with OtlpReceiver(mood or Mood.WELL) as receiver:
        endpoint = receiver.endpoint if mood else f"http://127.0.0.1:{free_port()}"
        tracer = Tracer(exporter(endpoint, "demo", timeout_s=0.5), 1, every_s=0.01)
        tracer.put(span())
        wait_for(lambda: counted("failed") == 1, 60, "the failure counted")
        receiver.mood = Mood.WELL
        tracer.close()
        assert not receiver.spans


def test_an_exporter_with_a_fault_does_not_end_the_thread(counted) -> None:
    answers = iter([ValueError("a fault"), None])

    def export(_: Sequence[Span]) -> bool:
        if error := next(answers):
            raise error
        return True

    tracer = Tracer(export, 1, every_s=0.01)
    tracer.put(span())
    wait_for(lambda: counted("failed") == 1, 60, "the first span lost")
    tracer.put(span(2))
    tracer.close(10)
    assert counted("exported") == 1
