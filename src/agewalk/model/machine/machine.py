"""A host that takes events, one after the other (on the direct executor).

Everything an event changes is changed by the kernel functions of `agewalk.model`; the machine only calls them, keeps the
clock, and lets kswapd run between events when memory is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agewalk.core.cells import Srcu
from agewalk.core.counters import Counters
from agewalk.core.direct import Direct
from agewalk.core.effects import Step
from agewalk.core.errors import UsageError
from agewalk.core.units import PAGE_SIZE, Bytes, Gfn, Hva, Ns, Pages, Pfn
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables
from agewalk.model.kvm.kvm_main import kvm_create_vm, kvm_destroy_vm, nested_guest_start, nested_guest_stop, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.machine.hits import changes_nothing, guest_hit
from agewalk.model.machine.ops import HostOps
from agewalk.model.machine.parts import BASE, BASE_GFN, Process, VirtualMachine, backing_config
from agewalk.model.machine.pressure import NO_TTL, balance_pgdat, direct_reclaim
from agewalk.model.machine.view import PageView, page_view
from agewalk.model.mglru import debugfs
from agewalk.model.mglru.aging.mm_list import lru_gen_add_mm, lru_gen_del_mm
from agewalk.model.mglru.commands import run_aging, run_eviction
from agewalk.model.mglru.eviction.reclaim import memory_reclaim, try_to_free_mem_cgroup_pages
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.lruvec import MglruLruvec
from agewalk.model.mm import swap, unmap
from agewalk.model.mm.faults.access import access
from agewalk.model.mm.faults.gup import HostPages
from agewalk.model.mm.filemap import writeback
from agewalk.model.mm.memcontrol.charge import try_charge_memcg
from agewalk.model.mm.memcontrol.memcg import Memcg
from agewalk.model.mm.mlock import mlock
from agewalk.model.mm.mm_types import AddressSpace, Folio, Lruvec, Memory, Mm, Vma
from agewalk.model.profiles import Profile
from agewalk.model.protocols.base import AgingProtocol, one_protocol

PLENTY: Final = Pages(1 << 40)


class Machine:
    """A host with `memory` pages and one kernel.

    profile: the kernel. protocol: between its MGLRU and its KVM. swap: pages of swap (zram; it costs no memory here).
    swappiness: vm.swappiness. schedules: does each event begin with a context switch to the process that it is about
    (lru_gen_use_mm())? Without one, aging that is not forced skips the process. min_ttl: min_ttl_ms, 0 = off.
    """

    def __init__(
        self,
        profile: Profile,
        protocol: AgingProtocol,
        *,
        memory: Pages,
        swap: Pages = PLENTY,
        swappiness: int = 60,
        schedules: bool = True,
        min_ttl: Ns = NO_TTL,
    ) -> None:
        from dataclasses import replace

        self.profile = profile
        self.protocol = protocol
        self.swappiness = swappiness
        self.schedules = schedules
        self.min_ttl = min_ttl
        self.cpu = Direct()
        mem_map: dict[Pfn, Folio] = {}
        features = replace(profile.mglru, **protocol.mglru_changes())
        self.lruvec = MglruLruvec("lruvec", features=features, protocol=protocol, mem_map=mem_map)
        self.memory = Memory(profile.mm, self._lru(), mem_map, frames=memory, swap_slots=swap)
        self.memory.direct_reclaim = self._direct_reclaim
        self.host_pages = HostPages(self.memory)
        self.ops = HostOps(self.memory)
        self.srcu = Srcu("mmu_notifier.srcu")
        self.processes: list[Process] = []
        self.vms: list[VirtualMachine] = []
        self.files: list[AddressSpace] = []
        self.now = Ns(0)

    def _lru(self) -> Lruvec:
        """The LRU lists that this host's folios are on."""
        return self.lruvec

    # --- who is there -----------------------------------------------------------------------------------------------

    def add_process(
        self,
        name: str,
        pages: Pages,
        *,
        huge: bool = False,
        orders: int = 0,
        locked: bool = False,
        sequential: bool = False,
        file: AddressSpace | None = None,
        start: Hva = BASE,
    ) -> Process:
        """A process with `pages` of private anonymous memory, or of a shared mapping of `file`, none of it touched yet.

        huge: THP "always". orders: mTHP "always" of these sizes, a bit an order. locked: mlocked. sequential: madvised as read in
        sequence or at random, so without recency. start: its first byte, page aligned.
        """
        if file is not None and file not in self.files:
            self.files.append(file)
        end = Hva(start + pages * PAGE_SIZE)
        vma = Vma(
            start, end, anon=file is None, huge=huge, orders=orders, locked=locked, sequential=sequential, file=file
        )
        process = Process(name, Mm(name, (vma,), self.srcu), start, pages)
        self.processes.append(process)
        self._tell_processes_of_kvm()
        self.cpu.run(lru_gen_add_mm(self.lruvec, process.mm))
        return process

    def end_process(self, process: Process) -> None:
        """Its VMs go with it, then its memory."""
        for vm in list(process.vms):
            self.close_vm(vm)
        self.cpu.run(unmap.exit_mmap(self.memory, process.mm))
        self.cpu.run(lru_gen_del_mm(self.lruvec, process.mm))
        process.alive = False
        self.processes.remove(process)

    def start_vm(
        self, process: Process, name: str = "", *, mmu: str = "tdp", ad_bits: bool = True, base_gfn: Gfn = BASE_GFN
    ) -> VirtualMachine:
        """A VM whose memory is that of `process`. mmu: tdp, legacy or shadow. Several may share one process."""
        label = name or f"kvm{len(self.vms)}"
        slot = Memslot(f"{label}.slot0", base_gfn, process.pages, process.start)
        kvm = new_kvm(
            label, process.mm, self.host_pages, self.protocol, self.profile.kvm, slots=(slot,),
            config=backing_config(mmu, ad_bits=ad_bits),
        )  # fmt: skip
        one_protocol(self.lruvec.protocol, kvm.protocol)
        self.cpu.run(kvm_create_vm(kvm))
        vm = VirtualMachine(label, kvm, process, base_gfn)
        process.vms.append(vm)
        self.vms.append(vm)
        self._tell_processes_of_kvm()
        return vm

    def _tell_processes_of_kvm(self) -> None:
        """A KVM that is likely fast is so for all processes of the host. (VMs of one host may differ here, of Linux not.)"""
        if self.vms:
            likely_fast = any(vm.kvm.config.likely_fast for vm in self.vms)
            for process in self.processes:
                if not process.vms:
                    process.mm.kvm_likely_fast = likely_fast

    def close_vm(self, vm: VirtualMachine) -> None:
        """The VM is destroyed; its memory stays mapped in its process."""
        self._schedule(vm.process)
        self.cpu.run(kvm_destroy_vm(vm.kvm))
        vm.running = False
        vm.process.vms.remove(vm)
        self.vms.remove(vm)

    def start_nested(self, vm: VirtualMachine) -> None:
        """A guest hypervisor in `vm` starts a guest of its own."""
        if vm.nested is not None:
            raise UsageError(f"{vm.name} runs a nested guest already", hint="one at a time")
        vm.nested_serial += 1  # the tables of a guest that is gone are not these, though the slab may reuse their pages
        vm.nested = GuestTables(f"{vm.name}.ept12", vm.nested_serial, guest_mode=True)
        self.cpu.run(nested_guest_start(vm.vcpu, vm.nested))

    def end_nested(self, vm: VirtualMachine) -> None:
        """That guest is gone."""
        if vm.nested is None:
            raise UsageError(f"{vm.name} runs no nested guest", hint="start_nested() first")
        self.cpu.run(nested_guest_stop(vm.kvm, vm.nested))
        vm.nested = None

    # --- accesses ---------------------------------------------------------------------------------------------------

    def touch_host(self, process: Process, page: int, *, write: bool) -> None:
        """A thread of the process loads from or stores to page `page` of its region."""
        mm = process.mm
        if self.schedules:
            mm.used_since_walk.value = True
        address = process.hva(page)
        if changes_nothing(mm, address, write=write):
            return
        self.cpu.run(access(self.memory, mm, address, write=write))
        self._after()

    def touch_guest(self, vm: VirtualMachine, page: int, *, write: bool) -> None:
        """The guest touches its page `page` (counted from the start of its memory)."""
        if self.schedules:
            vm.process.mm.used_since_walk.value = True
        gfn = vm.base_gfn + page
        if guest_hit(vm.vcpu, gfn, vm.kvm.guest_tables, write=write):
            return
        self.charge(vm.topup())
        self.cpu.run(guest_access(vm.vcpu, gfn, write=write))
        self._after()

    def touch_nested(self, vm: VirtualMachine, page: int, *, write: bool) -> None:
        """The nested guest of `vm` touches a page."""
        if vm.nested is None:
            self.start_nested(vm)
        if self.schedules:
            vm.process.mm.used_since_walk.value = True
        gfn = vm.base_gfn + page
        if guest_hit(vm.vcpu, gfn, vm.nested, write=write):
            return
        self.charge(vm.topup())
        self.cpu.run(guest_access(vm.vcpu, gfn, write=write, nested=vm.nested))
        self._after()

    def unmap(self, process: Process, first: int, pages: int) -> None:
        """The process unmaps `pages` pages from page `first` on."""
        self._schedule(process)
        self.cpu.run(unmap.munmap(self.memory, process.mm, process.hva(first), process.hva(first + pages)))

    def mlock(self, process: Process, first: int, pages: int, *, locked: bool = True) -> None:
        """The process locks pages in memory, or, if not `locked`, unlocks them."""
        self._schedule(process)
        span = process.hva(first), process.hva(first + pages)
        self.cpu.run(mlock(self.memory, process.mm, *span, locked=locked))
        self._after()

    def writeback(self, file: AddressSpace) -> int:
        """The flusher cleans a file. Pages written."""
        return self.cpu.run(writeback(file))

    # --- aging and reclaim ------------------------------------------------------------------------------------------

    def age(self, *, force_scan: bool = True, swappiness: int | None = None) -> int:
        """`+` of /sys/kernel/debug/lru_gen: a new generation. 0 or a negative errno."""
        seq: int = self.lruvec.max_seq.value
        value = 1 if swappiness is None else swappiness
        return self.cpu.run(run_aging(self.lruvec, seq, value, force_scan=force_scan))

    def reclaim(self, size: Bytes, *, exactly: Pages | None = None) -> int:
        """`size` bytes to memory.reclaim: 0 or -EAGAIN. exactly: take this many pages, whatever the loop would settle for."""
        ret, _ = self.cpu.run(memory_reclaim(self.lruvec, self.ops, size, swappiness=self.swappiness, exactly=exactly))
        return ret

    def evict(self, seq: int, nr_to_reclaim: int, swappiness: int) -> int:
        """`-` of lru_gen: evict generations up to `seq`. 0 or a negative errno."""
        ret, _ = self.cpu.run(
            run_eviction(self.lruvec, self.ops, seq, swappiness, nr_to_reclaim, default_swappiness=self.swappiness)
        )
        return ret

    def lru_gen(self, *, full: bool = False) -> str:
        """The text that /sys/kernel/debug/lru_gen, or lru_gen_full, prints now."""
        return self.cpu.run(debugfs.show(self.lruvec, memcg=1, path="/", now=self.now, full=full))

    def lru_gen_write(self, text: str) -> int:
        """Write commands to lru_gen: 0 or a negative errno."""
        return self.cpu.run(debugfs.lru_gen_seq_write(self.lruvec, self.ops, text, default_swappiness=self.swappiness))

    def drain(self) -> None:
        """lru_add_drain_all()."""
        self.cpu.run(swap.lru_add_drain(self.memory))

    @property
    def batched(self) -> bool:
        """Does the CPU hold folios back in its batches?"""
        return swap.cpu_needs_drain(self.memory)

    def advance(self, to: Ns) -> None:
        """Time passes, until `to`."""
        self.now = to
        self.lruvec.clock.value = to

    def _schedule(self, process: Process) -> None:
        if self.schedules:
            process.mm.used_since_walk.value = True

    def schedule_all(self) -> None:
        """Every process runs for a moment: lru_gen_use_mm()."""
        for process in self.processes:
            process.mm.used_since_walk.value = True

    def _direct_reclaim(self, pages: int) -> Step[int]:
        got = yield from direct_reclaim(self.lruvec, self.ops, pages, self.swappiness)
        if got:
            return got
        for file in self.files:  # wakeup_flusher_threads(): all that was left is dirty
            yield from writeback(file)
        return (yield from direct_reclaim(self.lruvec, self.ops, pages, self.swappiness))

    def _reclaim_memcg(self, pages: int) -> Step[int]:
        """try_to_free_mem_cgroup_pages(), by a task that charges."""
        request = ScanControl(self.ops)
        return (yield from try_to_free_mem_cgroup_pages(self.lruvec, request, pages, self.swappiness, proactive=False))

    def enter(self, memcg: Memcg) -> None:
        """All tasks move to `memcg` (cgroup.procs): what they use from now on is charged to it, what they have is not."""
        memcg.reclaim = self._reclaim_memcg
        self.memory.memcg = memcg

    def charge(self, pages: int) -> None:
        """The running task uses `pages` of kernel memory, one after the other (obj_cgroup_charge_pages())."""
        if self.memory.memcg is not None:
            for _ in range(pages):
                self.cpu.run(try_charge_memcg(self.memory.memcg))

    def _after(self) -> None:
        """kswapd, if an allocation woke it."""
        memory = self.memory
        if memory.kswapd_woken.value:
            memory.kswapd_woken.value = False
            self.cpu.run(balance_pgdat(self.lruvec, self.ops, memory, self.swappiness, self.min_ttl))

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """Counts so far, by the kernel's names."""
        return self.cpu.counters

    @property
    def max_seq(self) -> int:
        """The youngest generation."""
        return int(self.lruvec.max_seq.value)

    @property
    def min_seq(self) -> tuple[int, int]:
        """The oldest generation of anonymous and of file pages."""
        anon, file = self.lruvec.min_seq
        return int(anon.value), int(file.value)

    def view(self, process: Process) -> Iterator[PageView]:
        """Every page of a process, in order."""
        max_seq = self.max_seq
        return (page_view(self.memory, process, page, max_seq) for page in range(process.pages))

    def taken(self) -> list[tuple[Process, int]]:
        """Pages that reclaim has unmapped since the last call, in order, as (process, page)."""
        self.ops.victims.clear()
        return self._said(self.ops.unmapped)

    def victims(self) -> list[tuple[Process, int]]:
        """The first page of each folio that reclaim has unmapped since the last call of this or of taken()."""
        self.ops.unmapped.clear()
        return self._said(self.ops.victims)

    def freed(self) -> list[tuple[Process, int]]:
        """Pages whose folios reclaim has freed since the last call, in order. Before that, an unmapped
        folio may go back to a list."""
        return self._said(self.ops.freed)

    def _said(self, pages: list[tuple[Mm, Hva]]) -> list[tuple[Process, int]]:
        by_mm = {process.mm: process for process in self.processes}
        out = [(by_mm[mm], by_mm[mm].page(hva)) for mm, hva in pages if mm in by_mm]
        pages.clear()
        return out
