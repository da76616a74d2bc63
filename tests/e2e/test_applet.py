"""The Java Card applet as a device's SIM, behind vpcd, pcscd and pyscard: it holds the key, the platform switches its carrier."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simway_protocol.sim.uicc import Uicc
from simway_testing import REPOSITORY, Unavailable, applet_in_reader, pcscd, scratch, unavailable
from simway_testing.api import states
from simway_testing.card_in_reader import opened_in
from simway_testing.cards import KNOWN
from simway_testing.platform import Front, base_environment
from simway_testing.waiting import wait_for
from simway_virtual_sim.faults import NO_FAULTS

FIRST, SECOND = KNOWN.profiles[:2]
ATTACHED_WITHIN_S = 60.0
VERIFIED_WITHIN_S = 60.0


@pytest.fixture
def reader() -> Iterator[pcscd.Reader]:
    """A reader with a blank card in it, held by nobody."""
    with scratch("applet") as directory:
        try:
            card = applet_in_reader.power_on(directory, KNOWN, NO_FAULTS)
        except Unavailable as missing:
            unavailable(str(missing))
        card.let_go()
        yield card.host.reader
        card.close()


def _simway_modem(command: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("simway-modem")
    environment = base_environment() | settings
    return subprocess.run(
        [str(program), command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_carrier_is_switched_on_the_applet(front: Front, reader: pcscd.Reader) -> None:
    device, api = "with-applet", front.api
    in_reader = {
        "CARD": "pcsc",
        "CARD_READER": reader.name,
        "KEY_PROVIDER": "card",
        "SOURCE": "host",
        **pcscd.shared().environment,
    }
    modem = front.modem(device, api.enrol(device), **in_reader)
    for code, words in ((0, "the SIM now holds the key"), (1, "holds a key already")):
        done = _simway_modem("personalise", modem.settings)
        assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr
    Path(modem.settings["DEVICE_KEY_FILE"]).unlink()

    modem.start()

    def attached() -> bool:
        shown = api.device(device)
        return bool(shown["inventory"] and shown["session"] and shown["session"]["attached"])

    wait_for(attached, ATTACHED_WITHIN_S, lambda: f"{device} is attached\n{modem.tail()}")
    shown = api.device(device)
    assert (shown["inventory"]["eid"], shown["active_carrier"]["iccid"]) == (KNOWN.eid, FIRST.iccid)

    ordered = api.command(device, kind="switch", iccid=SECOND.iccid, deadline_s=60)
    command = api.follow(device, ordered["id"], {"VERIFIED"}, VERIFIED_WITHIN_S)
    assert states(command) == ["QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING", "VERIFIED"]
    told = next(entry["evidence"] for entry in command["history"] if "apdus" in entry["evidence"])
    assert told["proof"] == "card-only"
    assert (told["iccid_before"], told["iccid_after"]) == (FIRST.iccid, SECOND.iccid)
    assert api.device(device)["active_carrier"]["iccid"] == SECOND.iccid

    modem.stop()
    uicc = Uicc(opened_in(reader), lambda: 0)
    assert [profile.iccid for profile in uicc.profiles() if profile.enabled] == [SECOND.iccid]
    assert uicc.applet_status() == (True, 1)
    uicc.close()
