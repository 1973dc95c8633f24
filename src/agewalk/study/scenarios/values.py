"""Values of a scenario: sizes and times with a unit and sensible bounds, names, traces."""

import os
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from agewalk.core.errors import InputError
from agewalk.core.units import PAGE_SIZE, Bytes, Ns, format_size, parse_size, parse_time

LEAST_PAGES: Final = 16  # of a host
MOST_MEMORY: Final = Bytes(1 << 52)  # what x86 can address
MOST_TIME: Final = Ns(11_930 * 3600 * 10**9)  # a little less than 2^31 ticks of the truth about last uses
MOST_PATH: Final = 4096  # PATH_MAX


def _size(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a size with a unit: write it as text, such as '{_digits(value)} MiB'")
    size = parse_size(value)
    if size < PAGE_SIZE:
        raise ValueError(f"{value!r} holds no page of {PAGE_SIZE} bytes")
    if size < LEAST_PAGES * PAGE_SIZE:
        raise InputError(f"{value!r} holds fewer than {LEAST_PAGES} pages", hint="give the host at least 64 KiB")
    if size > MOST_MEMORY:
        raise InputError(f"{value!r} is more than {format_size(MOST_MEMORY)}", hint="no x86 host can address that much")
    return size


def _time(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a time with a unit: write it as text, such as '{_digits(value)} ms'")
    time = parse_time(value)
    if time > MOST_TIME:
        raise InputError(f"{value!r} is longer than {MOST_TIME // (3600 * 10**9):,} h", hint="runs are not that long")
    return time


def _period(value: object) -> int:
    time = _time(value)
    if time < 1_000_000:
        raise ValueError(f"{value!r} is shorter than 1 ms: no host ages that often")
    return time


def _source(value: object) -> object:
    if not isinstance(value, str | os.PathLike):
        if all(hasattr(value, name) for name in ("name", "meta", "rows", "batches")):
            return value
        raise ValueError(f"{value!r} is neither the path of a trace nor a trace")
    text = os.fspath(value)
    if not isinstance(text, str) or not 0 < len(text) <= MOST_PATH:
        raise ValueError("is not the path of a trace")
    return text


def _digits(value: object) -> str:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else "512"


Size = Annotated[Bytes, BeforeValidator(_size)]
Time = Annotated[Ns, BeforeValidator(_time)]
Period = Annotated[Ns, BeforeValidator(_period)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Source = Annotated[Any, BeforeValidator(_source)]  # the path of a trace, or a trace
Thp = Literal["never", "always"]  # of the process's memory: 4 KiB pages, or 2 MiB at once where they fit and are free


def _mthp_size(value: object) -> Bytes:
    size = parse_size(value) if isinstance(value, str) else Bytes(0)
    if size & (size - 1) or not 2 * PAGE_SIZE <= size <= 1 << 20:
        raise ValueError(f'{value!r} is not a power of two from 8 KiB to 1 MiB; thp = "always" is for 2 MiB')
    return size


# Sizes of folios that a fault may take (hugepages-*kB/enabled).
Mthp = list[Annotated[Bytes, BeforeValidator(_mthp_size)]]
