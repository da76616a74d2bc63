"""What the terminal answers, without a card: each command by the standard, any command within bounds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simway_modem_client import terminal_channels
from simway_modem_client.terminal_channels import BUFFER_MAX_BYTES, CHANNELS_MAX, PACKS_BURST, RECORDS_MAX, Answer
from simway_modem_client.terminal_core import POLL_MAX_S, POLL_MIN_S, PROFILE, Surroundings, TerminalCore
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import proactive_objects as objects
from simway_protocol.sim import report, terminal_profile
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import CommandType, ProactiveCommand, Result, TerminalResponse, find
from simway_protocol.sim.proactive_commands import Info, TimerAction
from simway_protocol.sim.proactive_envelopes import DataAvailable, TimerExpired, parse_envelope
from simway_protocol.sim.proactive_objects import Bearer, ChannelStatus, Tag, Transport
from simway_protocol.sim.report import Receipt
from simway_protocol.sim.terminal_profile import Facility

NOW_US = 1_790_000_000_000_000
PLATFORM = IPv4Address("192.0.2.1")
UDP = Transport(1, 6001)
OPEN = commands.OpenChannel(300, UDP, PLATFORM)
LTE = Registration("home", True, "99970", "LTE")
NOBODY = Registration("searching", False, cause="no_coverage")


def pack(*records: dict[Any, Any]) -> bytes:
    return cbor2.dumps(list(records))


COUNT = {0: "sim/counter", 2: 7}


class Bench:
    """A core, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.registration = LTE
        self.core = TerminalCore("009999001234560", lambda address, port: (address, port) == (PLATFORM, 6001))
        self.stored: list[Any] = []
        self.disk_works = True

    def do(self, command: Any, number: int = 1) -> Answer:
        frame = command if isinstance(command, ProactiveCommand) else command.encode(number)
        answer = self.core.perform(frame, Surroundings(self.now_us, self.registration))
        if answer.pack is not None:
            self.stored += answer.pack.entries if self.disk_works else []
            finish = self.core.channels.stored if self.disk_works else self.core.channels.not_stored
            answer = finish(answer)
        encoded = TerminalResponse.to(frame, answer.result, answer.additional, *answer.items).encode()
        assert len(encoded) <= 255
        assert TerminalResponse.decode(encoded).result == answer.result
        return answer

    def opened(self) -> int:
        answer = self.do(OPEN)
        assert answer.result == Result.PERFORMED
        return ChannelStatus.decode(find(answer.items, Tag.CHANNEL_STATUS) or b"").channel

    def receipt(self, channel: int) -> Receipt:
        return Receipt.decode(find(self.do(commands.ReceiveData(channel, 64)).items, Tag.CHANNEL_DATA) or b"")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _values(answer: Answer) -> dict[int, bytes]:
    return {item.tag: item.value for item in answer.items}


# --- channels ------------------------------------------------------------------------------------------------------------


def test_a_report_goes_up_and_its_receipt_comes_down(bench: Bench) -> None:
    channel = bench.opened()
    sent = bench.do(commands.SendData(channel, pack(COUNT, {0: "sim/switch", 6: 1.78e9, "vo": {"n": 1}})))
    assert (sent.result, _values(sent)[Tag.CHANNEL_DATA_LENGTH]) == (Result.PERFORMED, b"\xff")
    assert [(entry.sensor, entry.t_us, entry.value) for entry in bench.stored] == [
        ("sim/counter", NOW_US, b"7"), ("sim/switch", 1_780_000_000_000_000, b'{"n":1}'),
    ]  # fmt: skip
    assert bench.receipt(channel) == (2, 0)
    assert bench.do(commands.CloseChannel(channel)).result == Result.PERFORMED


def test_stored_parts_make_one_datagram(bench: Bench) -> None:
    channel, whole = bench.opened(), pack(COUNT)
    first = bench.do(commands.SendData(channel, whole[:5], immediately=False))
    assert _values(first) == {Tag.CHANNEL_DATA_LENGTH: b"\xff"}
    assert not bench.stored
    bench.do(commands.SendData(channel, whole[5:-1], immediately=False))
    assert bench.do(commands.SendData(channel, whole[-1:])).result == Result.PERFORMED
    assert (len(bench.stored), bench.receipt(channel)) == (1, (1, 0))


@pytest.mark.parametrize(("command", "result", "cause"), [
    (OPEN._replace(destination=IPv4Address("8.8.8.8")), Result.BIP_ERROR, 7),
    (OPEN._replace(destination=IPv6Address("2001:db8::1")), Result.BIP_ERROR, 7),
    (OPEN._replace(transport=Transport(1, 53)), Result.BIP_ERROR, 7),
    (OPEN._replace(transport=Transport(2, 6001)), Result.BIP_ERROR, 6),
    (OPEN._replace(buffer_bytes=0), Result.BIP_ERROR, 4),
    (OPEN._replace(destination=None), Result.VALUES_MISSING, None),
    (OPEN._replace(transport=None, destination=None), Result.VALUES_MISSING, None),
    (OPEN._replace(bearer=Bearer(1, bytes(3))), Result.BEYOND_CAPABILITIES, None),
])  # fmt: skip
def test_channels_that_are_not_opened(bench: Bench, command: commands.OpenChannel, result: Result, cause: int | None) -> None:
    answer = bench.do(command)
    assert (answer.result, answer.additional) == (result, b"" if cause is None else bytes((cause,)))
    assert set(_values(answer)) == {Tag.BEARER_DESCRIPTION, Tag.BUFFER_SIZE}
    assert bench.core.channels.counts.refused_channels == 1
    assert _values(bench.do(commands.GetChannelStatus())) == {Tag.CHANNEL_STATUS: b"\x00\x00"}


def test_channels_and_buffers_are_bounded(bench: Bench) -> None:
    large = bench.do(OPEN._replace(buffer_bytes=60_000))
    assert large.result == Result.MODIFIED
    assert objects.decode_buffer_size(_values(large)[Tag.BUFFER_SIZE]) == BUFFER_MAX_BYTES
    for _ in range(CHANNELS_MAX - 1):
        bench.opened()
    assert (bench.do(OPEN).result, bench.do(OPEN).additional) == (Result.BIP_ERROR, b"\x01")
    assert len(bench.do(commands.GetChannelStatus()).items) == CHANNELS_MAX
    bench.do(commands.CloseChannel(1))
    assert bench.opened() == 1


@pytest.mark.parametrize("command", [
    commands.SendData(1, b"\x80"), commands.ReceiveData(1, 9), commands.CloseChannel(1), commands.CloseChannel(7),
    ProactiveCommand(1, CommandType.CLOSE_CHANNEL, 0), ProactiveCommand(1, CommandType.CLOSE_CHANNEL, 0, (), 0x00),
])  # fmt: skip
def test_a_channel_that_is_not_open(bench: Bench, command: Any) -> None:
    answer = bench.do(command)
    assert (answer.result, answer.additional) == (Result.BIP_ERROR, b"\x03")


def test_a_full_buffer_refuses_what_does_not_fit_and_keeps_what_it_has(bench: Bench) -> None:
    whole = pack(COUNT)
    bench.do(OPEN._replace(buffer_bytes=len(whole)))
    bench.do(commands.SendData(1, whole[:-2], immediately=False))
    refused = bench.do(commands.SendData(1, bytes(3)))
    assert (refused.result, refused.additional) == (Result.BIP_ERROR, b"\x04")
    assert bench.do(commands.SendData(1, whole[-2:])).result == Result.PERFORMED
    assert bench.receipt(1) == (1, 0)


@pytest.mark.parametrize(
    "datagram", [b"", b"\x00", b"hello", cbor2.dumps({"n": 1}), pack(COUNT) + b"\x00", b"\x9b" + b"\xff" * 8]
)
def test_a_malformed_pack_is_refused_counted_and_loses_nothing_else(bench: Bench, datagram: bytes) -> None:
    channel = bench.opened()
    bench.do(commands.SendData(channel, pack(COUNT)))
    assert bench.do(commands.SendData(channel, datagram)).result == Result.DATA_NOT_UNDERSTOOD
    assert bench.core.channels.counts.refused_packs == 1
    bench.do(commands.SendData(channel, pack(COUNT)))
    assert [bench.receipt(channel), bench.receipt(channel)] == [(1, 0), (1, 0)]
    assert len(bench.stored) == 2


def test_a_card_speaks_for_its_own_sensors_and_only_in_readings(bench: Bench) -> None:
    channel = bench.opened()
    bench.do(
        commands.SendData(channel, pack({0: "host/cpu", 2: 1}, {0: "sim/x"}, {0: "sim/y", 2: float("nan")}, {0: "sim/z", 2: 1}))
    )
    assert [entry.sensor for entry in bench.stored] == ["sim/z"]
    assert bench.receipt(channel) == (1, 3)
    assert bench.core.channels.counts.refused_readings == 3


def test_two_values_of_one_moment_have_times_of_their_own(bench: Bench) -> None:
    channel = bench.opened()
    bench.do(commands.SendData(channel, pack(COUNT, COUNT, {0: "sim/counter", 2: 8})))
    assert [entry.t_us for entry in bench.stored] == [NOW_US, NOW_US + 1, NOW_US + 2]


def test_a_pack_has_a_bounded_number_of_records(bench: Bench) -> None:
    bench.do(OPEN._replace(buffer_bytes=BUFFER_MAX_BYTES))
    many = pack(*[{0: "sim/x", 2: number % 10} for number in range(RECORDS_MAX + 6)])
    bench.do(commands.SendData(1, many))
    assert bench.receipt(1) == (RECORDS_MAX, 6)


def test_a_card_that_sends_too_often_is_told_to_come_again(bench: Bench) -> None:
    channel = bench.opened()
    results = [bench.do(commands.SendData(channel, pack(COUNT))).result for _ in range(PACKS_BURST + 5)]
    assert results == [Result.PERFORMED] * PACKS_BURST + [Result.TERMINAL_UNABLE] * 5
    assert bench.core.channels.counts.too_often == 5
    bench.now_us += 1_000_000
    assert bench.do(commands.SendData(channel, pack(COUNT))).result == Result.PERFORMED


def test_without_the_disk_nothing_is_acknowledged(bench: Bench) -> None:
    bench.disk_works = False
    channel = bench.opened()
    assert bench.do(commands.SendData(channel, pack(COUNT))).result == Result.TERMINAL_UNABLE
    empty = bench.do(commands.ReceiveData(channel, 64))
    assert (empty.result, _values(empty)) == (
        Result.MISSING_INFORMATION, {Tag.CHANNEL_DATA: b"", Tag.CHANNEL_DATA_LENGTH: b"\x00"},
    )  # fmt: skip
    assert bench.core.channels.counts.not_stored == 1


def test_a_receipt_can_be_had_in_parts(bench: Bench) -> None:
    channel = bench.opened()
    bench.do(commands.SendData(channel, pack(COUNT)))
    first = bench.do(commands.ReceiveData(channel, 5))
    assert (first.result, _values(first)[Tag.CHANNEL_DATA_LENGTH]) == (Result.PERFORMED, b"\x0c")
    rest = bench.do(commands.ReceiveData(channel, 64))
    assert rest.result == Result.MISSING_INFORMATION
    assert Receipt.decode(_values(first)[Tag.CHANNEL_DATA] + _values(rest)[Tag.CHANNEL_DATA]) == (1, 0)


def test_a_reset_closes_everything(bench: Bench) -> None:
    bench.opened()
    bench.do(commands.TimerManagement(TimerAction.START, 1, 5))
    bench.do(commands.PollInterval(30))
    bench.core.card_reset()
    bench.now_us += 10_000_000
    assert bench.core.envelope(bench.now_us) is None
    assert bench.opened() == 1
    assert bench.core.poll_interval_s == 30


# --- the rest ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "granted"), [(30, 30), (1, POLL_MIN_S), (255 * 60, POLL_MAX_S), (0.5, POLL_MIN_S)])
def test_poll_intervals(bench: Bench, asked: float, granted: int) -> None:
    duration = objects.duration_item(int(asked)).value if asked >= 1 else bytes((2, int(asked * 10)))
    frame = ProactiveCommand(1, CommandType.POLL_INTERVAL, 0, (Item(Tag.DURATION, duration),))
    answer = bench.do(frame)
    assert (answer.result, bench.core.poll_interval_s) == (Result.PERFORMED, granted)
    assert objects.decode_duration(_values(answer)[Tag.DURATION]) == granted
    assert bench.do(commands.PollingOff()).result == Result.PERFORMED
    assert bench.core.poll_interval_s is None


def test_local_information(bench: Bench) -> None:
    said = {info: bench.do(commands.ProvideLocalInformation(info)) for info in Info}
    assert objects.decode_date_time(_values(said[Info.DATE_TIME])[Tag.DATE_TIME]) == NOW_US // 1_000_000
    assert objects.decode_imei(_values(said[Info.IMEI])[Tag.IMEI]) == "009999001234560"
    assert said[Info.LOCATION].result == Result.MISSING_INFORMATION
    assert objects.Location.decode(_values(said[Info.LOCATION])[Tag.LOCATION_INFORMATION]).plmn == "99970"
    assert _values(said[Info.ACCESS_TECHNOLOGY]) == {Tag.ACCESS_TECHNOLOGY: b"\x08"}
    assert said[Info.NETWORK_MEASUREMENTS].result == Result.BEYOND_CAPABILITIES
    assert bench.do(commands.ProvideLocalInformation(0x04)).result == Result.BEYOND_CAPABILITIES


@pytest.mark.parametrize("registration", [NOBODY, Registration("home", True), Registration("home", True, "x", "?")])
@pytest.mark.parametrize("info", [Info.LOCATION, Info.ACCESS_TECHNOLOGY])
def test_local_information_without_a_network(bench: Bench, registration: Registration, info: Info) -> None:
    bench.registration = registration
    answer = bench.do(commands.ProvideLocalInformation(info))
    assert (answer.result, answer.additional) == (Result.TERMINAL_UNABLE, b"\x04")


def test_timers_run_stop_and_expire(bench: Bench) -> None:
    def ask(action: TimerAction, timer: int, seconds: int = 0) -> tuple[int, int | None]:
        answer = bench.do(commands.TimerManagement(action, timer, seconds))
        value = _values(answer).get(Tag.TIMER_VALUE)
        assert _values(answer)[Tag.TIMER_IDENTIFIER] == bytes((timer,))
        return answer.result, None if value is None else objects.decode_timer_value(value)

    assert ask(TimerAction.GET, 3) == (Result.TIMER_STATE, None)
    assert ask(TimerAction.START, 3, 60) == (Result.PERFORMED, None)
    assert ask(TimerAction.START, 4, 10) == (Result.PERFORMED, None)
    bench.now_us += 4_500_000
    assert ask(TimerAction.GET, 3) == (Result.PERFORMED, 56)
    assert ask(TimerAction.DEACTIVATE, 3) == (Result.PERFORMED, 56)
    assert ask(TimerAction.DEACTIVATE, 3) == (Result.TIMER_STATE, None)
    assert bench.core.envelope(bench.now_us) is None
    bench.now_us += 6_000_000
    envelope = bench.core.envelope(bench.now_us)
    assert parse_envelope(envelope or b"") == TimerExpired(4, 10)
    assert bench.core.envelope(bench.now_us) == envelope
    bench.core.envelope_delivered(bench.now_us)
    assert bench.core.envelope(bench.now_us) is None


def test_a_card_that_asked_for_it_hears_of_data_once_an_empty_buffer_fills(bench: Bench) -> None:
    channel = bench.opened()
    assert bench.do(commands.SetUpEventList((0x09,))).result == Result.PERFORMED
    for _ in range(2):
        bench.do(commands.SendData(channel, pack(COUNT)))
        bench.do(commands.SendData(channel, pack(COUNT)))
        envelope = bench.core.envelope(bench.now_us)
        assert parse_envelope(envelope or b"") == DataAvailable(ChannelStatus(channel, True), 17)
        bench.core.envelope_delivered(bench.now_us)
        assert bench.core.envelope(bench.now_us) is None
        bench.receipt(channel)
        assert bench.core.envelope(bench.now_us) is None
        bench.receipt(channel)
    bench.do(commands.SetUpEventList(()))
    bench.do(commands.SendData(channel, pack(COUNT)))
    assert bench.core.envelope(bench.now_us) is None


@pytest.mark.parametrize(("frame", "result"), [
    (ProactiveCommand(1, 0x25, 0), Result.BEYOND_CAPABILITIES),
    (ProactiveCommand(1, 0x13, 0, (Item(0x0B, bytes(20)),)), Result.BEYOND_CAPABILITIES),
    (ProactiveCommand(1, 0xEE, 0), Result.BEYOND_CAPABILITIES),
    (ProactiveCommand(1, 0x05, 0, (Item(0x19, b"\x09\x03"),)), Result.BEYOND_CAPABILITIES),
    (ProactiveCommand(1, 0x01, 0x04), Result.PERFORMED),
    (ProactiveCommand(1, 0x01, 0x01, (Item(0x12, b"\x01\x3f\x00\x2f\xe2"),)), Result.PERFORMED),
    (ProactiveCommand(1, 0x02, 0), Result.PERFORMED),
    (ProactiveCommand(1, 0x02, 0, (Item(0x6E, b"", required=False),)), Result.PARTIAL_COMPREHENSION),
    (ProactiveCommand(1, 0x02, 0, (Item(0x6E, b""),)), Result.DATA_NOT_UNDERSTOOD),
    (ProactiveCommand(1, 0x03, 0), Result.VALUES_MISSING),
    (ProactiveCommand(1, 0x03, 0, (Item(0x04, b"\x09\x09"),)), Result.DATA_NOT_UNDERSTOOD),
])  # fmt: skip
def test_results(bench: Bench, frame: ProactiveCommand, result: Result) -> None:
    assert bench.do(frame).result == result
    assert bench.core.beyond == (result == Result.BEYOND_CAPABILITIES)


def test_the_profile_announces_just_what_there_is(bench: Bench) -> None:
    assert {facility for facility in Facility if terminal_profile.announces(PROFILE, facility)} == set(Facility)
    assert terminal_profile.channels_of(PROFILE) == CHANNELS_MAX
    assert sum(byte.bit_count() for byte in PROFILE) == len(Facility) + CHANNELS_MAX.bit_count()


# --- anything a card may send --------------------------------------------------------------------------------------------

_item = st.builds(Item, st.sampled_from([int(tag) for tag in Tag] + [0x11, 0x6E]), st.binary(max_size=40), st.booleans())
_frame = st.builds(
    ProactiveCommand, st.integers(0, 255), st.sampled_from([int(kind) for kind in CommandType]) | st.integers(0, 255),
    st.integers(0, 255), st.lists(_item, max_size=5).map(tuple), st.sampled_from([0x82, 0x21, 0x22, 0x27, 0x00, 0xFF]),
)  # fmt: skip
_data = st.sampled_from([pack(COUNT), b"\x81", b"", bytes(200)])
_sensible = st.one_of(
    st.just(OPEN), st.builds(commands.SendData, st.integers(1, 2), _data, st.booleans()),
    st.builds(commands.ReceiveData, st.integers(1, 2), st.integers(0, 255)), st.builds(commands.CloseChannel, st.integers(1, 2)),
    st.builds(commands.TimerManagement, st.sampled_from(TimerAction), st.integers(1, 8), st.integers(0, 100)),
    st.builds(commands.SetUpEventList, st.sampled_from([(), (9,), (10,), (9, 10)])),
)  # fmt: skip


class AnyCard(RuleBasedStateMachine):
    """Whatever a card sends, in whatever order: one answer that fits, bounded state, and every reading taken has a receipt."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()

    @rule(frame=_frame)
    def anything(self, frame: ProactiveCommand) -> None:
        self.bench.do(frame)

    @rule(command=_sensible)
    def something_sensible(self, command: Any) -> None:
        self.bench.do(command)

    @rule(seconds=st.integers(0, 40))
    def time_passes(self, seconds: int) -> None:
        self.bench.now_us += seconds * 1_000_000

    @rule(works=st.booleans())
    def the_disk(self, works: bool) -> None:
        self.bench.disk_works = works

    @rule()
    def the_card_is_told(self) -> None:
        envelope = self.bench.core.envelope(self.bench.now_us)
        if envelope is not None:
            assert parse_envelope(envelope) is not None
            self.bench.core.envelope_delivered(self.bench.now_us)
            assert self.bench.core.envelope(self.bench.now_us) != envelope or b"\x37" in envelope

    @rule()
    def the_card_is_reset(self) -> None:
        self.bench.core.card_reset()

    @invariant()
    def it_stays_within_bounds(self) -> None:
        counts = self.bench.core.channels.counts
        assert counts.readings == len(self.bench.stored)
        assert all(entry.sensor.startswith(report.PREFIX) for entry in self.bench.stored)
        assert len(self.bench.do(commands.GetChannelStatus()).items) <= max(1, terminal_channels.CHANNELS_MAX)


TestAnyCard = AnyCard.TestCase
TestAnyCard.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(st.binary(max_size=120))
@settings(max_examples=60)
def test_any_datagram_is_a_pack_or_refused(datagram: bytes) -> None:
    bench = Bench()
    channel = bench.opened()
    assert bench.do(commands.SendData(channel, datagram)).result in (Result.PERFORMED, Result.DATA_NOT_UNDERSTOOD)
