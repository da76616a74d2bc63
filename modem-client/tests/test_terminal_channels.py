"""Channels of a card that end in the terminal: what they carry, what they refuse, and what is never lost."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import cbor2
import pytest
from simway_modem_client.terminal_channels import BUFFER_MAX_BYTES, CHANNELS_MAX, PACKS_BURST, RECORDS_MAX
from simway_protocol.sim import proactive_commands as commands
from simway_protocol.sim import proactive_objects as objects
from simway_protocol.sim.proactive import CommandType, ProactiveCommand, Result
from simway_protocol.sim.proactive_commands import TimerAction
from simway_protocol.sim.proactive_objects import Bearer, Tag, Transport
from simway_protocol.sim.report import Receipt
from simway_testing.terminal_bench import COUNT, NOW_US, OPEN, Bench, pack, values


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_report_goes_up_and_its_receipt_comes_down(bench: Bench) -> None:
    channel = bench.opened()
    sent = bench.do(commands.SendData(channel, pack(COUNT, {0: "sim/switch", 6: 1.78e9, "vo": {"n": 1}})))
    assert (sent.result, values(sent)[Tag.CHANNEL_DATA_LENGTH]) == (Result.PERFORMED, b"\xff")
    assert [(entry.sensor, entry.t_us, entry.value) for entry in bench.stored] == [
        ("sim/counter", NOW_US, b"7"), ("sim/switch", 1_780_000_000_000_000, b'{"n":1}'),
    ]  # fmt: skip
    assert bench.receipt(channel) == (2, 0)
    assert bench.do(commands.CloseChannel(channel)).result == Result.PERFORMED


def test_stored_parts_make_one_datagram(bench: Bench) -> None:
    channel, whole = bench.opened(), pack(COUNT)
    first = bench.do(commands.SendData(channel, whole[:5], immediately=False))
    assert values(first) == {Tag.CHANNEL_DATA_LENGTH: b"\xff"}
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
    assert set(values(answer)) == {Tag.BEARER_DESCRIPTION, Tag.BUFFER_SIZE}
    assert bench.core.channels.counts.refused_channels == 1
    assert values(bench.do(commands.GetChannelStatus())) == {Tag.CHANNEL_STATUS: b"\x00\x00"}


def test_channels_and_buffers_are_bounded(bench: Bench) -> None:
    large = bench.do(OPEN._replace(buffer_bytes=60_000))
    assert large.result == Result.MODIFIED
    assert objects.decode_buffer_size(values(large)[Tag.BUFFER_SIZE]) == BUFFER_MAX_BYTES
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
    assert (empty.result, values(empty)) == (
        Result.MISSING_INFORMATION, {Tag.CHANNEL_DATA: b"", Tag.CHANNEL_DATA_LENGTH: b"\x00"},
    )  # fmt: skip
    assert bench.core.channels.counts.not_stored == 1


def test_what_was_buffered_is_still_there_when_the_disk_works_again(bench: Bench) -> None:
    channel, whole = bench.opened(), pack(COUNT)
    bench.do(commands.SendData(channel, whole[:9], immediately=False))
    bench.disk_works = False
    assert bench.do(commands.SendData(channel, whole[9:])).result == Result.TERMINAL_UNABLE
    bench.disk_works = True
    assert bench.do(commands.SendData(channel, whole[9:])).result == Result.PERFORMED
    assert bench.receipt(channel) == (1, 0)


def test_a_receipt_can_be_had_in_parts(bench: Bench) -> None:
    channel = bench.opened()
    bench.do(commands.SendData(channel, pack(COUNT)))
    first = bench.do(commands.ReceiveData(channel, 5))
    assert (first.result, values(first)[Tag.CHANNEL_DATA_LENGTH]) == (Result.PERFORMED, b"\x0c")
    rest = bench.do(commands.ReceiveData(channel, 64))
    assert rest.result == Result.MISSING_INFORMATION
    assert Receipt.decode(values(first)[Tag.CHANNEL_DATA] + values(rest)[Tag.CHANNEL_DATA]) == (1, 0)


def test_a_reset_closes_everything(bench: Bench) -> None:
    bench.opened()
    bench.do(commands.TimerManagement(TimerAction.START, 1, 5))
    bench.do(commands.PollInterval(30))
    bench.core.card_reset()
    bench.now_us += 10_000_000
    assert bench.core.envelope(bench.now_us) is None
    assert bench.opened() == 1
    assert bench.core.poll_interval_s == 30
