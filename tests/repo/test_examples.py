"""The files of ``examples/`` are what their readers take, and tell of the carriers that the demo device has."""

from __future__ import annotations

import os

from simway_testing import REPOSITORY
from simway_virtual_sim import sim_file
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.radio_coverage import Identity, decode

EXAMPLES = REPOSITORY / "examples"


def test_the_coverage_file_names_the_carriers_of_a_new_card() -> None:
    coverage = decode((EXAMPLES / "coverage.toml").read_bytes())
    seen = [coverage.carrier_of(Identity(profile.iccid, profile.imsi)) for profile in new_card(os.urandom).profiles]
    assert [carrier.coverage for carrier in seen] == ["full", "none", "full"]
    assert [carrier.attach_delay_s for carrier in seen] == [0, 0, 4]


def test_the_sim_file_makes_a_card_with_a_way_back() -> None:
    card = sim_file.read(EXAMPLES / "sim.toml").card(os.urandom)
    assert [profile.fallback for profile in card.profiles] == [False, False, True]
    assert {profile.profile_class for profile in card.profiles} == {"operational"}
