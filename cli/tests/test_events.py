"""Server-sent events, however they are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_cli.events import LINE_MAX_BYTES, Event, parse

STREAM = (
    b"retry: 2000\nevent: ready\ndata: {}\n\n: heartbeat\n\n"
    b'event: readings\ndata: {"a": "gr\xc3\xbcn"}\n\ndata: [1,\ndata: 2]\n\nevent: half\ndata: {}\n'
)
EVENTS = [Event("ready", {}), Event("readings", {"a": "grün"}), Event("message", [1, 2])]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20), st.booleans())
def test_the_same_events_however_the_stream_is_cut(at: list[int], crlf: bool) -> None:
    data = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    cuts = [0, *sorted(at), len(data)]
    assert list(parse(data[a:b] for a, b in itertools.pairwise(cuts))) == EVENTS


def test_byte_by_byte() -> None:
    assert list(parse(bytes([byte]) for byte in STREAM)) == EVENTS


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        list(parse([b"data: nonsense\n\n"]))


def test_an_endless_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="too long"):
        list(parse(b"x" * 2**20 for _ in range(LINE_MAX_BYTES // 2**20 + 1)))
