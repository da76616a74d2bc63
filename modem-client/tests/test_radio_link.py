"""The link over a radio: it waits for the network before it attaches, and a carrier without coverage cuts it off."""

from __future__ import annotations

import threading

import pytest
from simway_modem_client.entries import decode_value, make_entry
from simway_modem_client.outbox import Outbox
from simway_modem_client.sources.signal import SignalSource, readings_of
from simway_modem_client.status import _radio_words
from simway_protocol.commands import Kind
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.card import CardError
from simway_protocol.sim.uicc import Uicc
from simway_testing.waiting import wait_for
from simway_virtual_sim.radio_coverage import Carrier, Coverage

T0 = 1_790_000_000_000_000
NOWHERE = Coverage(default=Carrier(coverage="none"))


def put(world, count: int) -> None:
    world.outbox.put([make_entry("n", index, None, t_us=T0 + index) for index in range(count)])
    assert world.outbox.flush()


@pytest.mark.parametrize(
    ("coverage", "words"),
    [("none", "no coverage"), ("denied", "the network refuses this SIM"), ("no_data", "the network carries no data")],
)
def test_without_a_network_it_waits_and_says_so(world, coverage: str, words: str) -> None:
    world.coverage = Coverage(default=Carrier(coverage=coverage))  # type: ignore[arg-type]
    world.until(lambda: words in world.link.state.trouble)
    world.pass_time(30)
    assert world.opened == 0
    assert not world.server.attached
    world.coverage = Coverage()
    began_us = world.now_us
    world.until(lambda: world.attached)
    assert world.now_us - began_us < 2_000_000, "it looks about once a second, however long it waited"
    assert world.link.describe()["registration"]["state"] == "home"


def test_the_attach_delay_is_waited_for(world) -> None:
    world.coverage = Coverage(default=Carrier(attach_delay_s=7))
    world.until(lambda: world.link.state.trouble == "not on the network: registering")
    began_us = world.now_us
    world.until(lambda: world.attached)
    assert 6_000_000 < world.now_us - began_us < 9_000_000


def test_nothing_gets_through_on_a_carrier_without_coverage(world) -> None:
    """The device is attached and has readings; its profile is switched by other means to a carrier that does not reach it."""
    world.until(lambda: world.attached)
    target = world.other_iccid()
    world.coverage = Coverage(carriers={target: Carrier(coverage="none")})
    world.sim.use().enable(target)
    world.sim.use().apply_switch()
    world.link.reattach()
    put(world, 50)
    world.pass_time(120)
    assert not world.server.logged
    assert len(world.server.attached) == 1
    assert "no coverage" in world.link.state.trouble
    world.coverage = Coverage()
    world.until(lambda: len(world.server.logged) == 50)
    assert world.server.attached[-1].iccid == target


def test_coverage_lost_under_way_loses_no_reading(world) -> None:
    world.until(lambda: world.attached)
    world.coverage = NOWHERE
    put(world, 100)
    world.pass_time(300)
    assert not world.server.logged
    world.coverage = Coverage()
    world.until(lambda: len(world.server.logged) == 100)


def test_a_card_that_keeps_its_imsi_to_itself_is_known_by_its_iccid(world, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_uicc: Uicc) -> str:
        raise CardError("read EF.IMSI", 0x6982)

    monkeypatch.setattr(Uicc, "imsi", refuse)
    world.coverage = Coverage(carriers={world.active_iccid(): Carrier(rat="NR")}, default=Carrier(coverage="none"))
    world.until(lambda: world.attached)
    assert world.link.registration().rat == "NR"


def test_a_ping_shows_the_radio(world) -> None:
    world.until(lambda: world.attached)
    ping = world.command(Kind.PING)
    world.until(lambda: world.result(ping))
    shown = world.result(ping).evidence["registration"]
    assert shown == {
        "state": "home", "data": True, "plmn": shown["plmn"], "rat": "LTE", "rsrp_dbm": -85.0, "rsrq_db": -9.0,
    }  # fmt: skip
    assert shown["plmn"].startswith("9997")


# --- signal readings ---------------------------------------------------------------------------------------------------------


def told(registration: Registration) -> dict[str, object]:
    return {entry.sensor: decode_value(entry.value) for entry in readings_of(registration, T0)}


def test_what_the_radio_knows_is_measured() -> None:
    entries = readings_of(Registration("home", True, "99970", "LTE", -85.5, -9.0, rssi_dbm=-60.0), T0)
    assert [(entry.sensor, decode_value(entry.value), entry.unit) for entry in entries] == [
        ("signal/registered", True, None), ("signal/rsrp", -85.5, "dBm"), ("signal/rsrq", -9.0, "dB"),
        ("signal/rssi", -60.0, "dBm"), ("signal/rat", "LTE", None), ("signal/plmn", "99970", None),
    ]  # fmt: skip
    assert told(Registration("searching", False, cause="no_coverage")) == {"signal/registered": False}
    assert told(Registration("home", True, rsrp_dbm=0.0))["signal/rsrp"] == 0.0


def test_a_round_an_interval_and_at_each_change(tmp_path) -> None:
    now = [Registration("home", True, "99970", "LTE", -85.0, -9.0)]
    stopping = threading.Event()
    with Outbox(tmp_path / "outbox.db") as outbox:
        source = SignalSource(lambda: now[0], interval_s=3_600)
        thread = threading.Thread(target=source.run, args=[outbox, stopping])
        thread.start()
        now[0] = Registration("searching", False, cause="no_coverage")
        wait_for(lambda: outbox.flush() and outbox.stats().next_seq == 2, 60, "the change is told")
        stopping.set()
        thread.join()
        often, stopping = SignalSource(lambda: now[0], interval_s=0.01), threading.Event()
        thread = threading.Thread(target=often.run, args=[outbox, stopping])
        thread.start()
        wait_for(lambda: outbox.flush() and outbox.stats().next_seq > 6, 60, "rounds")
        stopping.set()
        thread.join()


@pytest.mark.parametrize(
    ("bearer", "registration", "words"),
    [
        ("none", {}, "none (bearer none): this machine's own network"),
        ("at", {}, "not read yet (bearer at)"),
        (
            "virtual", Registration("home", True, "99970", "LTE", -85.0, -9.5).evidence(),
            "home, LTE 99970, RSRP -85 dBm, RSRQ -9.5 dB, bearer virtual",
        ),
        ("at", Registration("searching", False, cause="no_coverage").evidence(), "searching: no_coverage, bearer at"),
        ("at", Registration("home", True, rssi_dbm=-71.0).evidence(), "home, RSSI -71 dBm, bearer at"),
    ],
)  # fmt: skip
def test_status_words(bearer: str, registration: dict[str, object], words: str) -> None:
    assert _radio_words(bearer, registration) == words
