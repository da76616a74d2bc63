"""Every metric that is declared is set: by the real process that is said to serve it, when what it measures happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import requests
from prometheus_client import Gauge
from simway_backbone import metrics, open_log
from simway_backbone.embedded_segments import TopicFiles
from simway_protocol.readings import Reading
from simway_testing import REPOSITORY
from simway_testing.observed import ANSWERS_WITHIN_S, PORTS, WITHIN_S, Sample, health, read, scrape, total, wait_well, wait_wrong
from simway_testing.udp_device import UdpDevice, now_us
from simway_testing.waiting import wait_for

DAY_US = 86_400_000_000
ELSEWHERE = {
    metrics.SEND_DROPS: "udp-server/tests/test_totals.py",
    metrics.LIVE_DROPPED: "tests/contract/test_grafana.py",
    metrics.DEVICE_REFUSED_COMMANDS: "modem-client/tests/test_commands.py",
    metrics.LEDGER_UNBALANCED: "tests/contract/test_loss.py",
}
"""What a platform shows only when it has a defect, or after minutes: it is served here, and that it is set is tested there."""
SHARED = {metrics.RECORDS_GONE: "recorder"}
"""What several processes serve by the same code, and who of them is made to set it."""


class Seen:
    """The largest value of every sample so far, by process."""

    def __init__(self, platform) -> None:
        self.platform = platform
        self.largest: dict[str, dict[Sample, float]] = {process: {} for process in PORTS}

    def look(self) -> None:
        for process in self.largest:
            self.note(process, scrape(self.platform, process))

    def note(self, process: str, samples: dict[Sample, float]) -> None:
        largest = self.largest[process]
        largest.update({sample: max(value, largest.get(sample, value)) for sample, value in samples.items()})

    def until(self, process: str, name: str, reached: float = 1, **labels: str) -> None:
        def come() -> bool:
            self.look()
            return total(self.largest[process], name, **labels) >= reached

        wait_for(come, WITHIN_S, lambda: f"{name} {labels} of {process}: {total(self.largest[process], name, **labels)}")


@pytest.fixture(scope="session")
def seen(front) -> Seen:
    """After all that happens to a platform: traffic good and bad, a command, a full disk, a killed worker, a flood."""
    found = Seen(front)
    device = UdpDevice(front.udp, bytes.fromhex(Path(front.settings["MASTER_SECRET_FILE"]).read_text()), "rover")
    try:
        _traffic(front, device)
        _misfits(front, device)
        _lonely_device(front, found)
        _recorder_in_trouble(front, device, found)
        _command(front, found)
        _full_disk(front, device, found)
        _flood(front, found)
        _killed_worker(front, found)
        _books(found)
    finally:
        device.close()
    return found


def _traffic(front, device: UdpDevice) -> None:
    """Readings, the same numbers once more, one that is too old, and numbers that a full outbox gave up."""
    front.api.enrol("rover")
    wait_for(lambda: _attached(device), WITHIN_S, "rover attached")
    readings = [Reading("speed", now_us() - at, at, "m/s") for at in range(20)]
    device.send(readings, first_seq=5)
    device.send([Reading("speed", now_us() - 400 * DAY_US, 1, "m/s")], first_seq=25)
    device.endpoint.send_data(26, [Reading("speed", now_us(), 1, "m/s")], [(1, 4)], now_us())
    device.run_until(lambda: 26 in device.logged)
    device.logged.clear()
    device.attach()
    device.send(readings, first_seq=5)


def _attached(device: UdpDevice) -> bool:
    try:
        device.attach()
    except AssertionError:
        return False
    return True


def _misfits(front, device: UdpDevice) -> None:
    """What is no datagram of ours, a device that nobody knows, a record that cannot be read, a counter that cannot be true."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\x03 no frame", front.udp)
    log = open_log(front.settings["LOG_URL"], client_id="test")
    try:
        log.append("registry", 0, [(b"x", b"{")]).result(60)
        log.append("uplink", 0, [(None, b"{")]).result(60)
        log.append("device-events", 0, [(None, b"{")]).result(60)
    finally:
        log.close()
    master = bytes.fromhex(Path(front.settings["MASTER_SECRET_FILE"]).read_text())
    nobody = UdpDevice(front.udp, master, "nobody")
    try:
        assert not _attached(nobody)
    finally:
        nobody.close()
    device.attach(last_counter=2**40)


def _command(front, found: Seen) -> None:
    """A ping to the device that runs, under the eyes of an event stream."""
    headers = {"Authorization": f"Bearer {front.api.token}"}
    with requests.get(f"{front.api.base_url}/api/v1/events", headers=headers, stream=True, timeout=60):
        front.api.command("demo", kind="ping")
        found.until("web", "simway_http_streams")
        found.until("dispatcher", "simway_command_seconds_count", kind="ping")


def _lonely_device(front, found: Seen) -> None:
    """A modem client with a small outbox, whose server answers with what is no frame."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(WITHIN_S)
        port = str(server.getsockname()[1])
        modem = front.modem(
            "lonely", "5a" * 32, SERVER_PORT=port, SOURCE_INTERVAL_S="0.005", OUTBOX_MAX_BYTES=str(64 * 1024), LOG_LEVEL="warning"
        )
        modem.start()
        _, address = server.recvfrom(2_048)
        server.sendto(b"no frame", address)
        address_of_metrics = f"http://127.0.0.1:{modem.settings['MODEM_METRICS_PORT']}"

        def both() -> bool:
            samples = read(requests.get(f"{address_of_metrics}/metrics", timeout=ANSWERS_WITHIN_S).text)
            found.note("modem", samples)
            return all(
                total(samples, name) for name in ("simway_device_bad_datagrams_total", "simway_device_dropped_readings_total")
            )

        wait_for(both, WITHIN_S, "a datagram that was not taken, and readings given up")
        modem.stop()


def _recorder_in_trouble(front, device: UdpDevice, found: Seen) -> None:
    """While it sleeps retention takes what it has not read; then its rights go to somebody else."""
    recorder = psutil.Process(front.processes["recorder"].pid)
    recorder.suspend()
    try:
        files = TopicFiles(Path(front.settings["LOG_URL"].removeprefix("sqlite:///")), "uplink")
        files.roll(files.open_newest())  # what it has open it reads to the end, retention or not
        device.send([Reading("speed", now_us(), 1, "m/s")], first_seq=27)
        files.roll(files.open_newest())
        wait_for(lambda: files.drop_expired(0), WITHIN_S, "a segment dropped")
    finally:
        recorder.resume()
    found.until("recorder", "simway_consumer_records_gone_total")
    with closing(sqlite3.connect(front.settings["STORE_URL"].removeprefix("sqlite:///"), timeout=20)) as store, store:
        store.execute("UPDATE write_rights SET number = number + 1, writer = 'another'")
    device.send([Reading("speed", now_us(), 1, "m/s")], first_seq=28)
    found.until("recorder", "simway_recorder_rights_lost_total", reason="superseded")


def _full_disk(front, device: UdpDevice, found: Seen) -> None:
    """The log takes nothing: each process that needs it says so; when there is room again, all goes on by itself."""
    front.disk.fill()
    try:
        front.api.enrol("later")
        sent = device.endpoint.send_data(30, [Reading("speed", now_us(), 2, "m/s")], [], now_us())
        said = wait_wrong(front, "udp-server", _worker_of(device, front), "the log takes no readings") if sent else ""
        assert "full" in said or "disk" in said
        wait_wrong(front, "dispatcher", "log", "disk")
        for process, name in (
            ("udp-server", "simway_uplinks_later_total"), ("udp-server", "simway_log_append_failures_total"),
            ("dispatcher", "simway_store_outbox_rows"), ("modem", "simway_device_outbox_readings"),
            ("modem", "simway_device_outbox_bytes"),
        ):  # fmt: skip
            found.until(process, name)
    finally:
        front.disk.free()
    wait_well(front, PORTS)
    with closing(sqlite3.connect(front.settings["STORE_URL"].removeprefix("sqlite:///"), timeout=20)) as store, store:
        too_large = ("device-events", "demo", bytes(1_100_000), now_us())  # what the log will never take
        store.execute("INSERT INTO outbox (topic, key, value, created_us) VALUES (?, ?, ?, ?)", too_large)
    found.until("dispatcher", "simway_log_records_lost_total", topic="device-events", reason="refused")
    device.send([Reading("speed", now_us(), 2, "m/s")], first_seq=30)


def _worker_of(device: UdpDevice, front) -> str:
    """The check of whichever worker says that the log takes nothing: flows land by hash."""

    def one() -> str:
        device.turn()
        body = health(front, "udp-server")[1]
        return next((check for check, said in body["checks"].items() if "takes no readings" in said), "")

    return wait_for(one, WITHIN_S, "a worker that cannot append")


def _flood(front, found: Seen) -> None:
    """More datagrams than the socket's buffer holds, while nobody takes them out."""
    workers = psutil.Process(front.processes["udp-server"].pid).children()
    for worker in workers:
        worker.suspend()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:

            def dropped() -> bool:
                for _ in range(4_000):
                    flood.sendto(bytes(1_200), front.udp)
                return total(scrape(front, "udp-server"), "simway_udp_kernel_drops_total") > 0

            wait_for(dropped, WITHIN_S, "datagrams dropped by the kernel")
    finally:
        for worker in workers:
            worker.resume()
    found.until("udp-server", "simway_udp_kernel_drops_total")


def _killed_worker(front, found: Seen) -> None:
    os.kill(psutil.Process(front.processes["udp-server"].pid).children()[0].pid, signal.SIGKILL)
    found.until("udp-server", "simway_udp_worker_ends_total")
    wait_well(front, ["udp-server"])
    found.look()


def _books(found: Seen) -> None:
    """The ledger's totals, which the dispatcher asks for now and then: once so late that numbers were missing."""
    for name in ("simway_ledger_devices", "simway_ledger_missing_devices"):
        found.until("dispatcher", name)


def _exposed(metric) -> str:
    (family,) = metric.describe()
    return family.name + {"counter": "_total", "gauge": "", "histogram": "_count"}[family.type]


@pytest.mark.parametrize("process", PORTS)
def test_every_metric_of_a_process_is_set(seen: Seen, process: str) -> None:
    served, unset = seen.largest[process], []
    for metric in metrics.SERVED_BY[process]:
        name = _exposed(metric)
        if (
            metric not in ELSEWHERE
            and SHARED.get(metric, process) == process
            and total(served, name) <= 0
            and not _may_be_zero(metric, served, name)
        ):
            unset.append(name)
    assert not unset, f"{process} serves these, and never set them"


@pytest.mark.parametrize(("metric", "file"), ELSEWHERE.items(), ids=str)
def test_what_is_tested_elsewhere_is(metric, file: str) -> None:
    (constant,) = (name for name, value in vars(metrics).items() if value is metric)
    assert re.search(rf"\b{constant}\b|{_exposed(metric)}", (REPOSITORY / file).read_text())


def _may_be_zero(metric, served: dict[Sample, float], name: str) -> bool:
    """A gauge by label has a sample only where somebody set it: 0 commands in a state, say."""
    return isinstance(metric, Gauge) and bool(metric._labelnames) and any(found == name for found, _ in served)


@pytest.mark.parametrize("process", PORTS)
def test_a_process_serves_no_metric_of_another(seen: Seen, process: str) -> None:
    endings = ("_total", "_bucket", "_sum", "_count")
    known = {family.name for metric in metrics.SERVED_BY[process] for family in metric.describe()}
    ours = {name for name, _ in seen.largest[process] if name.startswith("simway_")}
    assert {next((name.removesuffix(end) for end in endings if name.endswith(end)), name) for name in ours} <= known


EXPECTED: list[tuple[str, str, dict[str, str], Callable[[float], bool]]] = [
    ("udp-server", "simway_udp_workers", {}, lambda value: value == 2),
    ("udp-server", "simway_udp_sessions", {}, lambda value: value >= 2),
    ("udp-server", "simway_udp_attaches_total", {"outcome": "unknown_device"}, lambda value: value >= 1),
    ("udp-server", "simway_readings_rejected_total", {"reason": "too_old"}, lambda value: value >= 1),
    ("udp-server", "simway_readings_dropped_at_device_total", {}, lambda value: value >= 4),
    ("udp-server", "simway_log_records_lost_total", {"topic": "registry", "reason": "unreadable"}, lambda value: value >= 1),
    ("udp-server", "simway_dead_letters_total", {"reason": "too_old"}, lambda value: value >= 1),
    ("recorder", "simway_readings_recorded_total", {"outcome": "stored"}, lambda value: value >= 22),
    ("recorder", "simway_readings_recorded_total", {"outcome": "redelivered"}, lambda value: value >= 20),
    ("recorder", "simway_dead_letters_total", {"reason": "corrupt_record"}, lambda value: value == 1),
    ("recorder", "simway_recorder_partitions", {}, lambda value: value == 24),
    ("recorder", "simway_health_check", {"check": "partitions"}, lambda value: value == 1),
    ("dispatcher", "simway_dead_letters_total", {"reason": "corrupt_record"}, lambda value: value == 1),
    ("dispatcher", "simway_command_number_alarms_total", {}, lambda value: value == 1),
    ("dispatcher", "simway_log_append_seconds_count", {"topic": "downlink"}, lambda value: value >= 1),
    ("modem", "simway_device_readings_total", {"outcome": "logged"}, lambda value: value >= 1),
    (
        "web",
        "simway_http_requests_total",
        {"method": "POST", "route": "/api/v1/devices", "status": "201"},
        lambda value: value == 2,
    ),
]


@pytest.mark.parametrize(("process", "name", "labels", "right"), EXPECTED)
def test_a_metric_says_what_happened(
    seen: Seen, process: str, name: str, labels: dict[str, str], right: Callable[[float], bool]
) -> None:
    assert right(total(seen.largest[process], name, **labels)), total(seen.largest[process], name, **labels)


def test_workers_that_end_take_no_count_back(seen: Seen) -> None:
    """One was killed: what it had counted is still there."""
    now = scrape(seen.platform, "udp-server")
    for (name, labels), value in seen.largest["udp-server"].items():
        if name.endswith("_total") and name.startswith("simway_") and "records_lost" not in name:
            assert now[name, labels] >= value, (name, labels)


def test_the_web_serves_its_metrics_on_a_port_of_their_own_only(platform) -> None:
    assert requests.get(f"{platform.api.base_url}/metrics", timeout=ANSWERS_WITHIN_S).status_code == 404
    wait_for(
        lambda: total(scrape(platform, "web"), "simway_http_requests_total", route="none", status="404") >= 1,
        WITHIN_S,
        "it counted",
    )
