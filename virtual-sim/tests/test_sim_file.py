"""The SIM file: what the manual shows is read, and what is wrong is named where it stands."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.sim.card import CardError
from simway_protocol.sim.es10c import NicknameResult
from simway_protocol.sim.uicc import Uicc
from simway_virtual_sim import sim_file
from simway_virtual_sim.driver import open_card
from simway_virtual_sim.faults import Faults
from simway_virtual_sim.state import decode, encode

MANUAL = (Path(__file__).parents[2] / "docs" / "virtual-sim.md").read_text()
ONE = """
[[profiles]]
iccid = "8999901626663086897"
imsi = "999700123456789"
provider = "A"
"""


def _random(count):
    return bytes(range(count))


def _read(tmp_path, text):
    path = tmp_path / "sim.toml"
    path.write_text(text)
    return sim_file.read(path)


def test_the_manual_shows_a_file_that_is_read(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    read = _read(tmp_path, example)
    card = read.card(_random)
    assert (card.eid, card.enabled) == ("89999001004335000593530640706597", "8999901626663086897")
    assert [profile.provider for profile in card.profiles] == ["Northwind Mobile", "Blue Harbour Telecom"]
    spare = card.profiles[1]
    assert (spare.fallback, spare.keep_installed, spare.keep_enabled, spare.nickname) == (True, True, False, "spare")
    assert read.faults == Faults(cat_busy_times=2, slow_ms=30)
    assert decode(encode(card)) == card


def test_the_manual_names_every_fault_and_no_other():
    assert set(re.findall(r"^\| `(\w+) = ", MANUAL, re.MULTILINE)) == set(Faults.__struct_fields__)


def test_a_profile_whose_iccid_has_a_hexadecimal_digit_works(tmp_path):
    iccid = "898600D0A11E45678901"
    (tmp_path / "sim.toml").write_text(ONE.replace("8999901626663086897", iccid))
    settings = {"state_file": str(tmp_path / "card.json"), "sim_file": str(tmp_path / "sim.toml")}
    card = Uicc(open_card(settings), lambda: 0)
    assert (card.iccid(), [profile.iccid for profile in card.profiles()]) == (iccid, [iccid])
    assert card.inventory().active_iccid == iccid
    assert card.set_nickname(iccid, "N") == NicknameResult.OK


def test_what_is_left_out_is_made_up(tmp_path):
    empty = _read(tmp_path, "").card(_random)
    assert len(empty.profiles) == 3
    card = _read(tmp_path, ONE).card(_random)
    assert (card.eid, card.enabled, card.profiles[0].aid) == (empty.eid, card.profiles[0].iccid, empty.profiles[0].aid)


@pytest.mark.parametrize(("text", "told"), [
    ('eid = "123"', r"sim\.toml:1: eid: an EID has 32 digits"),
    ('\neid = "89999001004335000593530640706501"', r"sim\.toml:2: eid: .*: 89999001004335000593530640706597"),
    ("colour = 1", r"sim\.toml:1: colour: there is no such key"),
    ("[faults]\n\nslow = 1", r"sim\.toml:3: faults\.slow: there is no such key"),
    ("eid =\n", r"sim\.toml is not TOML: .*line 1"),
    (ONE.replace("8999901626663086897", "1"), r"sim\.toml:3: profiles\[0\]\.iccid: '1' is not an ICCID"),
    (ONE.replace("999700123456789", "99970"), r"sim\.toml:4: profiles\[0\]\.imsi: '99970' is not an IMSI"),
    (ONE.replace("imsi", "# imsi"), r"sim\.toml:2: profiles\[0\]: .*missing required field `imsi`"),
    (ONE + 'aid = "xyz"', r"sim\.toml:6: profiles\[0\]\.aid: 'xyz' is not an AID"),
    (ONE + 'class = "gold"', r"sim\.toml:6: profiles\[0\]\.class: Invalid enum value 'gold'"),
    (ONE + 'policy = ["all"]', r"sim\.toml:6: profiles\[0\]\.policy\[0\]: Invalid enum value 'all'"),
    (ONE + ONE, r"sim\.toml:8: profiles\[1\]\.iccid: 8999901626663086897 is another profile's already"),
    (ONE + "fallback = true" + ONE.replace("6897", "6898").replace("6789", "6780") + "fallback = true",
     r"sim\.toml:11: profiles\[1\]\.fallback: one profile alone can be fallback"),
    ("[faults]\nslow_ms = -1", r"sim\.toml:2: faults\.slow_ms: cannot be negative"),
    ('[faults]\ncat_busy_times = "2"', r"sim\.toml:2: faults\.cat_busy_times: Expected `int`, got `str`"),
])  # fmt: skip
def test_mistakes_are_named_where_they_stand(tmp_path, text, told):
    with pytest.raises(CardError, match=told):
        _read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CardError, match=r"none\.toml cannot be read.*SIM_FILE"):
        sim_file.read(tmp_path / "none.toml")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(CardError):
        sim_file.read(path).card(_random)


def test_faults_are_counted_over_reopenings_until_the_file_has_others(tmp_path):
    path = tmp_path / "sim.toml"
    settings = {"state_file": str(tmp_path / "sim.json"), "sim_file": str(path)}
    enable = "80E291001ABF3117A0124F10A0000005591010FFFFFFFF89000011008101FF"

    def result():
        card = open_card(settings)
        card.transmit(bytes.fromhex("00A4040010A0000005591010FFFFFFFF8900000100"))
        card.transmit(bytes.fromhex(enable))
        data, _ = card.transmit(bytes.fromhex("80C0000006"))
        card.close()
        return data[-1]

    path.write_text("[faults]\ncat_busy_times = 2\n")
    assert [result() for _ in range(3)] == [5, 5, 0]
    path.write_text("[faults]\ncat_busy_times = 1\n")
    assert [result() for _ in range(2)] == [5, 2]
