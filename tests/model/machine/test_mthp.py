"""Folios between 4 KiB and 2 MiB: taken at a fault, asked about by one call, aged and reclaimed as one."""

from __future__ import annotations

import pytest

from agewalk.core.units import Bytes, Gfn, Pages
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.rmap import kvm_rmap_age_gfn_range
from agewalk.model.machine import Machine, Process, VirtualMachine
from agewalk.model.machine.classic_host import TwoListMachine
from agewalk.model.machine.view import folio_of
from agewalk.model.mm.rmap import folio_referenced
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol


def host(
    kernel: str, *, orders: int = 1 << 4, pages: int = 2048, memory: int = 1 << 16, mmu: str = "tdp"
) -> tuple[Machine, Process, VirtualMachine]:
    known = profile(kernel)
    machine = Machine(known, get_protocol(known.protocol), memory=Pages(memory))
    process = machine.add_process("p", Pages(pages), orders=orders)
    return machine, process, machine.start_vm(process, mmu=mmu)


@pytest.mark.parametrize("mmu", ["tdp", "legacy", "shadow"])
@pytest.mark.parametrize(("kernel", "questions"), [("6.18", 2048), ("7.3", 128)])
def test_a_walk_of_7_1_asks_once_for_16_pages(kernel: str, questions: int, mmu: str) -> None:
    machine, _, vm = host(kernel, mmu=mmu)
    for page in range(2048):
        machine.touch_guest(vm, page, write=True)
    machine.age()
    before = machine.counters.snapshot()
    machine.age()
    counts = machine.counters.since(before)
    assert counts["__mmu_notifier_clear_young"] == questions
    assert counts["kvm_age_gfn"] == questions
    assert counts["ptes_walked"] == 2048


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.3"])
def test_one_touch_keeps_its_16_pages_and_no_others(kernel: str) -> None:
    machine, process, vm = host(kernel)
    for page in range(2048):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    for _ in range(3):
        machine.age()
    for _ in range(2):  # 6.14: the first access seen only marks
        machine.touch_guest(vm, 37, write=False)
        machine.age()
    young = [page for page, seen in enumerate(machine.view(process)) if seen.seq == machine.max_seq - 1]
    assert young == list(range(32, 48))


def test_a_fault_takes_the_largest_size_that_meets_no_entry() -> None:
    machine, process, _ = host("7.3", orders=1 << 4 | 1 << 2, pages=40)
    machine.touch_host(process, 5, write=False)  # the zero page
    machine.touch_host(process, 0, write=True)  # 16 pages would meet it
    machine.touch_host(process, 20, write=True)
    machine.touch_host(process, 39, write=True)  # 16 pages would leave the VMA
    machine.drain()
    there = [page for page, seen in enumerate(machine.view(process)) if seen.lru]
    assert there == [*range(4), *range(16, 40)][: 4 + 16] + list(range(36, 40))


@pytest.mark.parametrize("kernel", ["6.1", "7.3"])
def test_nothing_is_reclaimed_for_a_large_folio(kernel: str) -> None:
    machine, process, _ = host(kernel, memory=3000, orders=1 << 8)
    machine.touch_host(process, 0, write=True)
    machine.drain()
    there = sum(1 for seen in machine.view(process) if seen.lru)
    assert there == (1 if kernel == "6.1" else 256)  # multi-size THP came with 6.8


def test_what_goes_whole_comes_back_whole() -> None:
    machine, process, vm = host("7.3")
    for page in range(2048):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    for _ in range(3):
        machine.age()
    free = machine.memory.free.value
    assert machine.reclaim(Bytes(1 << 20)) == 0
    gone = [page for _, page in machine.taken()]
    assert len(gone) >= 256
    assert len(gone) % 16 == 0
    assert sorted({page // 16 for page in gone}) == sorted({page // 16 for page in gone[::16]})
    assert machine.memory.free.value == free + len(gone)
    machine.touch_guest(vm, gone[3], write=False)
    assert [page for page, seen in enumerate(machine.view(process)) if seen.swapped] == [
        page for page in sorted(gone) if page // 16 != gone[3] // 16
    ]


def test_a_part_that_is_unmapped_leaves_the_rest_mapped() -> None:
    machine, process, vm = host("7.3", pages=64)
    for page in range(64):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    free = machine.memory.free.value
    machine.unmap(process, 0, 8)
    assert machine.memory.free.value == free
    machine.age()
    before = machine.counters.snapshot()
    machine.age()
    assert machine.counters.since(before)["__mmu_notifier_clear_young"] == 4  # 8 pages, and three times 16
    machine.unmap(process, 8, 8)
    assert machine.memory.free.value == free + 16


def test_in_6_14_young_pages_of_a_folio_are_one_access() -> None:
    seen = {}
    for kernel in ("6.12", "6.18"):
        machine, process, vm = host(kernel, pages=64)
        for page in range(64):
            machine.touch_host(process, page, write=True)
        machine.drain()
        machine.age()
        seen[kernel] = {(view.seq == machine.max_seq - 1, view.workingset) for view in machine.view(process)}
        assert vm.running
    assert seen["6.12"] == {(True, 0)}
    assert seen["6.18"] == {(False, 0)}  # marked, not promoted: a second call would have set PG_workingset


@pytest.mark.parametrize(("kernel", "each"), [("6.18", 16), ("7.3", 1)])
def test_without_mglru_7_0_asks_once_about_a_folio(kernel: str, each: int) -> None:
    known = profile(kernel)
    machine = TwoListMachine(known, get_protocol(known.protocol), memory=Pages(1 << 16))
    process = machine.add_process("p", Pages(2048), orders=1 << 4)
    vm = machine.start_vm(process)
    for page in range(2048):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    folio = folio_of(machine.memory, process, 100)
    assert folio is not None
    before = machine.counters.snapshot()
    assert machine.cpu.run(folio_referenced(folio)) == (1, False)
    assert machine.counters.since(before)["__mmu_notifier_clear_young"] == each
    assert machine.cpu.run(folio_referenced(folio)) == (0, False)


@pytest.mark.parametrize(("kernel", "found"), [("6.12", True), ("6.18", False), ("7.3", False)])
def test_the_rmap_walk_of_6_15_strides_from_where_the_range_begins(kernel: str, found: bool) -> None:
    known = profile(kernel)
    machine = Machine(known, get_protocol(known.protocol), memory=Pages(1 << 16))
    vm = machine.start_vm(machine.add_process("p", Pages(1024), huge=True), mmu="legacy")
    machine.touch_guest(vm, 600, write=True)  # the second 2 MiB, by one SPTE
    slot = vm.kvm.memslots[0].value[0][0]
    middle = GfnRange(slot, Gfn(vm.base_gfn + 511), Gfn(vm.base_gfn + 514), True, False)
    bit_lock = known.kvm.rmap_bit_lock
    assert machine.cpu.run(kvm_rmap_age_gfn_range(vm.kvm, middle, test_only=True, bit_lock=bit_lock)) is found
    inside = GfnRange(slot, Gfn(vm.base_gfn + 513), Gfn(vm.base_gfn + 514), True, False)
    assert machine.cpu.run(kvm_rmap_age_gfn_range(vm.kvm, inside, test_only=True, bit_lock=bit_lock))
