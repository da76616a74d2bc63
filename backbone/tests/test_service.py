"""``run_service`` in a process of its own: what people and orchestrators see of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEADLINE_S = 20.0
_HEAD = """
import os, sys, threading, time
from simway_backbone.service import PortTaken, Service, StartError, run_service
def say(*words): print(*words, flush=True)
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a script; the process is killed at the end."""
    processes: list[subprocess.Popen[str]] = []

    def run(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _HEAD + textwrap.dedent(script)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def get(port: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(start: Start, number: signal.Signals) -> None:
    process = start("""
        def body(service):
            service.defer(lambda: say("closed first"))
            service.defer(lambda: say("closed last"))
            service.defer(lambda: 1 / 0)
            service.on_stop(lambda: say("told"))
            say("up")
            service.stopping.wait()
            time.sleep(0.2)
            say("body ends")
        run_service("demo", body, log_format="json")
    """)
    assert line(process) == "up"
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert out.split("\n")[:4] == ["told", "body ends", "closed last", "closed first"]
    assert process.returncode == 0
    events = [json.loads(text) for text in err.splitlines()]
    assert [event["event"] for event in events] == ["started", "stopping", "deferred callback failed", "stopped"]
    assert all(event["service"] == "demo" and event["timestamp"].endswith("Z") for event in events)


def test_after_the_deadline_it_ends_anyway(start: Start) -> None:
    process = start("""
        def body(service):
            say("up")
            while True: time.sleep(0.05)
        run_service("demo", body, stop_deadline_s=0.3)
    """)
    assert line(process) == "up"
    process.terminate()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "not stopped after 0.3 s" in err
    assert "in body" in err


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    process = start("""
        def body(service):
            service.on_stop(lambda: say("told"))
            say("up")
            while True: time.sleep(0.05)
        run_service("demo", body, stop_deadline_s=60)
    """)
    assert line(process) == "up"
    process.terminate()
    assert line(process) == "told"
    process.terminate()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1


def test_health_and_metrics(start: Start) -> None:
    process = start("""
        from simway_backbone import metrics
        def body(service):
            metrics.UPLINKS_RECEIVED.labels("udp").inc(3)
            service.health.set("log", "no answer")
            say(service.metrics_port)
            for told in (lambda: service.health.set("log", None), lambda: service.health.set("disk", "broken", fatal=True)):
                signal_seen.wait(); signal_seen.clear(); told(); say("set")
            service.stopping.wait()
        import signal
        signal_seen = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: signal_seen.set())
        run_service("demo", body, metrics_port=0)
    """)
    port = line(process)
    assert get(port, "/health/live")[0] == 200
    status, text = get(port, "/health/ready")
    assert (status, json.loads(text)) == (503, {"status": "failing", "checks": {"log": "no answer"}})
    process.send_signal(signal.SIGUSR1)
    assert line(process) == "set"
    assert get(port, "/health/ready") == (200, '{"status": "ok", "checks": {"log": "ok"}}\n')
    process.send_signal(signal.SIGUSR1)
    assert line(process) == "set"
    assert get(port, "/health/live")[0] == 503
    status, text = get(port, "/metrics")
    assert status == 200
    assert 'simway_uplinks_received_total{gateway="udp"} 3.0' in text
    assert get(port, "/")[0] == 404


def test_a_taken_port_is_one_line_that_names_port_and_setting(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(f"""
            run_service("udp-server", lambda service: say("never"), metrics_port={port})
        """)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (2, "")
    assert err.splitlines() == [
        f"error: udp-server: port {port} on 127.0.0.1 is taken; "
        "end the program that has it, or set UDP_METRICS_PORT to another port"
    ]


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        ("StartError('give it a key')", 2, "error: demo: give it a key"),
        ("ValueError('bug')", 1, "ValueError: bug"),
    ],
)
def test_a_failing_body_still_closes_what_it_opened(start: Start, error: str, status: int, says: str) -> None:
    process = start(f"""
        def body(service):
            service.defer(lambda: say("closed"))
            raise {error}
        run_service("demo", body)
    """)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (status, "closed\n")
    assert says in err


def test_a_child_made_by_fork_dies_of_a_signal_as_usual(start: Start) -> None:
    process = start("""
        def body(service):
            child = os.fork()
            if not child:
                say("child", os.getpid())
                while True: time.sleep(0.05)
            say("ended by", os.WTERMSIG(os.waitpid(child, 0)[1]), service.stopping.is_set())
        run_service("demo", body)
    """)
    os.kill(int(line(process).split()[1]), signal.SIGTERM)
    assert line(process) == f"ended by {int(signal.SIGTERM)} False"
    assert process.wait(DEADLINE_S) == 0


def test_a_body_that_runs_an_event_loop_is_woken(start: Start) -> None:
    process = start("""
        import asyncio
        def body(service):
            async def main():
                done = asyncio.Event()
                loop = asyncio.get_running_loop()
                service.on_stop(lambda: loop.call_soon_threadsafe(done.set))
                say("up")
                await done.wait()
            try:
                import uvloop
                uvloop.run(main())
            except ImportError:
                asyncio.run(main())
        run_service("demo", body)
    """)
    assert line(process) == "up"
    began_s = time.monotonic()
    process.terminate()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert time.monotonic() - began_s < DEADLINE_S
