"""CSV history, byte by byte: what is taken, what is bad and where, and what no file is."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simway_flask_app.csv_history import Bad, CsvHistory, Shape, Taken
from simway_flask_app.csv_records import RECORD_MAX_BYTES, BadFile
from simway_protocol.readings import Reading

NOW_US = 1_795_312_800_000_000
T = "2026-01-01T00:00:00Z"
T_US = 1_767_225_600_000_000
LONG = b"time,sensor,value,unit,kind\n"


def read(data: bytes, *, part: int = 0, device: str = "d", **shape: Any) -> tuple[list[Taken], list[Bad]]:
    history = CsvHistory(Shape(**shape), device, NOW_US)
    items = []
    for at in range(0, len(data), part or max(1, len(data))):
        items += list(history.feed(data[at : at + (part or len(data))]))
    items += list(history.end())
    return [item for item in items if isinstance(item, Taken)], [item for item in items if isinstance(item, Bad)]


def readings(data: bytes, **more: Any) -> list[Reading]:
    taken, bad = read(data, **more)
    assert bad == []
    return [item.reading for item in taken]


def test_the_long_form() -> None:
    data = LONG + f"{T},cpu,1.5,Cel,\n1767225600,cpu,2,,\n".encode()
    assert readings(data) == [Reading("cpu", T_US, 1.5, "Cel"), Reading("cpu", T_US, 2, None)]


def test_the_wide_form_leaves_empty_cells_out() -> None:
    data = f"t;cpu;mem\n{T};1;\n{T};;true\n".encode()
    history = CsvHistory(Shape(time_column="t", delimiter=";", unit="%"), "d", NOW_US)
    items = [*history.feed(data), *history.end()]
    assert [item.reading for item in items if isinstance(item, Taken)] == [
        Reading("cpu", T_US, 1, "%"), Reading("mem", T_US, True, "%"),
    ]  # fmt: skip
    assert (history.empty, history.lines) == (2, 3)


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("float", "1", 1.0),
        ("integer", "9007199254740993", 9007199254740993),
        ("boolean", "true", True),
        ("string", "1", "1"),
        ("string", "", ""),
        ("object", '"{""a"": [1, null]}"', {"a": [1, None]}),
        ("", "-1.5e3", -1500.0),
        ("", "+7", 7),
        ("", ".5", 0.5),
        ("", " 2 ", 2),
        ("", "FALSE", False),
        ("float", "5e-324", 5e-324),
        ("string", '"a\nb ""c"""', 'a\nb "c"'),
    ],
)
def test_kinds(kind: str, cell: str, value: Any) -> None:
    (reading,) = readings(LONG + f"{T},s,{cell},,{kind}\n".encode())
    assert (reading.value, type(reading.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("line", "reason", "column"),
    [
        (f"{T},s,nothing,,", "bad_value", "value"),
        (f"{T},s,,,", "bad_value", "value"),
        (f"{T},s,nan,,", "not_finite", "value"),
        (f"{T},s,1e999,,", "not_finite", "value"),
        (f"{T},s,{2**63},,", "out_of_range", "value"),
        (f"{T},s,1,,int", "bad_kind", "kind"),
        (f"{T},s,1_0,,", "bad_value", "value"),
        (f"{T},s,1.5,,integer", "bad_value", "value"),
        (f"{T},s,[1],,object", "bad_value", "value"),
        (f"{T},s,maybe,,boolean", "bad_value", "value"),
        (f"{T},s,x,,float", "bad_value", "value"),
        ("2026-01-01 00:00:00,s,1,,", "bad_time", "time"),
        ("yesterday,s,1,,", "bad_time", "time"),
        ("2030-01-01T00:00:00Z,s,1,,", "in_future", "time"),
        (f"{T},a b,1,,", "bad_sensor", "sensor"),
        (f"{T},s,1,\x07,", "bad_unit", "unit"),
        (f"{T},s,1", "bad_columns", ""),
        (f"{T},s,1,,,,", "bad_columns", ""),
        (f'{T},s,"1"x,,', "bad_csv", ""),
    ],
)
def test_a_bad_line_is_named_and_costs_itself_alone(line: str, reason: str, column: str) -> None:
    good = f"{T},s,1,,\n".encode()
    taken, bad = read(LONG + good + line.encode() + b"\n" + good)
    assert [item.line for item in taken] == [2, 4]
    assert [(item.line, item.reason, item.column) for item in bad] == [(3, reason, column)]
    assert bad[0].detail


def test_text_and_times_without_offset_are_taken_when_asked() -> None:
    data = LONG + b"2026-01-01 00:00:00,s,on,,\n"
    assert readings(data, text=True, utc=True) == [Reading("s", T_US, "on", None)]
    assert read(data, utc=True)[1][0].reason == "bad_value"


def test_a_bad_cell_of_a_wide_line_costs_that_cell() -> None:
    taken, bad = read(f"time,a,b\n{T},1,x\nnever,1,2\n".encode())
    assert [item.reading.sensor for item in taken] == ["a"]
    assert [(item.line, item.reason, item.column) for item in bad] == [(2, "bad_value", "b"), (3, "bad_time", "time")]


@pytest.mark.parametrize("part", [1, 7, 0])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bom_line_ends_and_the_size_of_parts_change_nothing(part: int, mark: bytes, end: bytes) -> None:
    lines = [LONG.strip(), f"{T},s,ü,,string".encode(), b"", f'{T},t,"a,b",,string'.encode()]
    data = mark + b"".join(line + end for line in lines)
    assert [reading.value for reading in readings(data, part=part)] == ["ü", "a,b"]


def test_a_half_last_line_is_named_unless_it_is_said_to_be_whole() -> None:
    data = LONG + f"{T},s,1,,\n{T},s,12".encode()
    taken, bad = read(data)
    assert [item.reading.value for item in taken] == [1]
    assert [(item.line, item.reason) for item in bad] == [(3, "half_line")]
    whole = data + b"5,,"
    assert [reading.value for reading in readings(whole, open_end=True)] == [1, 125]
    assert read(whole)[1][0].reason == "half_line"
    assert read(data, open_end=True)[1][0].reason == "bad_columns"


def test_quoted_line_ends_count_as_lines() -> None:
    data = LONG + f'{T},s,"one\ntwo\nthree",,string\n{T},s,x,,\n'.encode()
    taken, bad = read(data)
    assert [item.line for item in taken] == [2]
    assert [item.line for item in bad] == [5]


def test_stray_quotes_cost_their_lines_alone() -> None:
    lines = [f'{T},s,5" pipe,,', f"{T},s,1,,", f'{T},s,6" pipe,,', f"{T},s,2,,", f'{T},s,"open,,', *[f"{T},s,3,,"] * 3]
    taken, bad = read(LONG + "".join(line + "\n" for line in lines).encode())
    assert [item.line for item in taken] == [3, 5, 7, 8, 9]
    assert [item.line for item in bad] == [2, 4, 6]


def test_an_open_quote_is_given_up_long_before_the_file_ends() -> None:
    lines = [f'{T},s,"open,,', *[f"{T},s,3,,"] * 4000, f'{T},s,"x",,string']
    taken, bad = read(LONG + "".join(line + "\n" for line in lines).encode(), part=5000)
    assert [(item.line, item.reason) for item in bad] == [(2, "open_quote")]
    assert len(taken) == 4001


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    taken, bad = read(LONG + b"x" * (3 * RECORD_MAX_BYTES) + b"\n" + f"{T},s,1,,\n".encode(), part=10_000)
    assert [(item.line, item.reason) for item in bad] == [(2, "too_long")]
    assert [item.line for item in taken] == [3]


@pytest.mark.parametrize(
    ("data", "shape", "reason"),
    [
        (LONG.decode().encode("utf-16"), {}, "bad_encoding"),
        (LONG.decode().encode("utf-16-le"), {}, "bad_encoding"),
        ("zeit,größe,value\n".encode("latin-1"), {}, "bad_encoding"),
        (b"time,sensor,value\r2026,s,1\r\n", {}, "bad_line_ends"),
        (b"", {}, "bad_header"),
        (b"time,sensor", {}, "bad_header"),
        (b"when,sensor,value\n", {}, "bad_header"),
        (b"time,value\n", {}, "bad_header"),
        (b"time,a,a\n", {}, "bad_header"),
        (b"time\n", {}, "bad_header"),
        (b"time,Temp (C)\n", {}, "bad_header"),
        (LONG, {"unit_column": "einheit"}, "bad_header"),
        (LONG, {"sensor": "a b"}, "bad_header"),
        (LONG, {"unit": "\x07"}, "bad_header"),
        (b'"time,sensor,value\n' * 9000, {}, "bad_header"),
        (b'"time"x,value\n', {}, "bad_header"),
    ],
)
def test_what_is_no_such_file_is_refused_whole(data: bytes, shape: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(data, **shape)
    assert caught.value.reason == reason
    assert str(caught.value)


@pytest.mark.parametrize("part", [0, 1, 3])
@pytest.mark.parametrize("name", ["gzip", "Parquet", "Arrow", "ZIP"])
def test_a_file_of_another_format_is_called_by_its_name(name: str, part: int) -> None:
    table, sink = pa.table({"time": [1, 2]}), io.BytesIO()
    if name == "gzip":
        sink.write(gzip.compress(LONG))
    elif name == "Parquet":
        pq.write_table(table, sink)
    elif name == "Arrow":
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    else:
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("sheet.xml", "")
    with pytest.raises(BadFile, match=name) as caught:
        read(sink.getvalue(), part=part)
    assert caught.value.reason == "bad_encoding"


@pytest.mark.parametrize("sensor", ["PAR1", "ARROW1", "PK", "P"])
@pytest.mark.parametrize("part", [0, 1])
def test_a_header_may_begin_as_a_file_of_another_format(sensor: str, part: int) -> None:
    assert readings(f"{sensor},time\n1,{T}\n".encode(), part=part) == [Reading(sensor, T_US, 1, None)]


def test_other_bytes_in_one_line_cost_that_line() -> None:
    taken, bad = read(LONG + f"{T},s,gr\xfc\xdf,,string\n".encode("latin-1") + f"{T},s,1,,\n".encode())
    assert [(item.line, item.reason) for item in bad] == [(2, "bad_encoding")]
    assert len(taken) == 1


def test_a_line_of_another_device_is_not_taken() -> None:
    data = f"device,time,sensor,value\nd,{T},s,1\nother,{T},s,1\n".encode()
    taken, bad = read(data)
    assert len(taken) == 1
    assert [(item.line, item.reason, item.column) for item in bad] == [(3, "other_device", "device")]


def test_a_part_of_a_file_brings_its_header_along_and_counts_on() -> None:
    taken, bad = read(f"{T},s,1,,\n{T},s,x,,\n".encode(), header=LONG.decode(), first_line=1001)
    assert [item.line for item in taken] == [1001]
    assert [item.line for item in bad] == [1002]


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(st.lists(CELLS, max_size=12), st.integers(1, 40))
def test_what_a_csv_writer_wrote_is_read_again(cells: list[str], part: int) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(
        [["time", "sensor", "value", "kind"], *([T, "s", cell, "string"] for cell in cells)]
    )
    assert [reading.value for reading in readings(out.getvalue().encode(), part=part)] == cells


@given(st.binary(max_size=300), st.integers(1, 60))
def test_no_bytes_make_it_fail_otherwise(data: bytes, part: int) -> None:
    try:
        read(LONG + data, part=part)
        read(data, part=part)
    except BadFile as error:
        assert error.reason in {"bad_encoding", "bad_header", "bad_line_ends"}  # noqa: PT017


@given(st.binary(max_size=200).map(lambda data: data.replace(b"\x00", b"")), st.integers(1, 50))
def test_parts_of_any_size_give_the_same(data: bytes, part: int) -> None:
    assert read(LONG + data, part=part) == read(LONG + data)
