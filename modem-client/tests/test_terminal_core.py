"""What the terminal answers, without a card: each command by the standard, any command within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simway_modem_client import terminal_channels
from simway_modem_client.terminal_channels import CHANNELS_MAX
from simway_modem_client.terminal_core import POLL_MAX_S, POLL_MIN_S, PROFILE
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import proactive_objects as objects
from simway_protocol.sim import report, terminal_profile
from simway_protocol.sim.bearer import Registration
from simway_protocol.sim.comprehension import Item
from simway_protocol.sim.proactive import CommandType, ProactiveCommand, Result
from simway_protocol.sim.proactive_commands import Info, TimerAction
from simway_protocol.sim.proactive_envelopes import DataAvailable, TimerExpired, parse_envelope
from simway_protocol.sim.proactive_objects import ChannelStatus, Tag
from simway_protocol.sim.terminal_profile import Facility
from simway_testing.terminal_bench import COUNT, NOBODY, NOW_US, OPEN, Bench, pack, values


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(("asked", "granted"), [(30, 30), (1, POLL_MIN_S), (255 * 60, POLL_MAX_S), (0.5, POLL_MIN_S)])
def test_poll_intervals(bench: Bench, asked: float, granted: int) -> None:
    duration = objects.duration_item(int(asked)).value if asked >= 1 else bytes((2, int(asked * 10)))
    frame = ProactiveCommand(1, CommandType.POLL_INTERVAL, 0, (Item(Tag.DURATION, duration),))
    answer = bench.do(frame)
    assert (answer.result, bench.core.poll_interval_s) == (Result.PERFORMED, granted)
    assert objects.decode_duration(values(answer)[Tag.DURATION]) == granted
    assert bench.do(commands.PollingOff()).result == Result.PERFORMED
    assert bench.core.poll_interval_s is None


def test_local_information(bench: Bench) -> None:
    said = {info: bench.do(commands.ProvideLocalInformation(info)) for info in Info}
    assert objects.decode_date_time(values(said[Info.DATE_TIME])[Tag.DATE_TIME]) == NOW_US // 1_000_000
    assert objects.decode_imei(values(said[Info.IMEI])[Tag.IMEI]) == "009999001234560"
    assert said[Info.LOCATION].result == Result.MISSING_INFORMATION
    assert objects.Location.decode(values(said[Info.LOCATION])[Tag.LOCATION_INFORMATION]).plmn == "99970"
    assert values(said[Info.ACCESS_TECHNOLOGY]) == {Tag.ACCESS_TECHNOLOGY: b"\x08"}
    assert said[Info.NETWORK_MEASUREMENTS].result == Result.BEYOND_CAPABILITIES
    assert bench.do(commands.ProvideLocalInformation(0x04)).result == Result.BEYOND_CAPABILITIES


@pytest.mark.parametrize("registration", [NOBODY, Registration("home", True), Registration("home", True, "x", "?")])
@pytest.mark.parametrize("info", [Info.LOCATION, Info.ACCESS_TECHNOLOGY])
def test_local_information_without_a_network(bench: Bench, registration: Registration, info: Info) -> None:
    bench.registration = registration
    answer = bench.do(commands.ProvideLocalInformation(info))
    assert (answer.result, answer.additional) == (Result.TERMINAL_UNABLE, b"\x04")


def test_a_device_that_does_not_know_the_time_yet_takes_no_readings(bench: Bench) -> None:
    bench.now_us = 60_000_000
    assert bench.do(commands.ProvideLocalInformation(Info.DATE_TIME)).result == Result.TERMINAL_UNABLE
    channel = bench.opened()
    assert bench.do(commands.SendData(channel, pack(COUNT))).result == Result.TERMINAL_UNABLE
    bench.now_us = NOW_US
    assert bench.do(commands.SendData(channel, pack(COUNT))).result == Result.PERFORMED


def test_timers_run_stop_and_expire(bench: Bench) -> None:
    def ask(action: TimerAction, timer: int, seconds: int = 0) -> tuple[int, int | None]:
        answer = bench.do(commands.TimerManagement(action, timer, seconds))
        value = values(answer).get(Tag.TIMER_VALUE)
        assert values(answer)[Tag.TIMER_IDENTIFIER] == bytes((timer,))
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
TestAnyCard.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


@given(st.binary(max_size=120))
@settings(max_examples=40)
def test_any_datagram_is_a_pack_or_refused(datagram: bytes) -> None:
    bench = Bench()
    channel = bench.opened()
    assert bench.do(commands.SendData(channel, datagram)).result in (Result.PERFORMED, Result.DATA_NOT_UNDERSTOOD)
