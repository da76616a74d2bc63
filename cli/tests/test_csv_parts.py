"""A CSV file in parts is the same file."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_cli.csv_parts import HEADER_MAX_BYTES, LINE_MAX_BYTES, bounded_lines, parts

FIELD = st.text(alphabet='ab,"\n é', max_size=8)
RECORDS = st.lists(st.tuples(FIELD, FIELD), max_size=30)


def written(records: list[tuple[str, str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("time", "value"), *records])
    return text.getvalue().encode()


@given(RECORDS, st.integers(1, 60))
def test_parts_hold_whole_records_and_name_their_lines(records: list[tuple[str, str]], size: int) -> None:
    data = written(records)
    found = list(parts(bounded_lines(io.BytesIO(data)), size * 40))
    assert b"".join(part.data for part in found) == data
    assert [part.last for part in found] == [False] * (len(found) - 1) + [True]
    read: list[list[str]] = []
    line = 1
    for part in found:
        assert part.first_line == line
        assert part.header == ("" if line == 1 else "time,value")
        read += csv.reader(io.StringIO(part.data.decode(), newline=""))
        line += part.data.count(b"\n")
    assert read == list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_a_quote_that_nobody_closes_does_not_gather_the_whole_file() -> None:
    data = b'time,value\n1,"open\n' + b"2,3\n" * 1000
    found = list(parts(bounded_lines(io.BytesIO(data)), 100))
    assert max(len(part.data) for part in found) < 300
    assert b"".join(part.data for part in found) == data


@pytest.mark.parametrize("data", [b"x" * (LINE_MAX_BYTES + 1), b"t,v\n" + b"y" * (LINE_MAX_BYTES + 2)])
def test_a_line_without_end_is_named(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"line \d is longer"):
        list(parts(bounded_lines(io.BytesIO(data))))


def test_a_header_that_no_part_can_carry_is_named() -> None:
    data = b"c" * (HEADER_MAX_BYTES + 1) + b"\n1\n2\n"
    assert len(list(parts(bounded_lines(io.BytesIO(data))))) == 1
    with pytest.raises(ValueError, match="header"):
        list(parts(bounded_lines(io.BytesIO(data)), 10))


def test_an_empty_file_is_one_empty_part() -> None:
    assert [part.data for part in parts(bounded_lines(io.BytesIO(b"")))] == [b""]
