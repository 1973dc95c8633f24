"""What the seed mail demands of any protocol, over all rows; and who breaks it, as posted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agewalk.model.protocols.registry import PROTOCOLS, get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table
from agewalk.model.protocols.tables.table import AgeRow, ProtocolTable

NAMES = [*PROTOCOLS, "houghton:must_check=rmaps", "christopherson:variant=repaired"]
TABLES = {name: protocol_table(get_protocol(name)) for name in NAMES}

ROW_RULES: dict[str, Callable[[AgeRow], bool]] = {
    "I1 a test changes no SPTE": lambda r: r.op == "clear" or not (r.fast_cleared or r.slow_cleared),
    "I2 a young TDP SPTE is reported": lambda r: not (r.op == "test" and r.fast) or r.young,
    "I3 fast_only takes no mmu_lock": lambda r: not (r.fast_only and r.locked),
    "I5 a cleared bit is reported": lambda r: not (r.fast_cleared or r.slow_cleared) or r.young,
    "I6 WAS_FAST means a fast MMU was young": lambda r: "WAS_FAST" not in r.flags or r.fast,
}
BROKEN = {("v5", "I2 a young TDP SPTE is reported")}  # FAST_FAILED once rmaps exist: the seed mail's fifth argument


@pytest.mark.parametrize("rule", ROW_RULES)
@pytest.mark.parametrize("name", NAMES)
def test_rows(name: str, rule: str) -> None:
    broken = [r for r in TABLES[name].age if not ROW_RULES[rule](r)]
    assert bool(broken) is ((name, rule) in BROKEN), broken
    assert all(r.fast_only and r.rmaps for r in broken)


def neighbours_wait(table: ProtocolTable) -> bool:
    """I7: are neighbours ever asked in a way that takes mmu_lock?"""
    return any(r.costs.mmu_lock_write for r in table.rows if r.question == "neighbour")


def test_neighbours_are_asked_only_where_that_is_fast() -> None:
    """I7. 6.13 is the one that breaks it: look-around of up to 64 pages, each under mmu_lock."""
    assert {n for n in NAMES if neighbours_wait(TABLES[n])} == {"linux-6.13"}


def test_no_question_loses_an_accessed_bit() -> None:
    """I5 for MGLRU: whatever bit a question clears, of any MMU, its answer is young. v5, v7 and all others keep to it."""
    for name, table in TABLES.items():
        for r in table.rows:
            if r.primary_cleared or r.fast_cleared or r.slow_cleared:
                assert r.young, (name, r)
