"""What the recorder of whole workloads does in its cgroup besides the accesses (tools/lab/workload/replay.c).

It is a process like any other: the pages that it writes are charged, age, and are reclaimed with the workload's. Which ones they
are was read off its page faults on 6.12.117 (trace event exceptions:page_fault_user).
"""

from __future__ import annotations

from typing import Final

from agewalk.core.units import PAGE_SHIFT, Hva, Pages
from agewalk.model.machine import Machine, Process
from agewalk.model.mm.faults.access import access
from agewalk.model.mm.faults.handle_mm_fault import pte_alloc
from agewalk.model.mm.mm_types import Vma
from agewalk.model.profiles import Profile

_BSS: Final = Hva(0x5C8000)
_HEAP: Final = Hva(0x10379000)
_ENTRIES_A_PAGE: Final = 512  # of /proc/PID/pagemap, 8 bytes each

#: Folios that the recorder adds to the CPU's batch after it was last drained and before it enters the cgroup: 64 scratch pages,
#: 256 of a buffer; with a VM also the 1,024 of the guest's control area.
_OWN_FOLIOS: Final = 320
_OWN_FOLIOS_KVM: Final = 1344

#: Kernels that count a page of zeroes in pswpin when it comes back. From 0ca0c24e3211 (6.12) on a bitmap notes it instead.
_COUNTS_ZEROES: Final = frozenset({"6.1", "6.9"})

#: Pages of kernel memory that the cgroup is charged for at the start of a run, page tables aside (memory.stat): slab objects, and
#: the stack of a thread where KVM starts its worker at the first KVM_RUN (call_once(), 6.12.117 on).
_SLAB: Final = 1
_SLAB_KVM: Final = {"6.1": 5}
_SLAB_KVM_LATER: Final = 7
_KERNEL_STACK: Final = 4


def kernel_pages(kernel: Profile, backing: str) -> int:
    """Pages of kernel memory charged before the first access, without page tables."""
    if backing == "host":
        return _SLAB
    if kernel.name in _SLAB_KVM:
        return _SLAB_KVM[kernel.name]
    return _SLAB_KVM_LATER + _KERNEL_STACK


def batch_fill(kernel: Profile, backing: str) -> int:
    """Folios of the recorder that wait in the CPU's batch when the run begins."""
    return (_OWN_FOLIOS if backing == "host" else _OWN_FOLIOS_KVM) % kernel.mm.folio_batch_size


class RecorderMemory:
    """The recorder's own pages: one of .bss, which the C library reads at each system call that can be cancelled and writes when
    it first prints, and the heap, which the buffer for the states of all pages lies on."""

    def __init__(self, machine: Machine, process: Process, pages: Pages) -> None:
        self.machine = machine
        self.process = process
        self.buffer_pages = -(-pages // _ENTRIES_A_PAGE)
        self.printed = False
        self.zeroes_back = 0
        end = Hva(_HEAP + ((self.buffer_pages + 2) << PAGE_SHIFT))
        own = (Vma(_BSS, Hva(_BSS + (1 << PAGE_SHIFT)), anon=True), Vma(_HEAP, end, anon=True))
        process.mm.vmas.value = (*own, *process.mm.vmas.value)
        self.system_call()
        machine.cpu.run(pte_alloc(machine.memory, process.mm, _HEAP))

    def _touch(self, address: Hva, *, write: bool) -> None:
        machine = self.machine
        self.process.mm.used_since_walk.value = True
        machine.cpu.run(access(machine.memory, self.process.mm, address, write=write))

    def _heap(self, page: int, *, write: bool = True) -> None:
        self._touch(Hva(_HEAP + (page << PAGE_SHIFT)), write=write)

    def system_call(self) -> None:
        """open(), read(), usleep() and their like: is the process single-threaded? The page holds zeroes, so that its way back
        from swap may not be counted."""
        before = self.machine.counters["do_swap_page"]
        self._touch(_BSS, write=False)
        if self.machine.profile.name not in _COUNTS_ZEROES:
            self.zeroes_back += self.machine.counters["do_swap_page"] - before

    def print(self) -> None:
        """printf(): the first one takes a buffer from the heap."""
        if not self.printed:
            self.printed = True
            self._touch(_BSS, write=True)
            self._heap(0)

    def make_buffer(self) -> None:
        """malloc() of eight bytes a page: the ends of the chunk are written."""
        self._heap(0, write=False)
        self._heap(self.buffer_pages)

    def fill_buffer(self, table: int) -> None:
        """The kernel copies the entries of one page table to the buffer, which lies across two pages."""
        self._heap(table)
        self._heap(table + 1)
