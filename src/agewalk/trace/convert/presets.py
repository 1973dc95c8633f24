"""Formats that are separated text with known columns: MSR's block traces and gem5's packet traces."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agewalk.trace.convert.columns import PLACES, Columns
from agewalk.trace.convert.source import Source

#: Timestamp (100 ns since 1601), Hostname, DiskNumber, Type, Offset, Size, ResponseTime: SNIA's IOTTA trace 388, its README
MSR: Final = Columns(time="1", write="4", address="5", size="6", delimiter=",", time_unit="100 ns", constant=("2", "3"))
_COMMAND: Final = re.compile(r"[a-z]|read[a-z]*|write[a-z]*", re.IGNORECASE)


def gem5(source: Source, rows: Sequence[Sequence[str]], columns: Columns) -> Columns:
    """The columns of a packet trace as text: tick, command, address, size; or command, address, size, tick.

    The second is what gem5's util/encode_packet_trace.py reads. With a fifth column, flags and tick have no fixed order.
    """
    if columns.asked():
        return columns
    first = [cell.strip() for cell in rows[-1]]
    command = next((i for i, cell in enumerate(first) if _COMMAND.fullmatch(cell)), None)
    if command == 1 and len(first) == 4:
        found = Columns(time="1", write="2", address="3", size="4")
    elif command == 0 and len(first) == 4:
        found = Columns(write="1", address="2", size="3", time="4")
    else:
        raise source.error(
            f"{len(first)} columns, the first {', '.join(map(repr, first[:5]))}: not tick, command, address, size, "
            "nor command, address, size, tick",
            hint="number them: --time-column, --address-column, --size-column, --write-column",
        )
    if columns.time_unit is None:
        source.account.assume("a tick is a picosecond, gem5's default (--time-unit says otherwise)")
        found = replace(found, time_unit="ps")
    return merge(found, columns)


def merge(preset: Columns, asked: Columns) -> Columns:
    """The preset, but for what was asked for; a place that is asked for replaces the preset's."""
    given = {name: value for name in Columns.__slots__ if (value := getattr(asked, name)) != getattr(Columns(), name)}
    if any(place in given for place in PLACES):
        given = {**dict.fromkeys(PLACES), "size": None, **given}
    return replace(preset, **given)
