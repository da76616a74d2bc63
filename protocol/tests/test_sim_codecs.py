"""The SIM codecs over everything: what is built parses to the same, and no bytes raise anything but ``PeerError``."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim import (
    apdu,
    applet,
    es10b,
    es10c,
    euicc_info,
    files,
    memory_reset,
    numbering,
    proactive,
    status,
    store_data,
    tlv,
)
from simway_protocol.sim.apdu import Command
from simway_protocol.sim.card import CardError, expect_success
from simway_protocol.sim.es10c import ProfileClass, ProfileId, ProfileInfo, ProfileState

DIGITS = "0123456789"
BYTE = st.integers(0, 255)
ICCIDS = st.text(DIGITS, min_size=18, max_size=20) | st.text(DIGITS + "ABCDE", min_size=14, max_size=16).map("8986".__add__)
AIDS = st.binary(min_size=5, max_size=16).map(lambda aid: aid.hex().upper()).filter(lambda aid: not numbering.is_iccid(aid))
TAGS = st.sampled_from([0x5A, 0x80, 0xA0, 0xE3, 0x9F70, 0xBF2D, 0xBF31, 0x5F37, 0xDF8102])
TEXT = st.none() | st.text(max_size=20)


# --- APDUs -------------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Command,
        BYTE,
        BYTE,
        BYTE,
        BYTE,
        st.binary(max_size=300) | st.sampled_from([bytes(255), bytes(256), bytes(65_535)]),
        st.none() | st.integers(1, 65_536),
    )
)
def test_an_apdu_parses_to_what_was_built(command):
    assert Command.decode(command.encode()) == command


@given(st.binary(max_size=300))
@example(b"\x00\xa4\x04\x00\x00\x00")
@example(b"\x00\xa4\x04\x00\x00\x01")
def test_no_bytes_break_the_apdu_parser(data):
    with contextlib.suppress(PeerError):
        command = Command.decode(data)
        assert Command.decode(command.encode()) == command


@given(st.integers(0, 19), st.booleans())
def test_the_class_names_its_channel(channel, proprietary):
    cla = apdu.class_for(channel, proprietary=proprietary)
    assert apdu.channel_of(cla) == channel
    assert bool(cla & 0x80) == proprietary


@pytest.mark.parametrize("build", [
    lambda: apdu.class_for(20),
    lambda: apdu.class_for(-1),
    lambda: Command(0, 0, data=bytes(65_536)).encode(),
    lambda: Command(0, 0, le=0).encode(),
    lambda: Command(0, 0, le=65_537).encode(),
])  # fmt: skip
def test_what_no_apdu_can_say(build):
    with pytest.raises(LocalError):
        build()


# --- TLVs --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(TAGS, st.binary(max_size=300)), max_size=6))
def test_tlvs_parse_to_what_was_built(items):
    data = b"".join(tlv.encode(tag, value) for tag, value in items)
    assert tlv.decode(data) == items
    assert tlv.decode_map(data) == dict(reversed(items))


@given(TAGS, st.sampled_from([0, 1, 127, 128, 255, 256, 65_535, 65_536]))
def test_each_length_has_its_shortest_form(tag, size):
    data = tlv.encode(tag, bytes(size))
    assert tlv.decode_only(data, tag) == bytes(size)
    assert len(tlv.encode_length(size)) == (1 if size < 128 else 2 if size < 256 else 3 if size < 65_536 else 4)


@given(TAGS, st.binary(max_size=140), st.data())
def test_a_cut_tlv_is_refused(tag, value, data):
    whole = tlv.encode(tag, value)
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(PeerError):
        tlv.decode_only(whole[:at], tag)


@given(st.lists(TAGS, max_size=8))
def test_tag_lists(tags):
    assert tlv.decode_tags(tlv.encode_tags(tags)) == tuple(tags)


@given(st.integers(0, 2**64))
def test_integers(value):
    assert tlv.decode_integer(tlv.encode_integer(value)) == value


@pytest.mark.parametrize("data", ["5A", "5A80", "5A84000000FF", "1F", "BF", "BF81", "BF81818100", "5A0101" + "5A", "9F"])
def test_what_is_no_tlv(data):
    with pytest.raises(PeerError):
        tlv.decode(bytes.fromhex(data))


@pytest.mark.parametrize("build", [
    lambda: tlv.encode(0x1F, b""), lambda: tlv.encode(0x5A01, b""), lambda: tlv.encode(0xBF8182, b""),
    lambda: tlv.encode(0x9F818101, b""), lambda: tlv.encode_integer(-1), lambda: tlv.encode_length(1 << 24),
])  # fmt: skip
def test_what_no_tlv_can_say(build):
    with pytest.raises(LocalError):
        build()


# --- every decoder, any bytes ------------------------------------------------------------------------------------------

DECODERS = [
    es10c.ProfileId.decode, es10c.ProfileInfo.decode, es10c.GetEid.decode, es10c.GetProfilesInfo.decode,
    es10c.EnableProfile.decode, es10c.DisableProfile.decode, es10c.DeleteProfile.decode, es10c.SetNickname.decode,
    es10c.decode_eid_response,
    es10c.decode_profiles_response, lambda data: es10c.decode_result(data, 0xBF31), es10b.Notification.decode,
    es10b.ListNotification.decode, es10b.RemoveNotification.decode, es10b.decode_notifications_response,
    es10b.RetrieveNotifications.decode, es10b.PendingNotification.decode, es10b.decode_pending_response, es10b.decode_operation,
    euicc_info.decode_addresses_response, euicc_info.decode_rat_response, euicc_info.decode_info_2_response,
    euicc_info.decode_info_1_response, euicc_info.decode_challenge_response, euicc_info.SetDefaultSmdp.decode,
    memory_reset.MemoryReset.decode, tlv.decode_bits,
    proactive.ProactiveCommand.decode, proactive.TerminalResponse.decode, numbering.decode_iccid, numbering.decode_eid,
    numbering.decode_imsi, files.DirEntry.decode, files.Fcp.decode, applet.decode_answer, applet.decode_verify,
    applet.decode_personalise, applet.decode_status, tlv.decode, tlv.decode_tags, tlv.decode_integer,
]  # fmt: skip
OUTER = [
    0xBF2D,
    0xBF31,
    0xBF28,
    0xBF2F,
    0xBF3C,
    0xBF43,
    0xBF22,
    0xBF3E,
    0xA0,
    0xE3,
    0x5A,
    0x81,
    0x80,
    0xD0,
    0x62,
    0x61,
    0x82,
    0x84,
    0x88,
]
NESTED = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(st.tuples(st.sampled_from(OUTER), inner), max_size=4).map(
        lambda items: b"".join(tlv.encode(tag, value) for tag, value in items)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: getattr(decode, "__qualname__", ""))
@settings(max_examples=50)
@given(data=st.binary(max_size=60) | NESTED)
def test_no_bytes_break_a_decoder(decode, data):
    with contextlib.suppress(PeerError):
        decode(data)


# --- profiles ----------------------------------------------------------------------------------------------------------

PROFILES = st.builds(
    ProfileInfo,
    ICCIDS,
    AIDS,
    st.sampled_from(ProfileState),
    TEXT,
    TEXT,
    TEXT,
    st.none() | st.sampled_from(ProfileClass),
    st.none() | st.binary(max_size=3),
)


@given(st.lists(PROFILES, max_size=5))
def test_profiles_parse_to_what_was_built(profiles):
    assert es10c.decode_profiles_response(es10c.encode_profiles_response(profiles)) == profiles


@given(PROFILES)
def test_a_tag_list_leaves_only_what_it_names(profile):
    shown = es10c.decode_profiles_response(es10c.encode_profiles_response([profile], (es10c.TAG_ICCID, es10c.TAG_STATE)))
    assert shown == [ProfileInfo(iccid=profile.iccid, state=profile.state)]


@given(st.permutations(range(4)))
def test_the_order_of_tags_does_not_matter(order):
    parts = [
        tlv.encode(0x5A, numbering.encode_iccid("8988211000000000025")),
        tlv.encode(0x9F70, b"\x01"),
        tlv.encode(0x91, b"A"),
        tlv.encode(0x95, b"\x00"),
    ]
    info = ProfileInfo.decode(b"".join(parts[place] for place in order))
    assert info == ProfileInfo("8988211000000000025", "", ProfileState.ENABLED, provider="A", profile_class=ProfileClass.TEST)


def _entry(tag, value):
    fields = {0x5A: numbering.encode_iccid("8988211000000000025"), 0x9F70: b"\x00", 0x91: b"A", 0x95: b"\x02"}
    return tlv.encode(0xE3, *(tlv.encode(*field) for field in (fields | {tag: value}).items()))


@pytest.mark.parametrize(("tag", "value", "expected"), [
    (0x92, b"Caf\xe9", {"name": "Caf\ufffd"}),
    (0x91, b"n" * 200, {"provider": "n" * es10c.TEXT_MAX_CHARS}),
    (0x95, b"\x07", {"profile_class": ProfileClass.UNKNOWN}),
    (0x95, b"", {"profile_class": ProfileClass.UNKNOWN}),
    (0x9F70, b"\x07", {"state": None}),
    (0x9F70, b"", {"state": None}),
    (0x4F, b"\xa0" * 17, {"aid": ""}),
    (0x5A, bytes.fromhex("9868000D1AE154769810"), {"iccid": "898600D0A11E45678901"}),
])  # fmt: skip
def test_an_odd_profile_is_told_as_far_as_it_can_be_read(tag, value, expected):
    plain = ProfileInfo("8988211000000000025", state=ProfileState.DISABLED, provider="A", profile_class=ProfileClass.OPERATIONAL)
    response = tlv.encode(0xBF2D, tlv.encode(0xA0, _entry(tag, value), plain.encode()))
    assert es10c.read_profiles_response(response) == ([plain._replace(**expected), plain], 0)


def test_a_class_that_nobody_knows_is_not_operational():
    assert ProfileInfo(profile_class=ProfileClass.UNKNOWN).message().profile_class == "unknown"
    assert ProfileInfo().message().profile_class == "operational"


@given(st.lists(PROFILES, min_size=1, max_size=4), st.data())
def test_damage_to_one_profile_never_hides_the_others(profiles, data):
    at = data.draw(st.integers(0, len(profiles) - 1))
    values = [tlv.decode_only(profile.encode(), 0xE3) for profile in profiles]
    damage = st.dictionaries(st.integers(0, max(0, len(values[at]) - 1)), BYTE, max_size=6).map(
        lambda changes: bytes(changes.get(place, byte) for place, byte in enumerate(values[at]))
    )
    values[at] = data.draw(damage | st.integers(0, len(values[at])).map(lambda cut: values[at][:cut]) | st.binary(max_size=40))
    entries = [tlv.encode(0xE3, value) for value in values]
    found, unreadable = es10c.read_profiles_response(tlv.encode(0xBF2D, tlv.encode(0xA0, *entries)))
    assert len(found) + unreadable == len(profiles)
    assert found[:at] == profiles[:at]
    assert found[len(found) - (len(profiles) - at - 1) :] == profiles[at + 1 :]
    for profile in found:
        profile.message()


def test_an_entry_longer_than_the_list_ends_it():
    profile = ProfileInfo("8988211000000000025")
    listed = tlv.encode(0xA0, profile.encode() + b"\xe3\x20\x5a")
    assert es10c.read_profiles_response(tlv.encode(0xBF2D, listed)) == ([profile], 1)


@given(ICCIDS | AIDS, st.booleans(), st.integers(1, 255))
def test_switches_parse_to_what_was_built(name, refresh, flag):
    for kind in (es10c.EnableProfile, es10c.DisableProfile):
        request = kind(ProfileId.of(name), refresh, flag)
        decoded = kind.decode(tlv.decode_only(request.encode(), kind.TAG))
        assert (decoded.profile, decoded.refresh) == (request.profile, refresh)
        assert str(decoded.profile) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "898821100000000002F",
        "A0000005",
        "A0" * 17,
        "Northwind",
        "8988211000000000025\n",
        "８９８８２１１０００００００００２５",
    ],
)
def test_what_names_no_profile(name):
    with pytest.raises(LocalError):
        ProfileId.of(name)


def test_a_profile_in_the_words_of_the_log():
    message = ProfileInfo(
        "8988211000000000025", "A0", ProfileState.ENABLED, profile_class=ProfileClass.TEST, name="Lab"
    ).message()
    assert (message.iccid, message.state, message.profile_class, message.provider, message.name) == (
        "8988211000000000025", "enabled", "test", "", "Lab",
    )  # fmt: skip
    assert ProfileInfo("8988211000000000025").message().state == "disabled"


@pytest.mark.parametrize(
    "kind", [es10c.EnableResult, es10c.DisableResult, es10c.DeleteResult, es10c.NicknameResult, es10b.RemoveResult]
)
def test_a_result_that_nobody_knows_is_undefined(kind):
    assert kind(0) is kind.OK
    assert kind(99) is kind.UNDEFINED


def test_a_nickname_has_a_limit_on_both_sides():
    request = es10c.SetNickname("8988211000000000025", "é" * 32)
    assert es10c.SetNickname.decode(tlv.decode_only(request.encode(), request.TAG)) == request
    with pytest.raises(LocalError):
        es10c.SetNickname("8988211000000000025", "é" * 33).encode()


@given(
    st.builds(
        es10b.Notification,
        st.integers(0, 2**31),
        st.sampled_from(list(es10b.Operation)),
        st.text(max_size=30),
        ICCIDS | st.just(""),
    )
)
def test_notifications_parse_to_what_was_built(notification):
    assert es10b.decode_notifications_response(es10b.encode_notifications_response([notification])) == [notification]


CERTIFICATES = st.binary(max_size=300).map(lambda value: tlv.encode(0x30, value))


@given(st.integers(0, 2**31), st.binary(min_size=64, max_size=64), st.tuples(CERTIFICATES, CERTIFICATES))
def test_signed_notifications_parse_to_what_was_built(seq, signature, certificates):
    notification = es10b.Notification(seq, es10b.Operation.ENABLE, "smdp.invalid", "")
    pending = es10b.PendingNotification(notification, signature, certificates)
    assert es10b.decode_pending_response(es10b.encode_pending_response([pending])) == [pending]


@pytest.mark.parametrize("wanted", [None, 0, 7, 300, *es10b.Operation])
def test_retrieving_notifications_finds_what_it_asks_for(wanted):
    request = es10b.RetrieveNotifications.decode(
        tlv.decode_only(es10b.RetrieveNotifications(wanted).encode(), es10b.TAG_RETRIEVE_NOTIFICATIONS)
    )
    assert request == es10b.RetrieveNotifications(wanted)
    found = [
        (seq, operation)
        for seq in (0, 7, 300)
        for operation in es10b.Operation
        if request.finds(es10b.Notification(seq, operation, "", ""))
    ]
    assert len(found) == {type(None): 12, int: 4, es10b.Operation: 3}[type(wanted)]


def test_what_the_card_says_of_itself_parses_to_what_was_built():
    info = euicc_info.EuiccInfo1("2.2.2", (b"a" * 20, b"b" * 20))
    assert euicc_info.decode_info_1_response(euicc_info.encode_info_1_response(info)) == info
    assert euicc_info.decode_challenge_response(euicc_info.encode_challenge_response(bytes(16))) == bytes(16)
    with pytest.raises(PeerError):
        euicc_info.decode_challenge_response(euicc_info.encode_challenge_response(bytes(15)))
    request = euicc_info.SetDefaultSmdp("smdp.invalid")
    assert euicc_info.SetDefaultSmdp.decode(tlv.decode_only(request.encode(), request.TAG)) == request


@given(st.integers(0, 7))
def test_memory_reset_options(number):
    request = memory_reset.MemoryReset(memory_reset.MemoryResetOptions(number << 5))
    assert memory_reset.MemoryReset.decode(tlv.decode_only(request.encode(), request.TAG)) == request


def test_bit_lists_with_their_count_and_without():
    assert [tlv.decode_bits(data) for data in (b"\x05\xe0", b"\x00", b"\x80", b"\x06\x40\x01")] == [0xE0, 0, 0x80, 0x40]
    for wrong in (b"", b"\x08\x80"):
        with pytest.raises(PeerError):
            tlv.decode_bits(wrong)


# --- STORE DATA --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=600), st.integers(6, 255), st.integers(0, 19))
def test_blocks_come_together_again(data, block_bytes, channel):
    commands = store_data.split(data, channel, block_bytes)
    assert all(command.channel == channel and len(command.data) <= block_bytes for command in commands)
    assembler = store_data.Assembler()
    answers = [assembler.add(command) for command in commands]
    assert answers == [None] * (len(commands) - 1) + [data]


def test_the_golden_segments():
    data = bytes.fromhex("BF3111A00C5A0A988812010000000020F5810100")
    sent = [command.encode().hex().upper() for command in store_data.split(data, 1, 10)]
    assert sent == ["81E211000A" + data[:10].hex().upper(), "81E291010A" + data[10:].hex().upper()]


@pytest.mark.parametrize(
    ("p1", "p2", "reason"),
    [(0x11, 2, "bad_block"), (0x11, 0, None), (0x91, 1, None), (0x80, 1, "bad_p1"), (0x91, 3, "bad_block")],
)
def test_a_block_out_of_order(p1, p2, reason):
    assembler = store_data.Assembler()
    assembler.add(Command(0x80, 0xE2, 0x11, 0, b"first"))
    block = Command(0x80, 0xE2, p1, p2, b"next")
    if reason is None:
        assert assembler.add(block) == (b"firstnext" if p1 == 0x91 else None)
        return
    with pytest.raises(PeerError) as caught:
        assembler.add(block)
    assert caught.value.reason == reason
    assert assembler.add(Command(0x80, 0xE2, 0x91, 0, b"anew")) == b"anew"


def test_assembly_has_a_limit():
    assembler = store_data.Assembler(limit_bytes=5)
    with pytest.raises(PeerError, match="too_long"):
        assembler.add(Command(0x80, 0xE2, 0x91, 0, b"123456"))


@pytest.mark.parametrize("block_bytes", [0, 256])
def test_a_block_has_1_to_255_bytes(block_bytes):
    with pytest.raises(LocalError):
        store_data.split(b"data", 0, block_bytes)


def test_more_than_256_blocks_cannot_be_counted():
    with pytest.raises(LocalError):
        store_data.split(bytes(257), 0, 1)


# --- files and status words --------------------------------------------------------------------------------------------


@given(st.binary(min_size=5, max_size=16), st.text(max_size=8), st.integers(0, 20))
def test_dir_entries_with_their_padding(aid, label, padding):
    record = files.DirEntry(aid, label).encode() + b"\xff" * padding
    assert files.DirEntry.decode(record) == files.DirEntry(aid, label)
    assert files.DirEntry.decode(b"\xff" * (padding + 1)) is None


def test_templates():
    linear = files.Fcp(bytes.fromhex("4221002602"), 0x2F00, 76, 0x1E, others=(tlv.Tlv(0x8A, b"\x05"),))
    assert files.Fcp.decode(linear.encode()) == linear
    assert (linear.record_bytes, linear.records) == (38, 2)
    transparent = files.Fcp(bytes.fromhex("4121"), 0x2FE2, 10)
    assert files.Fcp.decode(transparent.encode()) == transparent
    assert (transparent.record_bytes, transparent.records) == (0, 0)
    adf = files.Fcp(bytes.fromhex("7821"), 0x7FFF, aid=b"\xa0\x00\x00\x00\x87")
    assert files.Fcp.decode(adf.encode()) == adf


@pytest.mark.parametrize(("sw", "name"), [
    (0x9000, "ok"), (0x6A82, "file or application not found"), (0x6106, "6 more bytes to get"),
    (0x6100, "256 more bytes to get"),
    (0x6C0A, "wrong Le, 10 bytes are there"), (0x910B, "ok, a proactive command of 11 bytes is pending"),
    (0x63C2, "verification failed, 2 tries left"), (0x6B01, "unknown status"),
    (0x6A99, "wrong parameters"), (0x0000, "unknown status"),
])  # fmt: skip
def test_status_words_have_names(sw, name):
    assert status.name_of(sw) == name


@given(st.integers(0, 0xFFFF))
def test_every_status_word_is_one_thing(sw):
    assert status.name_of(sw)
    assert sum((status.is_success(sw), status.has_more(sw), status.wants_length(sw))) <= 1
    assert not status.is_proactive(sw) or status.is_success(sw)


def test_a_card_error_names_what_was_done_and_the_status():
    expect_success(0x9112, "FETCH")
    with pytest.raises(CardError) as caught:
        expect_success(0x6985, "applet PERSONALISE")
    assert str(caught.value) == "applet PERSONALISE: 6985 (conditions of use not satisfied)"
    assert caught.value.sw == 0x6985
    assert CardError("the reader is gone").sw is None
