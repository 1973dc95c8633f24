"""What the seed mail demands of any protocol, over all rows; and who breaks it, as posted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agewalk.model.protocols.registry import PROTOCOLS, get_protocol
from agewalk.model.protocols.tables.enumerate import protocol_table
from agewalk.model.protocols.tables.table import AgeRow, ProtocolTable

NAMES = [*PROTOCOLS, "houghton:must_check=rmaps", "christopherson:variant=repaired", "v6:variant=repaired"]
TABLES = {name: protocol_table(get_protocol(name)) for name in NAMES}

ROW_RULES: dict[str, Callable[[AgeRow], bool]] = {
    "I1 a test changes no SPTE": lambda r: r.op == "clear" or not (r.fast_cleared or r.slow_cleared),
    "I2 a young TDP SPTE is reported": lambda r: not (r.op == "test" and r.fast) or r.young,
    "I3 fast_only takes no mmu_lock": lambda r: not (r.fast_only and r.locked),
    "I5 a cleared bit is reported": lambda r: not (r.fast_cleared or r.slow_cleared) or r.young,
    "I6 WAS_FAST means a fast MMU was young": lambda r: "WAS_FAST" not in r.flags or r.fast,
}
BROKEN: dict[tuple[str, str], Callable[[AgeRow], bool]] = {
    # FAST_FAILED once rmaps exist: the seed mail's fifth argument
    ("v5", "I2 a young TDP SPTE is reported"): lambda r: r.fast_only and r.rmaps,
    # 8/11 assigns the shadow MMU's answer to what the TDP MMU said
    ("v6", "I5 a cleared bit is reported"): lambda r: not r.fast_only and r.shadow_pages and not r.slow,
}


@pytest.mark.parametrize("rule", ROW_RULES)
@pytest.mark.parametrize("name", NAMES)
def test_rows(name: str, rule: str) -> None:
    broken = [r for r in TABLES[name].age if not ROW_RULES[rule](r)]
    assert bool(broken) is ((name, rule) in BROKEN), broken
    assert all(BROKEN[name, rule](r) for r in broken)


def neighbours_wait(table: ProtocolTable) -> bool:
    """I7: are neighbours ever asked in a way that takes mmu_lock?"""
    return any(r.costs.mmu_lock_write for r in table.rows if r.question == "neighbour")


def test_neighbours_are_asked_only_where_that_is_fast() -> None:
    """I7. 6.13 breaks it: look-around of up to 64 pages, each under mmu_lock. v4 would, if it looked around a VM's pages."""
    assert {n for n in NAMES if neighbours_wait(TABLES[n])} == {"linux-6.13", "v4"}
    assert not any(r.look_around for r in TABLES["v4"].rows if r.question == "target" and r.state.has_notifiers)


def test_no_question_loses_an_accessed_bit() -> None:
    """I5 for MGLRU: whatever bit a question clears, of any MMU, its answer is young. v6 as posted loses the TDP MMU's."""
    lost = [
        (name, r)
        for name, table in TABLES.items()
        for r in table.rows
        if (r.primary_cleared or r.fast_cleared or r.slow_cleared) and not r.young
    ]
    assert lost
    for name, r in lost:
        assert (name, r.question, r.fast_cleared, r.state.shadow_pages) == ("v6", "target", True, True)
