"""The one table helper: whatever it is given, it fits, and keeps every number whole."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agewalk.report.table import PIPE, Cell, Column, cells, listed, paragraph, room, short, table, wrapped

NAME = st.text("abcdefgh漢é:=-", min_size=1, max_size=40)
NUMBER = st.one_of(st.integers(0, 10**12).map("{:,}".format), st.floats(0, 1).map("{:.4f}".format))
PROSE = st.lists(st.one_of(st.text("abcdefg漢", min_size=1, max_size=12), NUMBER), max_size=12).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[list[str | Cell]]]:
    kinds = draw(st.lists(st.sampled_from(["number", "prose"]), min_size=1, max_size=8))
    columns = [Column("name", prose=draw(st.booleans()))]
    columns += [
        Column(f"{kind} {chr(97 + i)}", right=kind == "number", prose=kind == "prose") for i, kind in enumerate(kinds)
    ]
    rows: list[list[str | Cell]] = [
        [draw(NAME), *(Cell(draw(NUMBER), "best") if kind == "number" else draw(PROSE) for kind in kinds)]
        for _ in range(draw(st.integers(0, 4)))
    ]
    return columns, rows


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d[\d,.]*", text))


@given(tables(), st.integers(34, 200), st.booleans(), st.integers(1, 2))
def test_it_fits_and_keeps_every_number(
    made: tuple[list[Column], list[list[str | Cell]]], width: int, rule: bool, keys: int
) -> None:
    columns, rows = made
    text = table(columns, rows, width=width, rule=rule, keys=min(keys, len(columns) - 1))
    assert max(map(cells, text.splitlines())) <= width if text else not rows
    said = [cell.text if isinstance(cell, Cell) else cell for row in rows for cell in row[1:]]
    assert numbers(text) == sorted(n for cell in said for n in numbers(cell))


def test_a_wide_table_becomes_several_with_the_first_column_again() -> None:
    columns = [Column("policy"), *(Column(f"column {c}", right=True) for c in "abcd")]
    text = table(columns, [["v7", "1", "2", "3", "4"], ["v5", "5", "6", "7", "8"]], width=40)
    assert text == (
        "policy  column a  column b  column c\n"
        "v7             1         2         3\n"
        "v5             5         6         7\n"
        "\n"
        "policy  column d\n"
        "v7             4\n"
        "v5             8\n"
    )


def test_rows_that_need_two_columns_to_be_told_apart_become_a_list() -> None:
    columns = [Column("part"), Column("feature"), Column("6.18"), Column("what it means", prose=True)]
    rows = [["mm", "gup_marks_folio", "True", "FOLL_TOUCH calls folio_mark_accessed() itself."]]
    assert table(columns, rows, width=40, keys=2) == (
        "mm, gup_marks_folio\n  6.18: True\n  what it means: FOLL_TOUCH calls\n  folio_mark_accessed() itself.\n"
    )


def test_styles_take_no_room() -> None:
    plain = table([Column("a"), Column("b", right=True)], [["x", Cell("12", "best")]], width=40)
    styled = table([Column("a"), Column("b", right=True)], [["x", Cell("12", "best")]], width=40, colour=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", styled) == plain
    assert "\x1b[1;32m12\x1b[0m" in styled


@pytest.mark.parametrize("text", ["linux-6.18", "漢字" * 9, "a" * 50, "\x1b[31m"])
def test_short_names_fit(text: str) -> None:
    assert cells(short(text, 14)) <= 14
    assert wrapped(text, 14)[0] == wrapped(text, 14)[0].rstrip()


def test_a_long_word_is_not_cut_in_a_number() -> None:
    assert wrapped("6.12.117+deb12-cloud-amd64", 23) == ["6.12.117+deb12-cloud-", "amd64"]
    assert wrapped("share 57 % of 100", 8) == ["share", "57 % of", "100"]


def test_lists_stand_below_their_names_where_it_is_narrow() -> None:
    assert listed({"name": "what it is"}, 60) == ["  name  what it is"]
    assert listed({"a" * 30: "what it is"}, 40) == ["  " + "a" * 30, "      what it is"]


def test_the_room_is_what_columns_says_or_a_pipe_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room() == PIPE
    assert paragraph("a " * 300) == ("a " * 300).rstrip() + "\n"  # one line where there is no terminal
    monkeypatch.setenv("COLUMNS", "44")
    assert room() == 44
    assert max(map(len, paragraph("  b a " * 30).splitlines())) <= 44
    monkeypatch.setenv("COLUMNS", "nonsense")
    assert room() == PIPE
