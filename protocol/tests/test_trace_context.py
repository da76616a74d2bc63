"""``traceparent``: what is written is read back, and what is none is ignored, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_protocol.trace_context import TraceContext, parse

EXAMPLE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CONTEXTS = st.builds(TraceContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())


def test_the_example_of_the_specification():
    context = parse(EXAMPLE)
    assert context == TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True)
    assert context.encode() == EXAMPLE
    assert context.trace_hex == "4bf92f3577b34da6a3ce929d0e0e4736"


@given(CONTEXTS)
def test_what_is_written_is_read_back(context):
    assert parse(context.encode()) == context


@given(st.text(max_size=60) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-g]{2}(-x)?"))
def test_any_text_is_a_context_or_nothing(text):
    found = parse(text)
    assert found is None or (0 < found.trace_id < 2**128 and 0 < found.span_id < 2**64)


@pytest.mark.parametrize(
    "text",
    [
        "", EXAMPLE[:-1], EXAMPLE + "\n", EXAMPLE.upper(), EXAMPLE.replace("00-4b", "ff-4b"), EXAMPLE + "-more",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_what_is_none_is_ignored(text):
    assert parse(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert parse("01" + EXAMPLE[2:] + "-more") == parse(EXAMPLE)
    assert parse(EXAMPLE[:-2] + "02") == parse(EXAMPLE)._replace(sampled=False)
