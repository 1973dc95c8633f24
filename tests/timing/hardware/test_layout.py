"""Which fields share a cache line, and that the declarations name what there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.units import Pfn
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.mm.mm_types import Mm, PteTable
from agewalk.model.protocols.registry import get_protocol
from agewalk.timing.hardware.cache_lines import LineMap
from agewalk.timing.hardware.layout import LAYOUT, PER_CPU, PER_CPU_COUNTERS
from agewalk.timing.workloads.host import build


def test_words_of_an_array_lie_eight_to_a_line() -> None:
    table = PteTable(Pfn(1), "table")
    lines = LineMap()
    assert lines.cell(table.ptes[0]) is lines.cell(table.ptes[7])
    assert lines.cell(table.ptes[7]) is not lines.cell(table.ptes[8])
    assert lines.lock(table.ptl) is not lines.cell(table.ptes[0])


def test_layout_follows_the_structs() -> None:
    mm = Mm("mm")
    lines = LineMap()
    assert lines.lock(mm.mmap_lock) is lines.lock(mm.page_table_lock)
    assert lines.cell(mm.notifier_subscriptions) is not lines.lock(mm.mmap_lock)
    plain = Object("plain")
    assert lines.cell(Cell(plain, "a")) is lines.lock(Lock(plain, "b"))


def owned(owner: Object) -> Iterator[Cell | Lock]:
    """The cells and locks of an object, in its slots and in tuples, lists and dicts there."""
    todo: list[Any] = [
        getattr(owner, slot, None) for cls in type(owner).__mro__ for slot in getattr(cls, "__slots__", ())
    ]
    todo += vars(owner).values() if hasattr(owner, "__dict__") else ()
    while todo:
        found = todo.pop()
        if isinstance(found, Cell | Lock) and found.owner is owner:
            yield found
        elif isinstance(found, tuple | list):
            todo += found
        elif isinstance(found, dict):
            todo += found.values()


def unknown() -> list[str]:
    """Declared fields that no cell or lock of such an owner has."""
    host = build(kernel="6.13", protocol=get_protocol("v7"), vcpus=1, pages_per_vcpu=16)
    owners: list[Object] = [host.mm, host.kvm, host.lruvec, host.memory, host.memory.batches, PteTable(Pfn(1), "table")]
    declared = [(cls, field) for cls, layout in LAYOUT.items() for field in layout]
    declared += PER_CPU_COUNTERS
    known = {(cls, str(cell.field).partition("[")[0]) for o in owners for cls in type(o).__mro__ for cell in owned(o)}
    return [f"{cls.__name__}.{field}" for cls, field in declared if (cls, field) not in known]


def test_every_declared_field_is_one() -> None:
    assert unknown() == []
    assert all(type(b) in PER_CPU for b in [build_batches()])


def build_batches() -> Object:
    return build(kernel="6.13", protocol=get_protocol("v7"), vcpus=1, pages_per_vcpu=16).memory.batches


@pytest.mark.parametrize(("cls", "field"), [(Kvm, "tdp_roots"), (Mm, "mmap_sem")])
def test_a_field_that_is_none_is_found(cls: type, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded fault: a field by the name of its slot, and one that was renamed."""
    monkeypatch.setitem(LAYOUT[cls], field, "line")
    assert unknown() == [f"{cls.__name__}.{field}"]
