"""The card's behaviour command by command: T=0, channels, files, ISD-R, REFRESH; and any bytes at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simway_protocol.sim import es10b, es10c, euicc_info, status
from simway_protocol.sim.apdu import CHANNELS
from simway_protocol.sim.files import DirEntry, Fcp
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.uicc import ATR, Uicc
from simway_virtual_sim.usim import USIM_AID

CARD = new_card(lambda count: bytes(range(count)))
FIRST, SECOND, THIRD = CARD.profiles
ISD_R = "00A4040010A0000005591010FFFFFFFF8900000100"
APPLET = "00A4040008F053494D57415901"
ENABLE_SECOND = es10c.EnableProfile(es10c.ProfileId.of(SECOND.iccid)).encode()


class MemoryStore:
    """Keeps a card's state in memory, and counts its writes."""

    def __init__(self, state=CARD):
        self.state, self.writes = state, 0

    def load(self):
        return self.state

    def save(self, state):
        self.state, self.writes = state, self.writes + 1

    def close(self):
        pass


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def card(store):
    return Uicc(store)


def send(card, text):
    """(data, status word), both as hexadecimal text."""
    data, sw = card.transmit(bytes.fromhex(text.replace(" ", "")))
    return data.hex().upper(), f"{sw:04X}"


def get(card, text, cla="00"):
    """The whole answer of a command with data, and its last status word."""
    data, sw = send(card, text)
    while sw.startswith("61"):
        part, sw = send(card, f"{cla}C00000{sw[2:]}")
        data += part
    return data, sw


def store_data(card, request, cla="80"):
    return get(card, f"{cla}E29100{len(request):02X}{request.hex()}", cla)


# --- T=0 ---------------------------------------------------------------------------------------------------------------


def test_an_answer_waits_for_get_response_and_can_be_got_in_parts(card):
    assert send(card, ISD_R) == ("", "6121")
    first, sw = send(card, "00C0000010")
    assert (len(first), sw) == (32, "6111")
    rest, sw = send(card, "00C0000011")
    assert (first + rest, sw) == ("6F1F8410A0000005591010FFFFFFFF8900000100A5049F6501FFE0058203020202", "9000")
    assert send(card, "00C0000001") == ("", "6985")


def test_le_makes_no_difference_to_a_command_with_data(card):
    assert send(card, ISD_R + "00") == ("", "6121")


def test_get_response_for_more_than_there_is_names_the_length(card):
    send(card, ISD_R)
    assert send(card, "00C0000000") == ("", "6C21")
    assert send(card, "00C0000021")[1] == "9000"


def test_any_other_command_drops_what_waits(card):
    send(card, ISD_R)
    send(card, "80AA00000AA9088100820101830107")
    assert send(card, "00C000001A") == ("", "6985")


def test_the_same_is_true_of_a_channel_of_its_own(card):
    send(card, "0070000001")
    send(card, "01" + ISD_R[2:])
    send(card, "80AA00000AA9088100820101830107")
    assert send(card, "01C0000021")[1] == "9000"


def test_a_list_longer_than_256_bytes_comes_in_turns(card):
    for number in range(3):
        card.transmit(bytes.fromhex(ISD_R))
        store_data(card, es10c.SetNickname(CARD.profiles[number].iccid, "n" * 64).encode())
    request = es10c.GetProfilesInfo().encode()
    assert send(card, f"80E2910003{request.hex()}") == ("", "6100")
    data, sw = send(card, "80C0000000")
    assert (len(data), sw[:2]) == (512, "61")
    rest, sw = send(card, f"80C00000{sw[2:]}")
    assert sw == "9000"
    listed = es10c.decode_profiles_response(bytes.fromhex(data + rest))
    assert [info.nickname for info in listed] == ["n" * 64] * 3


@pytest.mark.parametrize(("command", "sw"), [
    ("", "6700"), ("00A404", "6700"), ("00A40400", "6A82"), ("00A4040005A0", "6700"), ("00A404000000010000", "6700"),
    ("04A40400023F00", "6882"), ("60A40400023F00", "6882"), ("20A40400023F00", "6E00"), ("FFA40400023F00", "6E00"),
    ("01A40004023F00", "6881"), ("4FA40004023F00", "6881"), ("0099000000", "6D00"), ("80A40004023F00", "6E00"),
    ("8099000000", "6D00"),
    ("00A40204023F00", "6A86"), ("00A4000401FF", "6A87"), ("00A40004020000", "6A82"), ("00A40004027FFF", "6A82"),
    ("00A4040007A0000000031010", "6A82"), ("00C0000000", "6985"), ("0070010000", "6A86"),
    ("0070800000", "6881"), ("0070800700", "6881"),
    ("00B000000A", "6986"), ("00B201040A", "6986"), ("00B087000A", "6A82"), ("801200000B", "6985"),
    ("801400000C810301010482028281830100", "6985"),
])  # fmt: skip
def test_what_the_card_refuses(card, command, sw):
    assert send(card, command) == ("", sw)


# --- channels ----------------------------------------------------------------------------------------------------------


def test_channels_are_given_out_and_taken_back(card):
    opened = [send(card, "0070000001") for _ in range(CHANNELS)]
    assert opened == [(f"{number:02X}", "9000") for number in range(1, CHANNELS)] + [("", "6A81")]
    assert send(card, "00708003 00") == ("", "9000")
    assert send(card, "0070000001") == ("03", "9000")


def test_opening_with_another_le_opens_nothing(card):
    assert send(card, "0070000000") == ("", "6C01")
    assert send(card, "0070000001") == ("01", "9000")


def test_a_channel_can_be_asked_for_by_number(card):
    assert send(card, "00700005") == ("", "9000")
    assert send(card, "00700005") == ("", "6A81")
    assert send(card, "01" + ISD_R[2:]) == ("", "6881")
    assert send(card, "41" + ISD_R[2:])[1] == "6121"
    assert send(card, "41708000") == ("", "9000")


def test_each_channel_has_its_own_selection(card):
    send(card, "0070000001")
    send(card, "01" + ISD_R[2:])
    get(card, "00A40004022FE2")
    assert send(card, "00B000000A")[1] == "9000"
    assert get(card, "81E2910006BF3E035C015A", "81") == (f"BF3E125A10{CARD.eid}", "9000")
    assert send(card, "01B000000A") == ("", "6986")


def test_two_readers_at_once_do_not_mix_their_blocks(card):
    numbers = [send(card, "0070000001")[0] for _ in range(2)]
    for number in numbers:
        send(card, f"{number}{ISD_R[2:]}")
    for number in numbers:
        assert send(card, f"8{number[1]}E2110003BF3E03") == ("", "9000")
    for number in numbers:
        assert get(card, f"8{number[1]}E29101035C015A", f"8{number[1]}")[1] == "9000"


def test_a_reset_closes_channels_and_forgets_selections(card):
    send(card, "0070000001")
    send(card, ISD_R)
    assert card.reset() == ATR
    assert send(card, "01A40004023F00") == ("", "6881")
    assert send(card, "80E2910003BF2D00")[1] == "6D00"


# --- files -------------------------------------------------------------------------------------------------------------


def test_templates_are_real(card):
    mf = Fcp.decode(bytes.fromhex(get(card, "00A40004023F00")[0]))
    assert (mf.descriptor, mf.file_id, mf.size_bytes) == (b"\x78\x21", 0x3F00, None)
    assert {item.tag for item in mf.others} == {0xA5, 0x8A, 0x8B, 0xC6}
    directory = Fcp.decode(bytes.fromhex(get(card, "00A40004022F00")[0]))
    assert (directory.record_bytes, directory.records, directory.size_bytes, directory.sfi) == (38, 2, 76, 0x1E)
    iccid = Fcp.decode(bytes.fromhex(get(card, "00A40004022FE2")[0]))
    assert (iccid.descriptor, iccid.size_bytes, iccid.sfi) == (b"\x41\x21", 10, 0x02)
    assert {item.tag for item in iccid.others} == {0x8A, 0x8B}
    adf = Fcp.decode(bytes.fromhex(get(card, "00A4040407A0000000871002")[0]))
    assert (adf.aid, adf.file_id) == (USIM_AID, 0x7FFF)
    assert get(card, "80F2000000")[1] == f"6C{len(adf.encode()):02X}"
    assert get(card, "80F2000C") == ("", "9000")


def test_ef_iccid_by_file_id_by_path_and_by_short_identifier(card):
    expected = (es10c.ProfileId.of(FIRST.iccid).value.hex().upper(), "9000")
    assert send(card, "00A4000C022FE2") == ("", "9000")
    assert send(card, "00B000000A") == expected
    assert send(card, "00A4080C022FE2") == ("", "9000")
    assert send(card, "00B000000A") == expected
    send(card, "00A4000C023F00")
    assert send(card, "00B082000A") == expected
    assert send(card, "00B0000005")[0] == expected[0][:10]


@pytest.mark.parametrize(("command", "answer"), [
    ("00B0000000", "6C0A"), ("00B000000B", "6C0A"), ("00B0000800", "6C02"), ("00B0000A01", "6B00"), ("00B2010401", "6981"),
    ("00B0000001", "9000"),
])  # fmt: skip
def test_reading_beside_the_file(card, command, answer):
    send(card, "00A4000C022FE2")
    assert send(card, command)[1] == answer


def test_ef_dir_leads_to_the_usim_and_its_imsi(card):
    send(card, "00A4000C022F00")
    assert send(card, "00B2010400") == ("", "6C26")
    assert DirEntry.decode(bytes.fromhex(send(card, "00B2010426")[0])) == DirEntry(USIM_AID, "USIM")
    assert DirEntry.decode(bytes.fromhex(send(card, "00B2020426")[0])) is None
    assert [send(card, f"00B2{record}26")[1] for record in ("0304", "0004", "0102")] == ["6A83", "6A83", "6A86"]
    assert send(card, "00B201F426")[1] == "9000"
    assert send(card, "00B0000001") == ("", "6981")
    assert send(card, "00A4040C07A0000000871002") == ("", "9000")
    assert send(card, "00A4000C026F07") == ("", "9000")
    assert send(card, "00B0000009")[1] == "9000"
    assert send(card, "00A4080C047FFF6F07") == ("", "9000")


# --- ISD-R and REFRESH -------------------------------------------------------------------------------------------------


def test_a_switch_is_one_write_and_its_files_appear_after_the_reset(card, store):
    get(card, ISD_R)
    answer = store_data(card, ENABLE_SECOND)
    assert answer == ("BF3103800100", "910B")
    assert (store.writes, store.state.enabled) == (1, SECOND.iccid)
    assert send(card, "00A4000C022FE2") == ("", "910B")
    assert send(card, "00B000000A") == (es10c.ProfileId.of(FIRST.iccid).value.hex().upper(), "910B")
    assert send(card, "8012000000") == ("", "6C0B")
    assert send(card, "801200000B") == ("D009810301010482028182", "9000")
    assert send(card, "801400000C810301020482028281830100") == ("", "6A80")
    assert send(card, "801400000100") == ("", "6A80")
    assert send(card, "801400000C810301010482028281830100") == ("", "9000")
    assert send(card, "00B000000A")[0] == es10c.ProfileId.of(FIRST.iccid).value.hex().upper()
    card.reset()
    send(card, "00A4000C022FE2")
    assert send(card, "00B000000A") == (es10c.ProfileId.of(SECOND.iccid).value.hex().upper(), "9000")


def test_without_refresh_nothing_is_pending(card, store):
    get(card, ISD_R)
    request = es10c.EnableProfile(es10c.ProfileId.of(SECOND.aid), refresh=False).encode()
    assert store_data(card, request) == ("BF3103800100", "9000")
    assert store.state.enabled == SECOND.iccid


def test_a_second_refresh_while_one_waits_is_cat_busy(card, store):
    get(card, ISD_R)
    store_data(card, ENABLE_SECOND)
    third = es10c.ProfileId.of(THIRD.iccid)
    assert store_data(card, es10c.EnableProfile(third).encode())[0] == "BF3103800105"
    assert store_data(card, es10c.DisableProfile(es10c.ProfileId.of(SECOND.iccid)).encode())[0] == "BF3203800105"
    assert store.state.enabled == SECOND.iccid
    send(card, "801200000B")
    assert store_data(card, es10c.EnableProfile(third).encode())[0] == "BF3103800105"
    send(card, "801400000C810301010482028281830100")
    assert store_data(card, es10c.EnableProfile(third).encode()) == ("BF3103800100", "910B")


@pytest.mark.parametrize("flag", ["FF", "01"])
def test_any_refresh_flag_but_zero_is_true(card, flag):
    get(card, ISD_R)
    assert store_data(card, bytes.fromhex(ENABLE_SECOND.hex()[:-2] + flag))[1] == "910B"


def test_a_refused_switch_writes_nothing_and_asks_for_nothing(card, store):
    get(card, ISD_R)
    assert store_data(card, es10c.EnableProfile(es10c.ProfileId.of(FIRST.iccid)).encode()) == ("BF3103800102", "9000")
    assert store.writes == 0


def test_without_an_enabled_profile_the_files_are_blank(card, store):
    get(card, ISD_R)
    assert store_data(card, es10c.DisableProfile(es10c.ProfileId.of(FIRST.iccid)).encode()) == ("BF3203800100", "910B")
    card.reset()
    send(card, "00A4000C022FE2")
    assert send(card, "00B000000A") == ("FF" * 10, "9000")
    assert send(card, "00A4040C07A0000000871002") == ("", "6A82")
    get(card, ISD_R)
    assert store_data(card, ENABLE_SECOND)[0] == "BF3103800100"


def test_lists_search_and_filter(card):
    get(card, ISD_R)

    def listed(search, tags=()):
        data, sw = store_data(card, es10c.GetProfilesInfo(search, tags).encode())
        assert sw == "9000"
        return es10c.decode_profiles_response(bytes.fromhex(data))

    assert [info.iccid for info in listed(None)] == [profile.iccid for profile in CARD.profiles]
    assert [info.name for info in listed(es10c.ProfileId.of(SECOND.iccid))] == [SECOND.name]
    assert [info.name for info in listed(es10c.ProfileId.of(THIRD.aid))] == [THIRD.name]
    assert listed(es10c.ProfileClass.TEST) == []
    assert len(listed(es10c.ProfileClass.OPERATIONAL)) == 3
    assert listed(None, (es10c.TAG_STATE,))[1] == es10c.ProfileInfo(state=es10c.ProfileState.DISABLED)


def test_the_rest_of_es10(card, store):
    get(card, ISD_R)
    assert euicc_info.decode_info_2_response(bytes.fromhex(store_data(card, b"\xbf\x22\x00")[0])).svn == "2.2.2"
    assert store_data(card, b"\xbf\x43\x00") == ("BF4302A000", "9000")
    assert euicc_info.decode_addresses_response(bytes.fromhex(store_data(card, b"\xbf\x3c\x00")[0])).smds == store.state.smds
    assert store_data(card, es10c.DeleteProfile(es10c.ProfileId.of(THIRD.aid)).encode()) == ("BF3303800100", "9000")
    assert store_data(card, es10c.SetNickname(SECOND.iccid, "spare").encode()) == ("BF2903800100", "9000")
    kept = es10b.decode_notifications_response(bytes.fromhex(store_data(card, b"\xbf\x28\x00")[0]))
    assert [(item.seq, item.operation, item.iccid) for item in kept] == [(1, es10b.Operation.DELETE, THIRD.iccid)]
    enables = es10b.ListNotification(es10b.Operation.ENABLE).encode()
    assert store_data(card, enables) == ("BF2802A000", "9000")
    assert store_data(card, es10b.RemoveNotification(1).encode()) == ("BF3003800100", "9000")
    assert store_data(card, es10b.RemoveNotification(1).encode()) == ("BF3003800101", "9000")
    assert (len(store.state.profiles), store.state.profiles[1].nickname, store.state.notifications) == (2, "spare", ())


@pytest.mark.parametrize(("command", "sw"), [
    ("80E2910003BF7F00", "6A88"), ("80E2910004BF2D0000", "6A80"), ("80E2910002BF2D", "6A80"), ("80E2910003BF3100", "6A80"),
    ("80E2800003BF2D00", "6A86"), ("80E2910103BF2D00", "6A86"), ("80E2910006BF3E035C0180", "6A80"), ("80E29100", "6A80"),
    ("80CA005A00", "6D00"),
])  # fmt: skip
def test_what_the_isd_r_refuses(card, store, command, sw):
    get(card, ISD_R)
    assert send(card, command) == ("", sw)
    assert store.writes == 0
    assert store_data(card, es10c.GetEid().encode())[1] == "9000"


# --- any bytes ---------------------------------------------------------------------------------------------------------

HEADERS = st.sampled_from([
    "00A40400", "00A40004", "00A4080C", "80E29100", "80E21100", "80E29101", "80101100", "80209100", "80300000", "80400000",
    "00700000", "00708001", "00B00000", "00B20104", "80120000", "80140000", "00C00000", "80F20000",
])  # fmt: skip
COMMANDS = st.binary(max_size=40) | st.builds(
    lambda header, data: bytes.fromhex(header) + bytes((len(data),)) + data, HEADERS, st.binary(max_size=30)
)


@given(st.lists(COMMANDS, max_size=30), st.sampled_from([ISD_R, APPLET]))
def test_no_bytes_break_the_card(commands, application):
    card = Uicc(MemoryStore())
    get(card, application)
    for command in commands:
        data, sw = card.transmit(command)
        assert 0x6100 <= sw <= 0x9FFF
        assert not data or status.is_success(sw) or status.has_more(sw)
    card.reset()
    assert get(card, ISD_R)[1] == "9000"


class Switching(RuleBasedStateMachine):
    """A terminal that does things in any order; the card's files follow its state at each reset, and no sooner."""

    def __init__(self):
        super().__init__()
        self.store = MemoryStore()
        self.card = Uicc(self.store)
        self.shown = FIRST.iccid

    @rule(profile=st.sampled_from(CARD.profiles), refresh=st.booleans())
    def enable(self, profile, refresh):
        get(self.card, ISD_R)
        store_data(self.card, es10c.EnableProfile(es10c.ProfileId.of(profile.iccid), refresh).encode())

    @rule()
    def fetch_and_answer(self):
        data, sw = send(self.card, "801200000B")
        if sw == "9000":
            assert send(self.card, f"801400000C{data[4:14]}82028281830100")[1] == "9000"

    @rule()
    def fetch_only(self):
        send(self.card, "801200000B")

    @rule()
    def reset(self):
        self.card.reset()
        self.shown = self.store.state.enabled

    @rule()
    def power_cut(self):
        self.card = Uicc(self.store)
        self.shown = self.store.state.enabled

    @invariant()
    def the_files_are_those_of_the_last_reset(self):
        send(self.card, "00A4080C022FE2")
        assert send(self.card, "00B000000A")[0] == es10c.ProfileId.of(self.shown).value.hex().upper()

    @invariant()
    def exactly_one_profile_is_enabled(self):
        get(self.card, ISD_R)
        listed = es10c.decode_profiles_response(bytes.fromhex(store_data(self.card, es10c.GetProfilesInfo().encode())[0]))
        assert [info.iccid for info in listed if info.enabled] == [self.store.state.enabled]


TestSwitching = Switching.TestCase
TestSwitching.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
