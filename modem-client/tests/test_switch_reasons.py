"""Every reason that a switch can end with is explained on the page for people."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from simway_modem_client import preflight, switch, switch_card, switcher
from simway_modem_client.switch import Event, Phase
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.es10c import EnableResult

PAGE = Path(__file__).resolve().parents[2] / "docs" / "carrier-switch.md"
RADIOS = [Registration(state, data) for state in ("off", "searching", "denied", "home") for data in (False, True)]
RADIOS.append(Registration("home", True, cause="wrong_identity"))


def reasons_in_code() -> set[str]:
    going_back = {
        switch.why_back(phase, event, radio, card_was_seen=True) for phase in Phase for event in Event for radio in RADIOS
    }
    going_back |= {
        switch.why_back(Phase.SWITCHED, Event.DEADLINE, RADIOS[0], card_was_seen=False, is_other_card=is_other)
        for is_other in (False, True)
    }
    refused = set(re.findall(r'^        \(.*, "([a-z_]+)"\),$', inspect.getsource(preflight.refuse), re.MULTILINE))
    card = set(re.findall(r'"((?:card|answer)_[a-z_]+)"', inspect.getsource(switch_card) + inspect.getsource(switcher)))
    answers = {result.name.lower() for result in EnableResult if result is not EnableResult.OK}
    further = {"interrupted", "card_error", "no_way_back", "expired", "journal_full"}
    return (going_back | refused | card | answers | further) - {""}


def test_every_reason_is_explained() -> None:
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith(("| FAILED", "| ROLLED_BACK"))]
    explained = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row[2])}
    assert explained == reasons_in_code()
