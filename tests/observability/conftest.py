"""One platform for all tests here: the real processes, embedded, its log on a small disk, every uplink traced."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from simway_testing import scratch
from simway_testing.fault_disk import TMPFS, Disk, private_mounts
from simway_testing.otlp_receiver import OtlpReceiver
from simway_testing.platform import Platform
from simway_testing.ports import free_port

LOG_DISK_BYTES = 48 * 1024 * 1024


class Observed(Platform):
    """``disk``: the one that its log is on."""

    disk: Disk


@pytest.fixture(scope="session")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as started:
        yield started


@pytest.fixture(scope="session")
def front(receiver: OtlpReceiver) -> Iterator[Observed]:
    way = private_mounts()
    with scratch("observed") as directory:
        nobody = f"http://127.0.0.1:{free_port()}"
        platform = Observed(
            directory, UDP_WORKERS="2", TRACE_RATIO="1", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, LOG_FORMAT="json",
            GRAFANA_URL=nobody, GRAFANA_ADMIN_PASSWORD_FILE=str(directory / "grafana.password"), GROUP_SESSION_TIMEOUT_S="6",
        )  # fmt: skip
        (directory / "grafana.password").write_text("unused")
        folder = directory / "var" / "log"
        platform.disk = Disk(
            folder, way, LOG_DISK_BYTES, lambda: [platform.processes[name].pid for name in ("udp-server", "dispatcher")]
        )
        try:
            platform.start()
            yield platform
        finally:
            platform.stop()
            if way == TMPFS:
                subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def platform(front: Observed) -> Observed:
    """The same by the name that says more. (``front`` has the processes' logs shown when a test fails.)"""
    return front
