"""The driver as a client finds it: by its name among the entry points."""

from importlib.metadata import entry_points

import pytest
from simway_protocol.sim.card import DRIVER_GROUP, CardError, CardGone
from simway_protocol.sim.uicc import Uicc


@pytest.fixture
def open_card():
    (point,) = entry_points(group=DRIVER_GROUP, name="virtual")
    return point.load()


def test_a_new_card_is_made_and_found_again(open_card, tmp_path):
    settings = {"state_file": str(tmp_path / "sim.json")}
    card = open_card(settings)
    made = Uicc(card, lambda: 0).inventory()
    assert [profile.provider for profile in made.profiles] == ["Northwind Mobile", "Blue Harbour Telecom", "Alpine Connect"]
    assert made.active_iccid == made.profiles[0].iccid
    card.close()
    again = open_card(settings)
    assert Uicc(again, lambda: 0).inventory() == made
    again.close()
    other = open_card({"state_file": str(tmp_path / "other.json")})
    assert Uicc(other, lambda: 0).eid() != made.eid
    other.close()


def test_a_closed_card_is_gone(open_card, tmp_path):
    card = open_card({"state_file": str(tmp_path / "sim.json")})
    card.close()
    card.close()
    with pytest.raises(CardGone):
        card.transmit(b"\x00\xa4\x00\x04\x02\x3f\x00")
    with pytest.raises(CardGone):
        card.reset()


def test_a_missing_setting_is_named(open_card):
    with pytest.raises(CardError, match="state_file"):
        open_card({})
