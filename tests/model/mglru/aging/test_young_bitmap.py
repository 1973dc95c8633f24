"""v2 and v3: one question about up to 64 pages, one clear for those that were young."""

from __future__ import annotations

import pytest

from agewalk.core.cells import Cell
from agewalk.core.units import PAGE_SIZE, Hva, Pages
from agewalk.model.kvm.mmu.spte import is_accessed_spte, spte_to_pfn
from agewalk.model.machine import Machine, Process, VirtualMachine
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm import pte as p
from agewalk.model.mm.mm import pte_index
from agewalk.model.profiles import profile
from agewalk.model.protocols.registry import get_protocol

TESTS, CLEARS = "__mmu_notifier_test_young", "__mmu_notifier_clear_young"


def pte(process: Process, page: int) -> Cell:
    """A page's entry in the process's tables."""
    hva = process.hva(page)
    return process.mm.table_of(process.mm.pmd_cell(hva).value).ptes[pte_index(hva)]


def vm_of(protocol: str, pages: int, mmu: str = "tdp") -> tuple[Machine, VirtualMachine]:
    """A VM whose pages are all mapped, and old."""
    machine = Machine(profile("6.9"), get_protocol(protocol), memory=Pages(4000))
    process = machine.add_process("qemu", Pages(pages))
    vm = machine.start_vm(process, mmu=mmu)
    for page in range(pages):
        machine.touch_guest(vm, page, write=True)
    machine.drain()
    machine.cpu.run(mmu_notifier.clear_young(process.mm, process.start, process.hva(pages)))
    for page in range(pages):
        pte(process, page).value &= ~p.ACCESSED
    return machine, vm


def young(vm: VirtualMachine, page: int) -> bool:
    """Is a page's SPTE in the TDP MMU young?"""
    kvm, table = vm.kvm, vm.vcpu.roots[0].value
    gfn = vm.base_gfn + page
    while True:
        spte = table.entry_of(gfn).value
        if table.level == 1:
            return is_accessed_spte(kvm.format, spte)
        table = kvm.page_at(spte_to_pfn(spte))


def aged(machine: Machine) -> dict[str, int]:
    before = machine.counters.snapshot()
    machine.age()
    return dict(machine.counters.since(before))


def test_one_call_asks_about_64_pages_and_one_clears_them() -> None:
    machine, vm = vm_of("v3", 150)
    for page in (3, 40, 70):
        machine.touch_guest(vm, page, write=False)
    counted = aged(machine)
    assert counted[TESTS] == 3  # 64, 64 and 22 pages
    assert counted[CLEARS] == 2  # nothing was young in the last
    assert not any(young(vm, page) for page in range(150))
    single, vm = vm_of("linux-6.15", 150)
    assert aged(single)[CLEARS] == 150


def test_a_page_that_is_passed_over_keeps_its_bit() -> None:
    """get_pfn_folio() finds no folio that could be aged: clear_young_bitmap() leaves the page out."""
    machine, vm = vm_of("v3", 64)
    for page in (3, 40):
        machine.touch_guest(vm, page, write=False)
    pfn = p.pte_pfn(pte(vm.process, 40).value)
    folio = machine.memory.mem_map.pop(pfn)
    assert aged(machine)[CLEARS] == 1
    assert not young(vm, 3)
    assert young(vm, 40)
    machine.memory.mem_map[pfn] = folio


@pytest.mark.parametrize(("protocol", "both"), [("v2", False), ("v3", True)])
def test_a_test_of_v2_ends_at_the_first_vm_that_has_a_young_page(protocol: str, both: bool) -> None:
    """20230526234435.662652-1-yuzhao@google.com: `if (young && !clear) break`, with a bitmap as well. v3 goes on."""
    machine, older = vm_of(protocol, 8)
    newer = machine.start_vm(older.process)
    machine.touch_guest(older, 1, write=False)
    machine.touch_guest(newer, 2, write=False)
    mm, start = older.process.mm, older.process.start
    found = machine.cpu.run(machine.protocol.test_bitmap(mm, start, Hva(start + 8 * PAGE_SIZE)))
    assert found == (0b110 if both else 0b100)


def test_a_bitmap_says_nothing_of_a_vm_that_ran_a_nested_guest() -> None:
    machine, vm = vm_of("v3", 8)
    machine.start_nested(vm)
    machine.end_nested(vm)
    machine.touch_guest(vm, 1, write=False)
    counted = aged(machine)
    assert (counted[TESTS], counted.get(CLEARS, 0)) == (1, 0)
    assert young(vm, 1)


def test_v2_does_not_read_tables_that_the_process_did_not_use() -> None:
    """Its walk keeps the shortcut of old PMD entries, v3's ends it for a process that has notifiers."""
    for protocol, tests in (("v2", 0), ("v3", 1)):
        machine, vm = vm_of(protocol, 32)
        machine.age()
        machine.touch_guest(vm, 1, write=False)
        assert aged(machine).get(TESTS, 0) == tests, protocol
        assert young(vm, 1) is (protocol == "v2")
