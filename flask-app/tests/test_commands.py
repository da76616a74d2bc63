"""The use cases of commands: what is refused before anything is queued."""

from __future__ import annotations

from typing import Any

import pytest
from simway_flask_app import commands as use_cases
from simway_protocol.messages import Inventory, Profile
from simway_testing.ledger_house import ALPHA, BETA, PROFILES, T0_US, House, inventory


def test_a_provider_is_resolved_from_the_inventory(house: House) -> None:
    with pytest.raises(use_cases.NoInventory):
        use_cases.switch_carrier(house.store, "demo", provider="Beta", actor="api", now_us=T0_US)
    inventory(house)
    command = use_cases.switch_carrier(house.store, "demo", provider="bETA", force_reason="no third", actor="api", now_us=T0_US)
    assert (command.target_iccid, command.provider) == (BETA, "bETA")
    for provider, error in (("Alpha", use_cases.AlreadyEnabled), ("Gamma", use_cases.UnknownProfile)):
        with pytest.raises(error):
            use_cases.switch_carrier(house.store, "demo", provider=provider, actor="api", now_us=T0_US)
    twins = [*PROFILES, Profile("8949000000000000037", "a2", "disabled", "Beta")]
    house.tell(Inventory("demo", "udp", 1, T0_US + 1, "89" * 16, ALPHA, twins))
    with pytest.raises(use_cases.AmbiguousProvider):
        use_cases.switch_carrier(house.store, "demo", provider="Beta", actor="api", now_us=T0_US)


def test_a_revoked_device_gets_no_commands(house: House) -> None:
    house.store.set_device_status("demo", "revoked", now_us=T0_US)
    with pytest.raises(use_cases.DeviceRevoked):
        house.ping()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"iccid": BETA, "provider": "Beta"},
        {"iccid": "12"},
        {"iccid": BETA, "deadline_s": 1},
        {"iccid": BETA, "expires_in_s": 0},
    ],
)
def test_bad_requests(house: House, wrong: dict[str, Any]) -> None:
    with pytest.raises(use_cases.BadRequest):
        use_cases.switch_carrier(house.store, "demo", actor="api", now_us=T0_US, **wrong)
