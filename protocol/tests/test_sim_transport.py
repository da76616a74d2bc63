"""The chain of processors and the client over it, against cards that read from a script."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.errors import PeerError
from simway_protocol.sim import apdu, applet, es10c, trace
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.proactive import CommandType
from simway_protocol.sim.transport import Chain, Gathered, LengthCorrected, ProactiveNoted, Traced
from simway_protocol.sim.uicc import Uicc

ICCID = "8988211000000000025"
OPEN, CLOSE = ("0070000001", "019000"), ("00708001", "9000")
SELECT_ISD_R, BASIC_ISD_R = (f"0{channel}A4040010A0000005591010FFFFFFFF890000010000" for channel in (1, 0))
EID_ANSWER = "BF3E125A10" + "8" * 32
READ_ICCID = (
    OPEN,
    ("01A40004023F0000", "9000"),
    ("01A40004022FE200", "9000"),
    ("01B000000A", "988812010000000020F59000"),
    CLOSE,
)


class ScriptedCard:
    """Answers what its script says, in order; anything else fails the test. ``None`` as an answer loses it."""

    def __init__(self, *script):
        self.script = list(script)

    def transmit(self, apdu):
        expected, answer = self.script.pop(0)
        assert apdu.hex().upper() == expected.replace(" ", "")
        if answer is None:
            raise CardGone("pulled")
        data = bytes.fromhex(answer)
        return data[:-2], int.from_bytes(data[-2:], "big")

    def reset(self):
        assert self.script.pop(0) == "reset"
        return b"\x3b"

    def close(self):
        self.script.append("closed")


def _clock():
    return itertools.count(0, 1500).__next__


def _uicc(*script, **settings):
    card = ScriptedCard(*script)
    return Uicc(card, _clock(), **settings), card


def _on_channel_1(*script):
    return OPEN, (SELECT_ISD_R, "9000"), *script, CLOSE


def test_6cxx_is_repeated_with_the_length_that_the_card_names():
    card = ScriptedCard(("00B0000000", "6C0A"), ("00B000000A", "988812010000000020F59000"))
    assert LengthCorrected(card).transmit(bytes.fromhex("00B0000000")) == (bytes.fromhex("988812010000000020F5"), 0x9000)


def test_6cxx_is_repeated_once_only():
    card = ScriptedCard(("00B0000000", "6C0A"), ("00B000000A", "6C0B"))
    assert LengthCorrected(card).transmit(bytes.fromhex("00B0000000")) == (b"", 0x6C0B)


def test_61xx_is_gathered_in_the_class_of_the_command():
    whole = bytes(range(256)) + bytes(range(0xE7))
    card = ScriptedCard(
        ("81E2910003BF2D00", "6100"), ("81C0000000", whole[:256].hex() + "61E7"), ("81C00000E7", whole[256:].hex() + "910B")
    )  # fmt: skip
    assert Gathered(card).transmit(bytes.fromhex("81E2910003BF2D00")) == (whole, 0x910B)


@pytest.mark.parametrize("endless", ["6110", "AA" * 16 + "6110"])
def test_a_card_that_promises_without_end_is_not_believed(endless):
    card = ScriptedCard(("00A4000C", "6110"), *[("00C0000010", endless)] * 300)
    with pytest.raises(CardError, match="without an end"):
        Gathered(card).transmit(bytes.fromhex("00A4000C"))


def test_91xx_is_noted_until_a_success_says_otherwise_or_a_reset():
    card = ScriptedCard(("01", "910B"), ("02", "6A82"), ("03", "9000"), ("04", "9100"), "reset")
    noted = ProactiveNoted(card)
    seen = []
    for command in (b"\x01", b"\x02", b"\x03", b"\x04"):
        noted.transmit(command)
        seen.append(noted.pending_bytes)
    noted.reset()
    assert (*seen, noted.pending_bytes) == (11, 11, 0, 256, 0)


def test_the_trace_names_and_times_and_holds_no_data():
    key = "AB" * 32
    personalise = f"8030000024{key}00000001"
    card = ScriptedCard(
        ("00A4040008F053494D5741590100", "9000"), (personalise, "9000"), ("801012", None), "reset", (personalise, "6D00")
    )
    traced = Traced(card, _clock())
    traced.transmit(bytes.fromhex("00A4040008F053494D5741590100"))
    traced.transmit(bytes.fromhex(personalise))
    with pytest.raises(CardGone):
        traced.transmit(bytes.fromhex("801012"))
    traced.reset()
    traced.transmit(bytes.fromhex(personalise))
    evidence = [exchange.evidence() for exchange in traced.take()]
    assert [(item["name"], item["sw"], item["ms"]) for item in evidence] == [
        ("SELECT Simway applet", "9000", 1.5), ("PERSONALISE", "9000", 1.5), ("malformed APDU", "", 1.5), ("RESET", "9000", 1.5),
        ("INS 30", "6D00", 1.5),
    ]  # fmt: skip
    assert key not in repr(evidence).upper()
    assert traced.take() == []


@pytest.mark.parametrize(("command", "name"), [
    ("00A40004023F0000", "SELECT MF"), ("00A40004022FE200", "SELECT EF.ICCID"), ("00A40004026FAD00", "SELECT 6FAD"),
    ("01A4040010A0000005591010FFFFFFFF8900000100", "SELECT ISD-R"), ("00A4040005A000000003", "SELECT A000000003"),
    ("0070000001", "MANAGE CHANNEL open"), ("00708001", "MANAGE CHANNEL close"),
    ("80E2910003BF2D00", "STORE DATA GetProfilesInfo"),
    ("80E2910103BF2D00", "STORE DATA block 1"), ("80E2910003BF7F00", "STORE DATA BF7F"), ("80E2110001BF", "STORE DATA block 0"),
    ("80E2910001BF", "STORE DATA"), ("801200000B", "FETCH"),
    ("00EE000000", "INS EE"), ("0088008000", "AUTHENTICATE"), ("0020000100", "VERIFY PIN"),
    ("00", "malformed APDU"), ("", "malformed APDU"),
])  # fmt: skip
def test_names_of_commands(command, name):
    assert trace.name_of(bytes.fromhex(command)) == name


@given(st.binary(max_size=40), st.booleans())
def test_every_apdu_has_a_name(data, in_applet):
    assert trace.name_of(data, in_applet=in_applet)
    trace.application_of(data)


def test_a_refused_command_names_itself_and_its_status():
    with pytest.raises(CardError, match="read: 6982") as caught:
        Chain(ScriptedCard(("00B000000A", "6982")), _clock()).send(apdu.read_binary(10), "read")
    assert caught.value.sw == 0x6982


# --- the client --------------------------------------------------------------------------------------------------------


def test_the_golden_enable_without_refresh():
    uicc, card = _uicc(
        *_on_channel_1(("81E2910014BF3111A00C5A0A988812010000000020F5810100", "6106"), ("81C0000006", "BF31038001009000"))
    )
    assert uicc.enable(ICCID, refresh=False) is es10c.EnableResult.OK
    assert card.script == []


def test_the_golden_enable_with_refresh_and_what_follows():
    uicc, card = _uicc(
        OPEN, (SELECT_ISD_R, "9000"),
        ("81E2910014BF3111A00C5A0A988812010000000020F58101FF", "6106"), ("81C0000006", "BF3103800100910B"),
        ("00708001", "910B"), ("801200000B", "D0098103010104820281829000"), ("801400000C810301010482028281830100", "9000"),
        "reset", *READ_ICCID,
    )  # fmt: skip
    assert uicc.enable(ICCID) is es10c.EnableResult.OK
    assert uicc.apply_switch() == ICCID
    assert card.script == []


def test_small_segments():
    uicc, card = _uicc(*_on_channel_1(("81E2110003BF3E03", "9000"), ("81E29101035C015A", EID_ANSWER + "9000")), block_bytes=3)
    assert uicc.eid() == "8" * 32
    assert card.script == []


@pytest.mark.parametrize("refusal", ["6881", "6A81", "6D00", "6E00"])
def test_a_card_without_channels_is_spoken_to_on_the_basic_one(refusal):
    uicc, card = _uicc(
        ("0070000001", refusal), (BASIC_ISD_R, "9000"), ("80E2910003BF2200", "6A88")
    )  # fmt: skip
    with pytest.raises(CardError, match="6A88"):
        uicc.info()
    assert card.script == []


@pytest.mark.parametrize("number", ["00", "14", ""])
def test_a_channel_that_cannot_be(number):
    uicc, _ = _uicc(("0070000001", number + "9000"))
    with pytest.raises(PeerError, match="bad_channel"):
        uicc.eid()


def test_the_channel_is_closed_when_the_card_refuses():
    uicc, card = _uicc(OPEN, (SELECT_ISD_R, "6A82"), CLOSE)
    with pytest.raises(CardError) as caught:
        uicc.profiles()
    assert (caught.value.sw, card.script) == (0x6A82, [])


def test_a_lost_answer_is_a_card_gone_and_stands_in_the_evidence():
    enable = "81E2910014BF3111A00C5A0A988812010000000020F58101FF"
    uicc, _ = _uicc(OPEN, (SELECT_ISD_R, "9000"), (enable, None), ("00708001", None))
    with pytest.raises(CardGone):
        uicc.enable(ICCID)
    assert [(item["name"], item["sw"]) for item in uicc.take_evidence()][-2:] == [
        ("STORE DATA EnableProfile", ""), ("MANAGE CHANNEL close", ""),
    ]  # fmt: skip


def test_a_plain_sim_has_an_inventory_of_its_iccid_alone():
    uicc, card = _uicc(
        *READ_ICCID, OPEN, (SELECT_ISD_R, "6A82"), CLOSE,
    )  # fmt: skip
    assert uicc.inventory().evidence() == {
        "eid": "",
        "active_iccid": ICCID,
        "profiles": [],
        "os_version": "",
        "smdp": "",
        "profiles_unreadable": 0,
    }
    assert card.script == []


def test_proactive_commands_are_answered_one_by_one_with_a_bound():
    menu, refresh = "D0098103012500820281829000", "D0098103010104820281829000"
    uicc, card = _uicc(
        ("0070000001", "02910B"), ("02" + SELECT_ISD_R[2:], "910B"), ("82E2910006BF3E035C015A", EID_ANSWER + "910B"),
        ("00708002", "910B"), ("801200000B", menu), ("801400000C810301250082028281830130", "910B"), ("801200000B", refresh),
        ("801400000C810301010482028281830100", "9000"),
    )  # fmt: skip
    uicc.eid()
    assert [(command.name, command.wants_reset) for command in uicc.run_proactive()] == [
        ("SET UP MENU", False),
        ("REFRESH", True),
    ]
    assert uicc.run_proactive() == []
    assert card.script == []


def test_a_card_that_always_wants_something_is_left_after_a_while():
    refresh = ("801200000B", "D0098103010104820281829000"), ("801400000C810301010482028281830100", "910B")
    uicc, _ = _uicc(("0070000001", "6881"), (BASIC_ISD_R, "910B"), ("80E2910006BF3E035C015A", EID_ANSWER + "910B"), *refresh * 40)
    uicc.eid()
    fetched = uicc.run_proactive()
    assert 0 < len(fetched) < 40
    assert {command.type for command in fetched} == {CommandType.REFRESH}


@pytest.mark.parametrize(("read", "imsi"), [("0809101000000000109000", "001010000000001"), ("6982", "")])
def test_an_imsi_behind_a_pin_is_not_said(read, imsi):
    usim = "A0000000871002FFFF"
    uicc, card = _uicc(
        OPEN, ("01A40004023F0000", "9000"), ("01A40004022F0000", "620B8205422100100283022F009000"),
        ("01B2010410", "610B4F09" + usim + "5F50009000"), (f"01A4040009{usim}00", "9000"), ("01A40004026F0700", "9000"),
        ("01B0000009", read), CLOSE,
    )  # fmt: skip
    assert uicc.imsi() == imsi
    assert card.script == []


def test_a_card_without_the_applet():
    select = "01A4040008" + applet.AID.hex().upper() + "00"
    uicc, _ = _uicc(OPEN, (select, "6A82"), CLOSE)
    assert uicc.applet_status() is None


def test_close_goes_through():
    uicc, card = _uicc()
    uicc.close()
    assert card.script == ["closed"]
