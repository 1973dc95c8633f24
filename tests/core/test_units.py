"""Units are types; text carries its unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agewalk.core.errors import InputError
from agewalk.core.units import Bytes, format_size, format_time, pages_of, parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("640 MiB", 671_088_640), ("1.5 GiB", 1_610_612_736), ("4096 B", 4096), ("2TiB", 2 << 40), (" 1 KiB ", 1024)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize(
    ("text", "ns"), [("80 us", 80_000), ("2 s", 2 * 10**9), ("0.5 ms", 500_000), ("0 s", 0), ("1 min", 60 * 10**9)]
)
def test_times(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    "text",
    ["640", "640 MB", "MiB", "-1 MiB", "1e3 MiB", "", "640 mib", "８ MiB", "٥ MiB", "1.５ MiB", "9" * 5000 + " B"],
)
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_size(text)
    assert error.value.hint
    assert error.value.exit_code == 2


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(InputError) as error:
        parse_size("640 mib")
    assert error.value.hint == "did you mean '640 MiB'?"


def test_formats() -> None:
    assert format_size(671_088_640) == "640 MiB"
    assert format_size(1536) == "1.50 KiB"
    assert format_time(80_000) == "80 us"
    assert format_time(1_234_000_000) == "1.23 s"
    assert format_size(0) == "0 B"


@given(st.integers(0, 1 << 50))
def test_pages_are_whole(size: int) -> None:
    assert pages_of(Bytes(size)) * 4096 <= size < (pages_of(Bytes(size)) + 1) * 4096


@pytest.mark.parametrize(
    ("parse", "text", "meant"),
    [
        (parse_size, "64G", "64 GiB"), (parse_size, "24M", "24 MiB"), (parse_size, "24 MB", "24 MiB"),
        (parse_size, "24 mb", "24 MiB"), (parse_size, "1 k", "1 KiB"), (parse_size, "2 T", "2 TiB"),
        (parse_size, "5 bytes", "5 B"),
        (parse_time, "30 sec", "30 s"), (parse_time, "2m", "2 min"), (parse_time, "5 µs", "5 us"), (parse_time, "1 hour", "1 h"),
    ],
)  # fmt: skip
def test_a_unit_that_people_write_is_met_with_the_one_that_is_meant(parse, text: str, meant: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        parse(text)
    assert caught.value.hint == f"did you mean '{meant}'?"
    assert parse(meant)


def test_a_unit_of_another_kind_is_not_guessed() -> None:
    for parse, text in ((parse_size, "5 s"), (parse_time, "5 MiB"), (parse_size, "5 parsec")):
        with pytest.raises(InputError) as caught:
            parse(text)
        assert "did you mean" not in caught.value.hint
