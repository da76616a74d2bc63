"""What docs/protocol.md says in numbers is what the code does."""

import re
from pathlib import Path

import pytest
from simway_protocol import limits, vectors
from simway_protocol.outcomes import Reason
from simway_protocol.udp import bodies, frames, server, server_reception, timing
from simway_protocol.udp.frames import Type

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ATTACH = vectors.load("udp_attach")


def test_timers():
    rows = re.findall(r"^\| `(\w+_US)` \| ([\d., ]+) s \|", PAGE, re.MULTILINE)
    said = {name: tuple(round(float(number) * 1e6) for number in value.split(",")) for name, value in rows}
    real = {name: getattr(timing, name) for name in said}
    assert said == {name: value if isinstance(value, tuple) else (value,) for name, value in real.items()}
    assert said.keys() == {name for name in vars(timing) if name.endswith("_US") and name != "SECOND_US"}


@pytest.mark.parametrize("type_", list(Type))
def test_types(type_):
    assert re.search(rf"^\| {type_} \| {type_.name} \| \w+ \| `{frames.first_byte(type_):02x}` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("datagram", limits.DATAGRAM_MAX_BYTES),
        ("plaintext of a sealed frame", frames.BODY_MAX_BYTES),
        ("HELLO", frames.HELLO_MIN_BYTES),
        ("body of COMMAND, CANCEL, CONFIRM", server.SEALED_BODY_MAX_BYTES),
        ("dropped ranges in a DATA; ranges in an ACK", limits.RANGES_MAX_PER_FRAME),
        ("RESULT whole", bodies.RESULT_PARTS_MAX),
        ("validating PINGs to one address", timing.VALIDATION_PINGS_MAX),
        ("RESETs of one server process", server_reception.RESETS_PER_S),
        ("sessions of one server process", server.SESSIONS_MAX),
        ("one value", limits.VALUE_MAX_BYTES),
    ],
)
def test_limits(what, number):
    (row,) = re.findall(rf"^\| {re.escape(what)} \| (.*) \|$", PAGE, re.MULTILINE)
    assert f"{number:,}" in row


def test_reasons_of_rejection():
    assert all(f"`{reason}`" in PAGE for reason in Reason)


def test_vectors():
    told = [ATTACH["device_key"], ATTACH["server_private"], *ATTACH["values"].values()]
    told += [ATTACH["random"]["client_nonce"], ATTACH["random"]["client_private"]]
    for frame in ATTACH["frames"]:
        told.append(frame["frame"])
        if frame["type"] == "HELLO":
            length = int(frame["frame"].rstrip("0")[-4:], 16)
            told[-1] = frame["frame"][: -2 * length] + f"  and {length} zero bytes"
        else:
            told.append(frame["diagnostic"])
    assert [text for text in told if text not in PAGE] == []


def test_links_within_the_page():
    headings = re.findall(r"^##+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
