"""Tables fit the terminal, whatever is in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from simway_cli.table import Cell, Column, Style, clean, cut, render, width_of

PLAIN = Style(False)
COLUMNS = [Column("id"), Column("name", gives=True), Column("note", gives=True, spare=1), Column("n", right=True)]
ROWS = st.lists(st.tuples(st.text(max_size=12), st.text(max_size=60), st.text(max_size=200), st.integers().map(str)), max_size=6)


def test_columns_line_up_and_numbers_stand_right() -> None:
    assert render(COLUMNS, [["a", "one", "", "5"], ["bb", "", "x", "12"]], width=None, style=PLAIN) == [
        "id  name  note   n",
        "a   one          5",
        "bb        x     12",
    ]


def test_what_is_too_wide_is_cut_and_spare_columns_go_first() -> None:
    row = ["id-1", "a name that is long", "a note that is longer still", "5"]
    assert render(COLUMNS, [row], width=50, style=PLAIN)[1] == "id-1  a name that is long  a note that is long…  5"
    assert render(COLUMNS, [row], width=24, style=PLAIN) == ["id    name             n", "id-1  a name that is…  5"]


@given(ROWS, st.integers(20, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    lines = render(COLUMNS, rows, width=width, style=PLAIN)
    assert len(lines) == len(rows) + 1
    assert all(width_of(line) <= width for line in lines)


@given(st.text())
def test_nothing_printed_moves_the_cursor(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


def test_a_devices_words_do_not_colour_the_screen() -> None:
    assert clean("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert "\x1b" not in "".join(render(COLUMNS, [["\x1b[2J", "", "", "\n"]], width=80, style=PLAIN))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"])), st.integers(1, 30))
def test_cut_keeps_within_the_width(text: str, width: int) -> None:
    assert width_of(cut(text, width)) <= width


def test_wide_characters_count_twice() -> None:
    assert width_of("温度") == 4
    assert cut("温度計の値", 6) == "温度…"


def test_colours_do_not_change_widths() -> None:
    painted = render([Column("state"), Column("x")], [[Cell("FAILED", "red"), "1"]], width=80, style=Style(True))
    assert painted[1] == "\x1b[31mFAILED\x1b[0m  1"
