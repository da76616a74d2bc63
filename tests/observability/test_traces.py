"""A trace from gateway to row, through the real processes, to a real receiver of OTLP/HTTP; and what one costs that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from simway_protocol.readings import Reading
from simway_testing.observed import WITHIN_S, health, scrape, total
from simway_testing.otlp_receiver import Mood, OtlpReceiver, Received
from simway_testing.udp_device import UdpDevice, now_us
from simway_testing.waiting import wait_for

NAMES = {"gateway.receive", "log.append", "recorder.commit"}


@pytest.fixture
def device(front) -> Iterator[UdpDevice]:
    """A device of its own, attached."""
    name = f"traced-{time.monotonic_ns()}"
    front.api.enrol(name)
    made = UdpDevice(front.udp, bytes.fromhex(Path(front.settings["MASTER_SECRET_FILE"]).read_text()), name)

    def attached() -> bool:
        try:
            made.attach()
        except AssertionError:
            return False
        return True

    try:
        wait_for(attached, WITHIN_S, f"{name} attached")
        yield made
    finally:
        made.close()


def of(receiver: OtlpReceiver, device: str) -> dict[str, dict[str, Received]]:
    """The traces of one device."""
    return {
        trace: spans
        for trace, spans in receiver.traces().items()
        if any(device in span.attributes.values() for span in spans.values())
    }


def test_one_trace_goes_from_the_datagram_to_the_row(front, receiver: OtlpReceiver, device: UdpDevice) -> None:
    device.send([Reading(f"s{at % 2}", now_us() - at, at, None) for at in range(3)])
    (trace, spans), *more = wait_for(
        lambda: [item for item in of(receiver, device.device).items() if item[1].keys() == NAMES], WITHIN_S,
        lambda: f"{of(receiver, device.device)}",
    )  # fmt: skip
    assert not more
    receive, append, commit = spans["gateway.receive"], spans["log.append"], spans["recorder.commit"]
    assert (receive.parent, append.parent, commit.parent) == ("", receive.span, append.span)
    assert [(one.service, one.kind) for one in (receive, append, commit)] == [
        ("udp-server", "server"), ("udp-server", "producer"), ("recorder", "consumer"),
    ]  # fmt: skip
    assert receive.started_ns <= append.started_ns <= append.ended_ns <= receive.ended_ns
    assert append.started_ns < commit.started_ns <= commit.ended_ns
    assert (receive.attributes["simway.first_seq"], receive.attributes["simway.readings"]) == (1, 3)
    assert (commit.attributes["simway.sensors"], commit.attributes["simway.readings"]) == (2, 3)
    assert commit.attributes["simway.transaction.rows"] >= 3
    assert commit.attributes["messaging.destination.partition.id"] == append.attributes["messaging.destination.partition.id"]
    for name in ("udp-server", "recorder"):
        assert f'"trace_id": "{trace}"' in front.processes[name].log.read_text()


def test_a_receiver_that_hangs_costs_spans_and_nothing_else(front, receiver: OtlpReceiver, device: UdpDevice) -> None:
    receiver.mood = Mood.HUNG
    try:
        before = receiver.requests
        device.send([Reading("s", now_us(), 1, None)])
        wait_for(lambda: receiver.requests >= before + 2, WITHIN_S, "processes at the receiver")
        now = now_us()
        device.send([Reading("s", now + at, at, None) for at in range(1, 200)], first_seq=2)  # acknowledged while it hangs
        wait_for(lambda: len(front.api.readings(device.device)) == 200, WITHIN_S, "all of them stored")
        for name in ("udp-server", "recorder"):
            assert health(front, name)[0] == 200
        wait_for(
            lambda: total(scrape(front, "udp-server"), "simway_trace_spans_total", outcome="failed") > 0, WITHIN_S, "counted"
        )
    finally:
        receiver.mood = Mood.WELL
