"""Proactive commands, their answers and envelopes: golden bytes as values and back, cut anywhere, and any bytes at all."""

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from simway_protocol import vectors
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim import comprehension, proactive, terminal_profile
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import proactive_envelopes as envelopes
from simway_protocol.sim import proactive_objects as objects
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import Envelope, ProactiveCommand, Result, TerminalResponse
from simway_protocol.sim.proactive_objects import Bearer, ChannelStatus, Location, Transport
from simway_protocol.sim.terminal_profile import BIP_UDP, Facility

CASES = vectors.load("sim_proactive")["cases"]
PLATFORM = Transport(1, 6001)
PACK = bytes.fromhex("81A2006B73696D2F636F756E7465720207")
STANDS = ChannelStatus(1, True)


def _ids(case):
    return f"{case['kind']} {case['note']}"


def _bytes(case):
    return bytes.fromhex("".join(piece for piece, _label in case["bytes"]))


def _value(case):
    value = dict(case["value"])
    value["items"] = tuple(Item(int(tag, 16), bytes.fromhex(data)) for tag, data in value["items"])
    if case["kind"] == "response":
        return TerminalResponse(**{**value, "additional": bytes.fromhex(value["additional"])})
    return ProactiveCommand(**value) if case["kind"] == "command" else Envelope(**value)


# --- golden bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_frames(case):
    assert _value(case).encode() == _bytes(case)
    assert type(_value(case)).decode(_bytes(case)) == _value(case)


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_frames_cut_and_with_trailing_bytes(case):
    """A TERMINAL RESPONSE has no length of its own: cut between two objects it is a shorter one."""
    kind, whole = type(_value(case)), _bytes(case)
    for other in (*(whole[:at] for at in range(len(whole))), whole + b"\x00"):
        if kind is not TerminalResponse:
            with pytest.raises(PeerError):
                kind.decode(other)
        else:
            with contextlib.suppress(PeerError):
                assert kind.decode(other) != _value(case)


SPOKEN = {
    "POLL INTERVAL of 30 s": commands.PollInterval(30),
    "REFRESH, UICC reset: what a switch asks for": commands.Refresh(4),
    "OPEN CHANNEL to UDP port 6001 of whoever is the platform, buffer of 300 bytes": commands.OpenChannel(
        300, PLATFORM, IPv4Address("0.0.0.0")
    ),
    "SEND DATA at once: a SenML pack with one reading, sim/counter 7": commands.SendData(1, PACK),
    "SEND DATA into the buffer": commands.SendData(1, PACK[:2], immediately=False),
    "RECEIVE DATA, 64 bytes": commands.ReceiveData(1, 64),
    "CLOSE CHANNEL": commands.CloseChannel(1),
    "GET CHANNEL STATUS": commands.GetChannelStatus(),
    "PROVIDE LOCAL INFORMATION: date and time": commands.ProvideLocalInformation(commands.Info.DATE_TIME),
    "TIMER MANAGEMENT: start timer 2 for 1 h 02 min 03 s": commands.TimerManagement(commands.TimerAction.START, 2, 3723),
    "SET UP EVENT LIST: data available": commands.SetUpEventList((9,)),
    "MORE TIME": commands.MoreTime(),
    "POLLING OFF": commands.PollingOff(),
    "data available: 17 bytes wait in channel 1": envelopes.DataAvailable(STANDS, 17),
    "channel 1 was dropped": envelopes.ChannelStatusChanged(ChannelStatus(1, False, 5)),
    "timer 2 ran for 1 h 02 min 03 s": envelopes.TimerExpired(2, 3723),
}


@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] != "response"], ids=_ids)
def test_what_the_golden_bytes_say(case):
    spoken = SPOKEN[case["note"]]
    if case["kind"] == "envelope":
        assert spoken.encode() == _bytes(case)
        assert envelopes.parse_envelope(_bytes(case)) == spoken
    else:
        assert spoken.encode(case["value"]["number"]) == _value(case)
        assert commands.parse(_value(case)) == spoken


def test_the_values_in_the_golden_answers():
    said = {item.tag: item.value for case in CASES if case["kind"] == "response" for item in _value(case).items}
    assert objects.decode_date_time(said[objects.Tag.DATE_TIME]) == 1_795_326_665
    assert objects.decode_imei(said[objects.Tag.IMEI]) == "009999001234560"
    assert Location.decode(said[objects.Tag.LOCATION_INFORMATION]) == Location("99970")
    assert objects.date_time_item(1_795_326_665).value == said[objects.Tag.DATE_TIME]
    assert objects.imei_item("009999001234560").value == said[objects.Tag.IMEI]
    assert Location("99970").item().value == said[objects.Tag.LOCATION_INFORMATION]


# --- values and back ---------------------------------------------------------------------------------------------------

_channel = st.integers(1, 7)
_address = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
_command = st.one_of(
    st.builds(commands.MoreTime), st.builds(commands.PollingOff), st.builds(commands.GetChannelStatus),
    st.builds(commands.Refresh, st.integers(0, 255)),
    st.builds(commands.PollInterval, st.one_of(st.integers(1, 255), st.integers(5, 255).map(lambda m: m * 60))),
    st.builds(commands.SetUpEventList, st.lists(st.integers(0, 255), max_size=20).map(tuple)),
    st.builds(commands.ProvideLocalInformation, st.integers(0, 255)),
    st.builds(commands.TimerManagement, st.just(commands.TimerAction.START), st.integers(1, 8), st.integers(0, 86_399)),
    st.builds(commands.TimerManagement, st.sampled_from(list(commands.TimerAction)[1:]), st.integers(1, 8), st.just(0)),
    st.builds(
        commands.OpenChannel, st.integers(0, 65_535), st.builds(Transport, st.integers(0, 255), st.integers(0, 65_535)),
        st.none() | _address, st.builds(Bearer, st.integers(0, 255), st.binary(max_size=12)), st.booleans(),
    ),
    st.builds(commands.CloseChannel, _channel), st.builds(commands.ReceiveData, _channel, st.integers(0, 255)),
    st.builds(commands.SendData, _channel, st.binary(max_size=commands.SEND_DATA_MAX_BYTES), st.booleans()),
)  # fmt: skip
_told = st.one_of(
    st.builds(envelopes.DataAvailable, st.builds(ChannelStatus, _channel, st.booleans(), st.just(0)), st.integers(0, 255)),
    st.builds(envelopes.ChannelStatusChanged, st.builds(ChannelStatus, st.integers(0, 7), st.booleans(), st.integers(0, 255))),
    st.builds(envelopes.TimerExpired, st.integers(1, 8), st.integers(0, 86_399)),
)


@given(_command, st.integers(0, 255))
def test_a_command_comes_back_as_it_was(command, number):
    frame = command.encode(number).encode()
    assert len(frame) <= 255
    assert commands.parse(ProactiveCommand.decode(frame)) == command


@given(_told)
def test_an_envelope_comes_back_as_it_was(told):
    assert envelopes.parse_envelope(told.encode()) == told


@given(st.integers(946_684_800, 4_102_444_799))
def test_a_time_comes_back_as_it_was(unix_s):
    assert objects.decode_date_time(objects.date_time_item(unix_s).value) == unix_s


@given(st.text("0123456789", min_size=5, max_size=6), st.integers(0, 65_535), st.sampled_from([b"\x12\x34", b"\x01\x02\x03\x0f"]))
def test_a_location_comes_back_as_it_was(plmn, area, cell):
    assert Location.decode(Location(plmn, area, cell).item().value) == Location(plmn, area, cell)


@pytest.mark.parametrize(
    ("zone", "unix_s"), [("00", 1_795_326_665), ("40", 1_795_323_065), ("48", 1_795_330_265), ("FF", 1_795_326_665)]
)
def test_time_zones(zone, unix_s):
    """40: four quarters of an hour east; 48: the same west."""
    assert objects.decode_date_time(bytes.fromhex("621122501550" + zone)) == unix_s


@pytest.mark.parametrize(("bytes_", "seconds"), [("011E", 30), ("0002", 120), ("0205", 0.5), ("01FF", 255)])
def test_durations(bytes_, seconds):
    assert objects.decode_duration(bytes.fromhex(bytes_)) == seconds


@pytest.mark.parametrize("build", [
    lambda: objects.duration_item(0), lambda: objects.duration_item(256 * 60), lambda: objects.timer_value_item(86_400),
    lambda: objects.date_time_item(0), lambda: objects.date_time_item(10**15), lambda: objects.imei_item("1234"),
    lambda: Location("999").item(), lambda: Item(0x7F, b"").encode(), lambda: Item(0, b"").encode(),
])  # fmt: skip
def test_what_cannot_be_said(build):
    with pytest.raises(LocalError):
        build()


# --- what is wrong, and whose fault it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "reason"), [
    (ProactiveCommand(1, 0x03, 0), "missing_object"),
    (ProactiveCommand(1, 0x03, 0, (Item(0x04, b"\x01\x00"),)), "bad_proactive"),
    (ProactiveCommand(1, 0x03, 0, (Item(0x04, b"\x01\x1e"), Item(0x0D, b"?"))), "bad_proactive"),
    (ProactiveCommand(1, 0x27, 0, (Item(0x24, b"\x09"), Item(0x25, b"\x00\x00\x00"))), "bad_proactive"),
    (ProactiveCommand(1, 0x27, 3, (Item(0x24, b"\x01"),)), "bad_proactive"),
    (ProactiveCommand(1, 0x27, 0, (Item(0x24, b"\x01"),)), "missing_object"),
    (ProactiveCommand(1, 0x27, 0, (Item(0x24, b"\x01"), Item(0x25, b"\xff\x00\x00"))), "bad_proactive"),
    (ProactiveCommand(1, 0x40, 1, (Item(0x39, b"\x01\x00"),)), "missing_object"),
    (ProactiveCommand(1, 0x40, 1, (Item(0x35, b"\x03"), Item(0x39, b"\x01"))), "bad_proactive"),
    (ProactiveCommand(1, 0x43, 1, (), 0x21), "missing_object"),
    (ProactiveCommand(1, 0x42, 1, (), 0x21), "missing_object"),
])  # fmt: skip
def test_faults_are_named(command, reason):
    with pytest.raises(PeerError) as caught:
        commands.parse(command)
    assert caught.value.reason == reason


def test_objects_that_need_not_be_understood_are_read_past():
    command = ProactiveCommand(1, 0x03, 0, (Item(0x04, b"\x01\x1e"), Item(0x6E, b"?", required=False)))
    assert commands.parse(ProactiveCommand.decode(command.encode())) == commands.PollInterval(30)
    assert commands.partly_understood(command)
    shown = ProactiveCommand(1, 0x43, 1, (Item(0x05, b"Sending"), Item(0x36, b"\x80")), 0x21)
    assert commands.parse(shown) == commands.SendData(1, b"\x80")
    assert not commands.partly_understood(shown)


def test_the_destination_is_the_address_after_the_transport_level():
    local, far = objects.address_item(IPv4Address("10.0.0.9")), objects.address_item(IPv6Address("2001:db8::1"))
    frame = commands.OpenChannel(100, PLATFORM, None).encode(1)
    whole = frame._replace(items=(*frame.items[:2], local, frame.items[2], far))
    assert commands.parse(whole).destination == IPv6Address("2001:db8::1")
    assert commands.parse(whole._replace(items=whole.items[:-1])).destination is None


def test_a_command_of_another_type_is_none_of_these():
    assert commands.parse(ProactiveCommand(1, 0x25, 0, (Item(0x0D, b"menu"),))) is None


@pytest.mark.parametrize(("data", "details"), [
    ("D0058103010104", (1, 1, 4)), ("D00A8103070304820281820A", (7, 3, 4)), ("D0068103010104FF", (1, 1, 4)),
    ("D0098103010104", (0, 0, 0)), ("D0", (0, 0, 0)), ("", (0, 0, 0)), ("D00482028182", (0, 0, 0)),
])  # fmt: skip
def test_what_the_answer_names_where_the_command_does_not_decode(data, details):
    with pytest.raises(PeerError):
        ProactiveCommand.decode(bytes.fromhex(data))
    assert proactive.details_of(bytes.fromhex(data))[:3] == details


# --- any bytes ---------------------------------------------------------------------------------------------------------

DECODERS = [
    ProactiveCommand.decode, TerminalResponse.decode, Envelope.decode, envelopes.parse_envelope, comprehension.decode,
    Bearer.decode, Transport.decode, ChannelStatus.decode, Location.decode, objects.decode_address,
    objects.decode_buffer_size, objects.decode_byte, objects.decode_duration, objects.decode_timer_value,
    objects.decode_date_time, objects.decode_imei, lambda data: commands.parse(ProactiveCommand.decode(data)),
]  # fmt: skip
_items = st.lists(st.builds(Item, st.integers(1, 0x7E), st.binary(max_size=12), st.booleans()), max_size=5).map(tuple)


@given(st.binary(max_size=300))
@example(b"\xd0\x81")
def test_decoders_raise_nothing_but_peer_errors(data):
    for decode in DECODERS:
        with contextlib.suppress(PeerError):
            decode(data)
    proactive.details_of(data)


@given(st.sampled_from(list(proactive.CommandType)), st.integers(0, 255), _items, st.integers(0, 255))
def test_parsing_any_objects_raises_nothing_but_peer_errors(kind, qualifier, items, destination):
    command = ProactiveCommand(1, kind, qualifier, items, destination)
    known = all(item.tag not in (1, 2) for item in items)
    if known:
        assert ProactiveCommand.decode(command.encode()) == command
    with contextlib.suppress(PeerError):
        commands.parse(command)
    commands.partly_understood(command)


_tag = st.one_of(st.integers(1, 0x7E), st.integers(0x7F0001, 0x7F7FFF))


@given(st.lists(st.builds(Item, _tag, st.binary(max_size=200), st.booleans())))
def test_comprehension_objects_come_back_as_they_were(items):
    assert comprehension.decode(b"".join(item.encode() for item in items)) == items


# --- what a terminal can do --------------------------------------------------------------------------------------------


def test_a_terminal_profile_bit_by_bit():
    profile = terminal_profile.encode((Facility.PROFILE_DOWNLOAD, Facility.REFRESH, *BIP_UDP), channels=2)
    assert (profile[0], profile[2], profile[11], profile[12], profile[16]) == (0x01, 0x80, 0x0F, 0x40, 0x02)
    assert terminal_profile.announces(profile, *BIP_UDP)
    assert not terminal_profile.announces(profile, Facility.TIMER_GET)
    assert not terminal_profile.announces(profile[:16], *BIP_UDP)
    assert (terminal_profile.channels_of(profile), terminal_profile.channels_of(b"")) == (2, 0)


@given(st.sets(st.sampled_from(list(Facility)), min_size=1), st.integers(0, 7))
def test_a_profile_announces_what_it_was_made_of(facilities, channels):
    profile = terminal_profile.encode(tuple(facilities), channels)
    assert {facility for facility in Facility if terminal_profile.announces(profile, facility)} == facilities
    assert terminal_profile.channels_of(profile) == channels


def test_results_of_the_first_class_are_performed():
    assert TerminalResponse(1, 1, 0, Result.MISSING_INFORMATION).performed
    assert not TerminalResponse(1, 1, 0, Result.TERMINAL_UNABLE).performed
