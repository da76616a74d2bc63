"""What a modem writes, as lines and answers: any chunks, any noise between the lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_modem_client.at import answers
from simway_modem_client.at.lines import LINE_MAX_BYTES, Command, Dialogue, Splitter, is_boot

CSIM = Command('AT+CSIM=4,"00F2"', re.compile(r'(?:\+CSIM:\s*)?(\d+)\s*,\s*"?([0-9A-Fa-f]+)"?'))
NOISE = ["RING", "+CREG: 1", '+CEREG: 1,"1A2B","01",7', "^RSSI: 9", "+QUSIM: 1", "?garbage?", "NO CARRIER", "123"]


def whole(splitter: Splitter, chunks: list[bytes]) -> list[str]:
    return [line for chunk in chunks for line in splitter.feed(chunk)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.binary(max_size=400), st.lists(st.integers(0, 500), max_size=20))
def test_chunks_do_not_matter(data: bytes, at: list[int]) -> None:
    assert whole(Splitter(), cut(data, at)) == Splitter().feed(data)


def test_lines_are_told_apart_whatever_ends_them() -> None:
    assert Splitter().feed(b"\r\nOK\r\n\r\n+CSQ: 1,99\nREST") == ["OK", "+CSQ: 1,99"]
    assert Splitter().feed(b"\x00\xff\x80AT\r") == ["??AT"]


def test_a_line_without_an_end_takes_no_memory() -> None:
    splitter = Splitter()
    assert splitter.feed(b"x" * (LINE_MAX_BYTES + 1)) == []
    assert splitter.feed(b"y" * 10_000) == []
    assert splitter.feed(b"z\r\nOK\r\n") == ["OK"]


@given(st.lists(st.sampled_from(NOISE), max_size=6), st.integers(0, 6), st.booleans(), st.booleans())
def test_the_answer_is_found_between_unsolicited_lines(noise: list[str], place: int, echo: bool, prefix: bool) -> None:
    lines = list(noise)
    lines.insert(min(place, len(lines)), f'{"+CSIM: " if prefix else ""}4,"9000"')
    dialogue = Dialogue(CSIM)
    unsolicited = [line for line in [*([CSIM.text] if echo else []), *lines, "OK", "+CREG: 2"] if not dialogue.take(line)]
    assert dialogue.over
    assert dialogue.answer.ok
    assert [match[2] for match in dialogue.answer.matches] == ["9000"]
    assert unsolicited == [*noise, "+CREG: 2"]


@given(st.text(max_size=60))
def test_no_line_breaks_it(line: str) -> None:
    for command in (CSIM, answers.OPERATOR, answers.SIGNAL_QUECTEL, *answers.REGISTRATIONS):
        dialogue = Dialogue(command)
        dialogue.take(line)
        assert dialogue.take("OK") is (not dialogue.over) or dialogue.over


@pytest.mark.parametrize(
    ("final", "code"),
    [
        ("ERROR", None), ("+CME ERROR: 10", 10), ("+CME ERROR: SIM busy", 14), ("+CME ERROR: Parameters error", 100),
        ("+CMS ERROR: 500", None), ("COMMAND NOT SUPPORT", None),
    ],
)  # fmt: skip
def test_final_errors(final: str, code: int | None) -> None:
    dialogue = Dialogue(CSIM)
    assert dialogue.take(final)
    assert dialogue.over
    assert not dialogue.answer.ok
    assert dialogue.answer.cme == code


@pytest.mark.parametrize("line", ["RDY", "APP RDY", "+CFUN: 1", "^SYSSTART", "START"])
def test_a_modem_that_begins_anew_is_noticed(line: str) -> None:
    assert is_boot(line)
    assert not is_boot(f"{line} not")


# --- what the lines mean -------------------------------------------------------------------------------------------------


def match(command: Command, line: str) -> re.Match[str] | None:
    assert command.answer is not None
    return command.answer.fullmatch(line)


@pytest.mark.parametrize(
    ("line", "stat"),
    [
        ("+CEREG: 2,1", answers.Stat.HOME),
        ('+CEREG: 2,5,"1A2B","0145A1F0",7', answers.Stat.ROAMING),
        ("+CEREG: 2,2,,,", answers.Stat.SEARCHING),
        ('+CEREG: 3,3,"1A2B","0145A1F0",7,0,7', answers.Stat.DENIED),
        ("+CEREG: 0,99", answers.Stat.UNKNOWN),
    ],
)
def test_registration_as_it_is_read(line: str, stat: answers.Stat) -> None:
    found = match(answers.REGISTRATIONS[0], line)
    assert found is not None
    assert answers.stat_of(found) is stat


@pytest.mark.parametrize("line", ["+CEREG: 1", '+CEREG: 1,"1A2B","0145A1F0",7', "+CEREG: 5,0145,00A1B2C3", "+CREG: 2,1"])
def test_the_unsolicited_form_is_no_answer(line: str) -> None:
    assert match(answers.REGISTRATIONS[0], line) is None
    assert answers.is_registration_urc(line)


def test_the_best_domain_counts() -> None:
    stat = answers.Stat
    assert answers.best([stat.DENIED, stat.HOME]) is stat.HOME
    assert answers.best([stat.SEARCHING, stat.DENIED]) is stat.DENIED
    assert answers.best([stat.NOT_SEARCHING, stat.SEARCHING]) is stat.SEARCHING
    assert answers.best([]) is stat.UNKNOWN
    assert set(answers._BEST_FIRST) == set(stat)


@pytest.mark.parametrize(
    ("line", "signal"),
    [
        ('+QCSQ: "LTE",-60,-95,142,-11', answers.Signal(-95, -11, -60, "LTE")),
        ('+QCSQ: "CAT-M1",-60,-95,142,-11', answers.Signal(-95, -11, -60, "LTE-M")),
        ('+QCSQ: "NR5G-SA",-80,30,-11', answers.Signal(-80, -11, None, "NR")),
        ('+QCSQ: "WCDMA",-70,-80,-5', answers.Signal(None, None, -70, "UMTS")),
        ('+QCSQ: "GSM",-70', answers.Signal(None, None, -70, "GSM")),
        ('+QCSQ: "NOSERVICE"', answers.Signal()),
    ],
)
def test_quectel_signal(line: str, signal: answers.Signal) -> None:
    found = match(answers.SIGNAL_QUECTEL, line)
    assert found is not None
    assert answers.quectel_signal(found) == signal


@pytest.mark.parametrize(
    ("line", "signal"),
    [
        ("+CESQ: 99,99,255,255,20,46", answers.Signal(-95, -10)),
        ("+CESQ: 99,99,255,255,255,255", answers.Signal()),
        ("+CESQ: 30,99,255,255,255,255", answers.Signal(None, None, -81)),
        ("+CESQ: 99,99,40,255,255,255", answers.Signal(None, None, -81)),
        ("+CESQ: 99,99,255,255,255,255,65,57,60", answers.Signal(-100, -11)),
    ],
)
def test_standard_signal(line: str, signal: answers.Signal) -> None:
    found = match(answers.SIGNAL_EXTENDED, line)
    assert found is not None
    assert answers.extended_signal(found) == signal


def test_plain_signal() -> None:
    for line, dbm in (("+CSQ: 21,99", -71), ("+CSQ: 0,0", -113), ("+CSQ: 99,99", None)):
        found = match(answers.SIGNAL_PLAIN, line)
        assert found is not None
        assert answers.plain_signal(found) == answers.Signal(rssi_dbm=dbm)


@pytest.mark.parametrize(
    ("line", "operator"),
    [
        ('+COPS: 0,2,"26201",7', answers.Operator("26201", "LTE")),
        ('+COPS: 0,0,"Some Carrier",9', answers.Operator("", "NB-IoT")),
        ("+COPS: 0", answers.Operator()),
        ('+COPS: 1,2,"310410"', answers.Operator("310410", "")),
    ],
)
def test_operator(line: str, operator: answers.Operator) -> None:
    found = match(answers.OPERATOR, line)
    assert found is not None
    assert answers.operator_of(found) == operator


@given(st.sampled_from(list(answers.Stat)), st.booleans())
def test_every_state_has_a_meaning(stat: answers.Stat, attached: bool) -> None:
    found = answers.registration_of(stat, attached, answers.Operator("26201", "LTE"), answers.Signal(-90, -10))
    assert found.data == (found.registered and not found.cause)
    assert bool(found.cause) != found.data
    assert found.data <= attached
