"""One suite for every card, first half: dialogues as data (``card_dialogues.json``), byte for byte."""

import json
import re
from pathlib import Path

import pytest
from simway_protocol.sim.transport import Gathered, LengthCorrected
from simway_testing.cards import CAPABILITIES, KINDS, Socket, words

CASES = json.loads(Path(__file__).with_name("card_dialogues.json").read_bytes())["cases"]
WORDS = words()
RUNS = [
    pytest.param(kind, case, id=f"{kind.name}: {case['name']}")
    for kind in KINDS
    for case in CASES
    if kind.capabilities.issuperset(case["needs"])
]


def _pattern(expected):
    parts = {"..": "(?:[0-9A-F]{2})*", "x": "[0-9A-F]"}
    text = expected.format_map(WORDS).replace(" ", "")
    return re.compile("".join(parts.get(piece, piece) for piece in re.findall(r"\.\.|.", text)))


def _transmit(socket, command, raw):
    card = socket.card if raw else Gathered(LengthCorrected(socket.card))
    data, sw = card.transmit(bytes.fromhex(command.format_map(WORDS)))
    return f"{data.hex().upper()}{sw:04X}"


@pytest.mark.parametrize(("kind", "case"), RUNS)
def test_dialogue(kind, case, tmp_path):
    socket = Socket(kind, tmp_path)
    try:
        for number, (command, expected) in enumerate(case["steps"]):
            if command == "reset":
                assert socket.card.reset()[:1] in (b"\x3b", b"\x3f", b""), "its ATR, where the reader tells it"
            elif command == "power off and on":
                socket.power_cycle()
            else:
                answer = _transmit(socket, command, case.get("raw", False))
                assert _pattern(expected).fullmatch(answer), f"step {number}: {command} gave {answer}, not {expected}"
    finally:
        socket.pull()


def test_the_cases_ask_only_for_what_a_card_can_be_said_to_do():
    for case in CASES:
        assert CAPABILITIES.keys() >= set(case["needs"]), case["name"]
    assert len({case["name"] for case in CASES}) == len(CASES)
