"""``simway-modem`` as a process over a radio: a real modem's AT commands on a pseudo terminal, and coverage that goes away."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from simway_backbone.service import StartError
from simway_modem_client.app import make_bearer, make_keys
from simway_modem_client.card import SimCard, open_card
from simway_modem_client.cli import run_cli
from simway_modem_client.settings import ModemSettings
from simway_protocol.commands import Body, BodyType, Kind
from simway_protocol.sim.es10c import EnableProfile, ProfileId
from simway_protocol.sim.uicc import Uicc
from simway_testing.at_modem import QUECTEL, AtModem
from simway_testing.udp_service import KEY, UdpServer, now_us
from simway_testing.waiting import wait_for

WITHIN_S = 60


@contextmanager
def running(environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "simway_modem_client", "run", "--interval", "500ms"]
    process = subprocess.Popen(command, env=environment | {"SIGNAL_INTERVAL_S": "200ms"}, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.terminate()
        _, said = process.communicate(timeout=40)
    assert process.returncode == 0, said


def status(environment: dict[str, str]) -> dict[str, Any]:
    out = io.StringIO()
    run_cli(["status", "--json"], environment, out)
    shown: dict[str, Any] = json.loads(out.getvalue())
    return shown


def told(server: UdpServer, sensor: str) -> list[Any]:
    return [reading.value for reading in server.readings.values() if reading.sensor == sensor]


def test_a_switch_on_a_real_modem(server: UdpServer, environment: dict[str, str], tmp_path: Path) -> None:
    """Card, key, switch, registration and signal, all over one serial port."""
    sim = open_card("virtual", {"state_file": str(tmp_path / "sim.json")})
    uicc = Uicc(sim, lambda: 0)
    uicc.applet_personalise(KEY, 1)
    target = next(profile.iccid for profile in uicc.profiles() if not profile.enabled)
    modem = AtModem(tmp_path, sim, QUECTEL)
    environment |= {"CARD": "at", "BEARER": "at", "MODEM_PORT": str(modem.port), "MODEM_INTERFACE": "lo"}
    try:
        with running(environment):
            wait_for(lambda: server.attached, WITHIN_S, "attached")
            before = modem.imsi
            body = Body(
                BodyType.COMMAND, "truck-7", b"\x01" * 16, 1, 1, now_us() + 60_000_000, Kind.SWITCH, target,
                (EnableProfile(ProfileId.of(target)).encode(),),
            )  # fmt: skip
            server.submit(body)
            wait_for(lambda: [event for event in server.progress if event.event == "closed"], WITHIN_S, "the switch is closed")
            result = next(event for event in server.progress if event.event == "result" and event.command_id == body.command_id)
            assert result.outcome == "executed"
            assert result.evidence["proof"] == "bearer"
            assert result.evidence["iccid_after"] == target
            assert modem.imsi != before
            wait_for(lambda: modem.imsi[:5] in told(server, "signal/plmn"), WITHIN_S, "the new network in the readings")
            assert told(server, "signal/rsrp")[-1] == -95
            assert status(environment)["registration"]["plmn"] == modem.imsi[:5]
    finally:
        modem.close()


def test_a_device_without_coverage_is_cut_off_and_comes_back(
    server: UdpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    coverage = tmp_path / "coverage.toml"
    coverage.write_text("[default]\nrsrp_dbm = -77\n")
    environment["COVERAGE_FILE"] = str(coverage)
    with running(environment):
        wait_for(lambda: -77 in told(server, "signal/rsrp"), WITHIN_S, "signal readings")
        coverage.write_text('[default]\ncoverage = "none"\n')
        wait_for(lambda: status(environment)["registration"].get("cause") == "no_coverage", WITHIN_S, "no coverage in status")
        count, waiting = len(server.readings), status(environment)["outbox"]["waiting"]
        wait_for(lambda: status(environment)["outbox"]["waiting"] > waiting + 5, WITHIN_S, "readings pile up")
        assert len(server.readings) == count, "nothing got through"
        coverage.write_text("[default]\nrsrp_dbm = -78\n")
        wait_for(lambda: -78 in told(server, "signal/rsrp"), WITHIN_S, "the readings arrive after all")
        assert False in told(server, "signal/registered")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"COVERAGE_FILE": "/nowhere/coverage.toml"}, "COVERAGE_FILE"),
        ({"BEARER": "pigeon"}, r"there is no bearer 'pigeon' \(BEARER\); installed: at, none, virtual"),
        ({"BEARER": "at"}, "MODEM_PORT"),
        ({"CARD": "at"}, "MODEM_PORT"),
    ],
)
def test_what_cannot_start_says_what_to_set(environment: dict[str, str], changes: dict[str, str], words: str) -> None:
    settings = ModemSettings.from_env(environment | changes)
    sim = SimCard(lambda: open_card(settings.card, settings.card_settings))
    with pytest.raises(StartError, match=words):
        make_keys(settings, sim, may_be_away=make_bearer(settings).has_radio)
