"""Uplinks that one udp-server acknowledges: per second, per second of its processor time, and how long each waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.figures import Figure, progress, publish, quantile
from bench.generator import Load
from bench.sending import Generator, Sent
from bench.services import UdpServer, udp_server
from bench.stored import made

DEVICES = tuple(f"bench-{number}" for number in range(32))
"""Enough that the server is what is waited for: with 8, of 48 datagrams in flight each, the wait for the broker was measured."""
STEADY_DEVICES = DEVICES[:8]
STEADY_HZ = 2_000
AIM_ONE_HZ = 25_000
AIM_TWENTY_HZ = 150_000
AIM_ACK_P99_MS = 25
WARM_UP_UPLINKS = 2_000
"""Sent before anything is measured: connections, the broker's compiler, caches."""


def measure(directory: Path, log_url: str, log_name: str, *, scale: float) -> list[Figure]:
    """The figures on one log. ``scale`` 1 is the full length, less is quicker. How long each waits comes last: a broker whose
    compiler is at work takes twice as long.
    """
    figures: list[Figure] = []
    place = made(directory / f"udp-{log_name}")
    with udp_server(place, log_url.format(place=place), DEVICES) as target:
        for per, uplinks, aim in ((1, 120_000, AIM_ONE_HZ), (20, 20_000, AIM_TWENTY_HZ)):
            load = Load(target.port, target.master_hex, DEVICES, int(uplinks * scale), per)
            progress(f"{log_name}: {load.uplinks} uplinks of {per}")
            _run(target, replace(load, uplinks=WARM_UP_UPLINKS))
            result, cpu_s = _run(target, load)
            figures += _speed(log_name, per, result, cpu_s, aim)
        steady = Load(target.port, target.master_hex, STEADY_DEVICES, int(STEADY_HZ * max(2, 10 * scale)), 1, STEADY_HZ)
        progress(f"{log_name}: {steady.uplinks} uplinks of 1, {STEADY_HZ} a second")
        _run(target, replace(steady, uplinks=WARM_UP_UPLINKS))
        return figures + _latency(log_name, _run(target, steady)[0])


def _run(target: UdpServer, load: Load) -> tuple[Sent, float]:
    """What came of it, and the server's processor time in seconds while it was sent."""
    with Generator(load) as generator:
        before = target.service.cpu_s()
        generator.go()
        sent = generator.result()
        return sent, target.service.cpu_s() - before


def _speed(log_name: str, per: int, sent: Sent, cpu_s: float, aim: int) -> list[Figure]:
    name = f"udp_ingest_{log_name}_{per}"
    unit = "uplinks" if per == 1 else "readings"
    per_cpu_s = sent.uplinks * per / cpu_s
    return [
        publish(Figure(f"{name}_per_s", sent.uplinks / sent.elapsed_s, "uplinks/s", "generator on the same cores")),
        publish(Figure(f"{name}_per_cpu_s", per_cpu_s, f"{unit}/CPU-s", f"aim {aim}", per_cpu_s / aim)),
        publish(Figure(f"{name}_lost", sent.lost, "datagrams", "aim 0")),
    ]


def _latency(log_name: str, sent: Sent) -> list[Figure]:
    p50, p99 = (quantile(sent.latencies_s, share) * 1000 for share in (0.5, 0.99))
    name = f"udp_ack_{log_name}_at_{STEADY_HZ}_per_s"
    return [
        publish(Figure(f"{name}_p50", p50, "ms", f"aim {AIM_ACK_P99_MS} for p99", p50 / AIM_ACK_P99_MS)),
        publish(Figure(f"{name}_p99", p99, "ms", f"aim {AIM_ACK_P99_MS}", p99 / AIM_ACK_P99_MS)),
    ]
