"""The service as it runs: a parent, its workers, real sockets, the embedded log on a disk."""

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import ExitStack
from urllib.error import URLError

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from simway_backbone import open_log
from simway_protocol import messages
from simway_protocol.commands import Body, BodyType, Kind, command_mac, encode_body
from simway_protocol.messages import (
    EVERY_DEVICE,
    Attached,
    CommandEvent,
    Detached,
    Downlink,
    GatewayStarted,
    RegistryEntry,
)
from simway_protocol.readings import Reading
from simway_protocol.udp.events import AttachRefused, CommandArrived, SessionLost, Settled
from simway_testing.udp_device import UdpDevice, now_us
from simway_testing.waiting import wait_for

MASTER = bytes(range(32))
START_S = 30
ORPHANS_END_S = 12


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One udp-server and the log that it writes to."""

    def __init__(self, folder, workers=1):
        self.folder = folder
        self.port, self.metrics_port = free_port(), free_port(socket.SOCK_STREAM)
        (folder / "master.key").write_text(MASTER.hex())
        self.url = f"sqlite:///{folder}/log"
        self.env = {
            **os.environ, "LOG_URL": self.url, "MASTER_SECRET_FILE": str(folder / "master.key"), "UDP_HOST": "127.0.0.1",
            "UDP_PORT": str(self.port), "UDP_METRICS_PORT": str(self.metrics_port), "UDP_WORKERS": str(workers),
        }  # fmt: skip
        self.log = open_log(self.url, client_id="test")
        self.log.ensure_topics()
        self.register("demo")
        self.log_file = (folder / "stderr").open("ab")
        self.process = None
        self._devices = ExitStack()

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-m", "simway_udp_server"], env=self.env, stderr=self.log_file)
        wait_for(self.ready, START_S, self.said)
        return self

    def said(self):
        return (self.folder / "stderr").read_text()[-3_000:]

    def ready(self):
        assert self.process.poll() is None, self.said()
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/health/ready").status == 200
        except (URLError, OSError):
            return False

    def workers(self):
        return psutil.Process(self.process.pid).children()

    def metric(self, name, **labels):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            families = text_string_to_metric_families(answer.read().decode())
        found = [
            one.value
            for family in families
            for one in family.samples
            if one.name == name and labels.items() <= one.labels.items()
        ]
        return sum(found)

    def register(self, device, status="active", versions=(1,)):
        entry = RegistryEntry(device, status, list(versions), now_us())
        self.log.append("registry", 0, [(device.encode(), messages.encode(entry))]).result(60)

    def send_down(self, message):
        self.log.append("downlink", 0, [(message.device.encode(), messages.encode(message))]).result(60)

    def read(self, topic):
        bounds = self.log.bounds(topic)
        reader = self.log.reader(topic, {partition: first for partition, (first, _) in bounds.items()})
        found = []
        while records := reader.poll(0.05, 10_000):
            found += [messages.decode(topic, record.value) for record in records]
        reader.close()
        return found

    def stored(self, device="demo"):
        """Sequence numbers in the log, as often as they are there."""
        return sorted(
            one.first_seq + index
            for batch in self.read("uplink")
            for one in batch.uplinks
            if one.device == device
            for index in range(len(one.readings))
        )

    def events(self, device, kind=object):
        return [event for event in self.read("device-events") if event.device == device and isinstance(event, kind)]

    def enrolled(self, name):
        """A device of this name, registered and attached."""
        self.register(name)
        device = self.device(name)
        wait_for(lambda: _attached(device), 60, f"{name} attached")
        return device

    def device(self, name="demo"):
        device = UdpDevice(("127.0.0.1", self.port), MASTER, name)
        self._devices.callback(device.close)
        return device

    def stop(self):
        self._devices.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.log.close()
        self.log_file.close()


@pytest.fixture
def server(tmp_path):
    """One of its own, with two workers, to be killed or stopped."""
    made = Server(tmp_path, workers=2)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One for the tests that leave it as it was, each with a device of its own."""
    made = Server(tmp_path_factory.mktemp("shared"), workers=2)
    try:
        yield made.start()
    finally:
        made.stop()


def readings(count):
    return [Reading("a", now_us() + index, index) for index in range(count)]


def ping(device, index=0, expires_in_us=60_000_000):
    command_id = index.to_bytes(16, "big")
    expires_us = now_us() + expires_in_us
    body = encode_body(Body(BodyType.COMMAND, device.device, command_id, index, 1, expires_us, Kind.PING))
    return Downlink(device.device, "command", command_id.hex(), index, expires_us, body, command_mac(device.key, body))


def _attached(device):
    refusals = len(device.of(AttachRefused))
    device.attach(wait=False)
    device.run_until(lambda: device.endpoint.attached or len(device.of(AttachRefused)) > refusals)
    return device.endpoint.attached


def test_readings_go_up_and_what_is_acknowledged_is_in_the_log(shared):
    before = shared.metric("simway_readings_admitted_total")
    device = shared.enrolled("up")
    device.send(readings(200))
    assert shared.stored("up") == list(range(1, 201))
    (event,) = shared.events("up")
    assert event.generation == device.endpoint.generation
    wait_for(lambda: shared.metric("simway_readings_admitted_total") >= before + 200, 60, "counted")
    assert shared.metric("simway_udp_sessions") >= 1


def test_garbage_is_counted_and_stops_nothing(shared):
    device = shared.enrolled("noisy")
    noise = random.Random(7)
    for size in range(1_300):
        device.socket.sendto(noise.randbytes(size), device.server)
    device.socket.sendto(b"\x65" + device.endpoint.session_id + bytes(40), device.server)
    device.send(readings(50))
    assert shared.stored("noisy") == list(range(1, 51))
    wait_for(lambda: shared.metric("simway_udp_bad_datagrams_total") > 1_000, 60, "counted by reason")
    assert shared.metric("simway_udp_bad_datagrams_total", reason="internal_error") == 0


def test_an_unknown_device_is_refused_until_the_registry_names_it(shared):
    device = shared.device("newcomer")
    assert not _attached(device)
    assert device.of(AttachRefused)[0].reason == "unknown_device"
    shared.register("newcomer")
    wait_for(lambda: _attached(device), 60, "attached")


def test_a_revoked_device_is_out_and_stays_out(shared):
    device = shared.enrolled("rogue")
    shared.register("rogue", "revoked", ())
    wait_for(lambda: shared.events("rogue", Detached), 60, "detached")
    device.endpoint.send_data(1, readings(1), [], now_us())
    device.run_until(lambda: device.of(SessionLost))
    assert not _attached(device)
    assert device.of(AttachRefused)[-1].reason == "revoked"
    assert shared.stored("rogue") == []


def test_a_command_reaches_the_device_and_its_result_the_log(shared):
    device = shared.enrolled("obedient")
    sent = ping(device, 1)
    shared.send_down(sent)
    device.run_until(lambda: device.of(CommandArrived))
    assert device.of(CommandArrived)[0].body == sent.body
    device.endpoint.send_receipt(bytes.fromhex(sent.command_id), 1, now_us())
    device.endpoint.send_result(bytes.fromhex(sent.command_id), "executed", "", {}, now_us())
    device.run_until(lambda: device.of(Settled))
    assert [event.event for event in shared.events("obedient", CommandEvent)] == ["sent", "received", "result"]


def test_a_device_that_comes_back_at_another_worker_supersedes_its_old_session(shared):
    generations = {shared.enrolled("roamer").endpoint.generation}
    for index in range(11):  # another source port each time: both workers get some
        device = shared.device("roamer")
        wait_for(lambda device=device: _attached(device), 60, "attached, at a worker that may not have heard of it yet")
        device.send(readings(1), first_seq=index + 1)
        generations.add(device.endpoint.generation)
    assert len({generation % 64 for generation in generations}) == 2
    wait_for(lambda: len(shared.events("roamer", Detached)) == 11, 60, "all but the last session superseded")
    assert {event.generation for event in shared.events("roamer", Attached)} == generations
    assert max(generations) not in {event.generation for event in shared.events("roamer", Detached)}


def test_many_devices_at_once(shared):
    devices = [shared.enrolled(f"many-{index}") for index in range(8)]
    failures = []

    def live(device):
        try:
            device.send(readings(300))
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=live, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    for device in devices:
        assert set(shared.stored(device.device)) == set(range(1, 301))


def test_a_killed_worker_is_replaced_and_nothing_acknowledged_is_lost(server):
    devices = [server.enrolled(f"device-{index}") for index in range(6)]
    for device in devices:
        device.send(readings(20))
    killed = server.workers()[0]
    killed.kill()
    wait_for(lambda: len(server.workers()) == 2 and killed not in server.workers(), 60, "a new worker")
    wait_for(server.ready, START_S, server.said)
    for device in devices:
        device.attach()
        device.send(readings(20), first_seq=21)
        assert set(server.stored(device.device)) == set(range(1, 41))
    wait_for(lambda: server.metric("simway_readings_admitted_total") >= 120, 60, "counts do not go back")
    begun = [(event.worker, event.workers) for event in server.events("", GatewayStarted)]
    assert sorted(begun[:2]) == [(0, 2), (1, 2)]
    assert begun[2:] == [(0, 2)]
    [place] = {event.place for event in server.read("device-events") if isinstance(event, Attached | GatewayStarted)}
    assert place.endswith(f":{server.port}")


def test_how_old_readings_may_be_is_what_the_registry_says(server):
    device = server.enrolled("demo")
    numbers = itertools.count(1)

    def takes(days):
        seq = next(numbers)
        device.send([Reading("a", now_us() - days * 86_400 * 10**6, seq)], first_seq=seq)
        return seq in device.logged or device.rejected[seq]

    def say(keep_s):
        entry = RegistryEntry(EVERY_DEVICE, "revoked", [], now_us(), keep_s)
        server.log.append("registry", 0, [(b"*", messages.encode(entry))]).result(60)

    assert takes(40) == "too_old"
    say(365 * 86_400)
    wait_for(lambda: takes(40) is True, 60, "a longer retention")
    assert takes(400) == "too_old"
    say(86_400)
    wait_for(lambda: takes(2) == "too_old", 60, "a shorter one")
    say(0)
    wait_for(lambda: takes(4_000) is True, 60, "for ever")


def test_sigterm_ends_it_in_order_and_a_restart_sends_only_what_is_open(server):
    device = server.device()
    device.attach()
    device.endpoint.send_data(1, readings(5), [], now_us())
    device.turn()
    workers = server.workers()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert not any(worker.is_running() for worker in workers)
    assert server.events("demo")[-1].reason == "shutdown"
    assert server.stored() == [1, 2, 3, 4, 5]

    over, open_, expired = ping(device, 1), ping(device, 2), ping(device, 3, expires_in_us=-1)
    for message in (over, open_, expired):
        server.send_down(message)
    result = CommandEvent("demo", over.command_id, "result", "udp", 1, now_us(), outcome="executed")
    server.log.append("device-events", 0, [(b"demo", messages.encode(result))]).result(60)
    server.start()
    device.attach()
    device.run_until(lambda: device.of(CommandArrived))
    device.endpoint.send_receipt(bytes.fromhex(open_.command_id), 2, now_us())
    device.run_until(lambda: any(event.event == "received" for event in server.events("demo", CommandEvent)))
    assert {arrived.body for arrived in device.of(CommandArrived)} == {open_.body}


def test_a_killed_parent_takes_its_workers_with_it_and_the_port_is_free_again(server):
    workers = server.workers()
    server.process.kill()
    server.process.wait(60)
    for worker in workers:
        worker.wait(60)
    server.start()
    server.device().attach()


def test_workers_of_a_killed_parent_do_not_hold_the_port_while_they_wait_for_a_log_that_is_away(tmp_path):
    server = Server(tmp_path)
    env = {**server.env, "LOG_URL": f"kafka://127.0.0.1:{free_port(socket.SOCK_STREAM)}", "UDP_WORKERS": "2"}
    process = subprocess.Popen([sys.executable, "-m", "simway_udp_server"], env=env, stderr=server.log_file)
    wait_for(lambda: server.said().count("waiting for Kafka") >= 2, START_S, server.said)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.wait(60)
    gone, alive = psutil.wait_procs(workers, timeout=ORPHANS_END_S)
    for worker in alive:
        worker.kill()
    server.stop()
    assert (len(gone), alive) == (2, []), server.said()


HANGING = """
import os, socket, sys, time
from simway_backbone.memory_log import MemoryLog
from simway_udp_server.settings import Settings
from simway_udp_server.worker import run_worker

class Hanging(MemoryLog):
    def close(self, timeout_s=5.0):
        time.sleep(60)

udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
udp.setblocking(False)
control = socket.socket(fileno=int(sys.argv[1]))
control.setblocking(False)
run_worker(0, udp, control, Settings.from_env(os.environ), Hanging())
"""


def test_a_worker_whose_log_does_not_let_go_ends_all_the_same(tmp_path):
    server = Server(tmp_path)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-c", HANGING, str(there.fileno())]
    with subprocess.Popen(command, env=server.env, stderr=server.log_file, pass_fds=[there.fileno()]) as process:
        there.close()
        assert here.recv(100_000), "its first report"
        here.close()
        try:
            assert process.wait(ORPHANS_END_S + START_S) == 1
        finally:
            process.kill()
            server.stop()


def refused_start(env):
    return subprocess.run(
        [sys.executable, "-m", "simway_udp_server"], env=env, capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip


def test_a_taken_port_is_named_and_the_exit_status_is_2(shared, tmp_path_factory):
    other = Server(tmp_path_factory.mktemp("other"))
    other.env["UDP_PORT"] = str(shared.port)
    result = refused_start(other.env)
    assert result.returncode == 2
    assert "UDP_PORT" in result.stderr
    assert str(shared.port) in result.stderr
    other.stop()


def test_a_missing_master_secret_is_named_and_the_exit_status_is_2(tmp_path):
    server = Server(tmp_path)
    (tmp_path / "master.key").unlink()
    result = refused_start(server.env)
    assert result.returncode == 2
    assert "MASTER_SECRET_FILE" in result.stderr
    server.stop()


def test_a_url_that_names_no_log_ends_the_service_with_status_2(tmp_path):
    server = Server(tmp_path)
    result = refused_start({**server.env, "LOG_URL": "ftp://x"})
    assert result.returncode == 2
    assert "LOG_URL" in result.stderr
    server.stop()
