"""Small worlds: one process, one virtual machine, a page or two. Built by running the model itself, directly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agewalk.checker.systems.monitors import as_kvm_asks
from agewalk.core.cells import Cell, Object
from agewalk.core.direct import Direct
from agewalk.core.effects import FetchOr, Load, Step, Store
from agewalk.core.units import PAGE_SIZE, Gfn, Hva, Pages, Pfn
from agewalk.model.kvm.config import KvmConfig
from agewalk.model.kvm.features import KERNELS, KvmFeatures
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.host_memory import Gup
from agewalk.model.kvm.kvm_host import GuestTables, Kvm, MmuPage, Vcpu
from agewalk.model.kvm.kvm_main import kvm_create_vm, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.kvm.mmu.spte import (
    is_accessed_spte,
    is_last_spte,
    is_shadow_present_pte,
    mark_spte_for_access_track,
    spte_ad_enabled,
    spte_to_pfn,
)
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm, NotifierRange, NotifierSubscriptions, Vma
from agewalk.model.protocols.base import AgingProtocol

BASE: Final = Hva(PAGE_SIZE * 512)  # where the slot lives in the process
PFN: Final = 0x100

# Which MMU holds the accessed bit that a system is about.
MMUS: Final = {
    "tdp": "the TDP MMU, hardware with accessed bits",
    "tdp-noad": "the TDP MMU, hardware without accessed bits (access tracking)",
    "legacy": "direct shadow pages and rmaps, no TDP MMU",
    "nested": "a nested guest on the shadow MMU, beside the TDP MMU",
    "nested-noad": "a nested guest whose hypervisor uses no accessed bits, beside the TDP MMU",
}
_POSTED_ON_6_9: Final = {"v2", "v3", "v4", "v5", "v6", "houghton", "christopherson"}  # or on a kernel before it


def kernel_of(protocol: AgingProtocol) -> str:
    """The kernel that a protocol runs on: its own, or the one that it was posted against."""
    return protocol.profile or ("6.9" if protocol.name in _POSTED_ON_6_9 else "6.12")


def kvm_kernel(protocol: AgingProtocol) -> KvmFeatures:
    """The KVM that a protocol runs on: its own kernel's, or the one that it was posted against."""
    return KERNELS[kernel_of(protocol)]


class ProcessPages(Object):
    """Pages of the process: their primary PTEs as KVM sees them through get_user_pages(), and marks on them.

    present: frame + 1 that the primary MMU maps at page i, or 0. A fault maps frame `PFN + i` again, or, with
    `new_frames`, the next of two: what a page that was reclaimed and read back gets.
    """

    __slots__ = ("accessed", "dirty", "new_frames", "present")

    def __init__(self, n: int, *, new_frames: bool = False) -> None:
        super().__init__("page")
        self.new_frames = new_frames
        self.present = [Cell(self, f"pte{i}", PFN + i + 1) for i in range(n)]
        self.accessed = Cell(self, "accessed", 0)
        self.dirty = Cell(self, "dirty", 0)


@dataclass
class PinnedMemory:
    """A host without reclaim: the HostMemory that KVM asks in these systems."""

    pages: ProcessPages

    def get_user_page(self, mm: Mm, hva: Hva, write: bool) -> Step[Gup | None]:
        """hva_to_pfn(): a page that is not there is faulted in."""
        i = (hva - BASE) // PAGE_SIZE
        found: int = yield Load(self.pages.present[i])
        if not found:
            found = PFN + i + 1 + (16 if self.pages.new_frames else 0)
            yield Store(self.pages.present[i], found)
        return Gup(Pfn(found - 1), writable=True)

    def get_user_page_fast_only(self, mm: Mm, hva: Hva) -> Step[Gup | None]:
        """get_user_pages_fast_only()."""
        i = (hva - BASE) // PAGE_SIZE
        if not 0 <= i < len(self.pages.present):
            return None
        found: int = yield Load(self.pages.present[i])
        return Gup(Pfn(found - 1), writable=True) if found else None

    def mark_page_accessed(self, pfn: Pfn) -> Step[None]:
        """mark_page_accessed()."""
        yield FetchOr(self.pages.accessed, 1)

    def mark_page_dirty(self, pfn: Pfn) -> Step[None]:
        """SetPageDirty()."""
        yield FetchOr(self.pages.dirty, 1)


@dataclass
class Host:
    """One VM and what belongs to it. nested: the tables of its nested guest, where the MMU kind has one."""

    protocol: AgingProtocol
    mmu: str
    mm: Mm
    kvm: Kvm
    pages: ProcessPages
    nested: GuestTables | None = None
    direct: Direct = field(default_factory=Direct)

    @property
    def vcpu(self) -> Vcpu:
        """The first vCPU."""
        return self.kvm.vcpus[0]

    @property
    def end(self) -> Hva:
        """The first address after the first page."""
        return Hva(BASE + PAGE_SIZE)

    def touch(self, vcpu: Vcpu | None = None, *, write: bool = False, gfn: int = 0, alias: int = 0) -> Step[None]:
        """The guest whose MMU the system is about touches a page."""
        return guest_access(vcpu or self.vcpu, gfn, write=write, nested=self.nested, alias=alias)

    def leaf(self, gfn: int = 0, alias: int = 0) -> Cell:
        """The SPTE that the CPU uses for a page now (before the threads run). Raises KeyError where there is none."""
        tables = self.nested
        if tables is not None:
            return self._leaf_below(tables.root.value, tables.address(gfn, alias))
        return self.tdp_leaf(gfn) if self.kvm.tdp_mmu_enabled else self._leaf_below(self.kvm.direct_roots[0].value, gfn)

    def tdp_leaf(self, gfn: int = 0) -> Cell:
        """The SPTE of a page in the TDP MMU, likewise."""
        return self._leaf_below(self.vcpu.roots[0].value, gfn)

    def _leaf_below(self, table: MmuPage | None, address: int) -> Cell:
        while table is not None:
            cell = table.entry(self.kvm.index(address, table.level))
            if is_last_spte(cell.value, table.level):
                return cell
            if not is_shadow_present_pte(cell.value):
                break
            table = self.kvm.page_at(spte_to_pfn(cell.value))
        raise KeyError(address)

    def clean(self) -> None:
        """Take the first page's D bits away, as dirty logging does, and what the page knows of writes."""
        f, spte = self.kvm.format, self.leaf()
        if spte_ad_enabled(f, spte.value):
            spte.value &= ~f.dirty
        self.pages.dirty.value = 0

    def unmap(self) -> None:
        """Take the first page from the VM, but not from its process: a fault comes next."""
        rng = NotifierRange(self.mm, BASE, self.end)
        self.direct.run(mmu_notifier.invalidate_range_start(rng))
        self.direct.run(mmu_notifier.invalidate_range_end(rng))

    def age(self) -> None:
        """Make every leaf of the VM old, before the threads run; no protocol is asked."""
        f = self.kvm.format
        roots = [*(r.value for v in self.kvm.vcpus for r in v.roots), *(r.value for r in self.kvm.direct_roots)]
        tables = [*roots, self.nested and self.nested.root.value]
        for table in tables:
            for i in range(self.kvm.entries if table is not None else 0):
                cell = table.entry(i)
                if not is_shadow_present_pte(cell.value):
                    continue
                if not is_last_spte(cell.value, table.level):
                    tables.append(self.kvm.page_at(spte_to_pfn(cell.value)))
                elif spte_ad_enabled(f, cell.value):
                    cell.value &= ~f.accessed
                elif is_accessed_spte(f, cell.value):
                    cell.value = mark_spte_for_access_track(f, cell.value)

    def subscriptions(self) -> NotifierSubscriptions:
        """The process's list of subscribers."""
        subs: NotifierSubscriptions = self.mm.notifier_subscriptions.value
        return subs


def config_of(mmu: str, *, levels: int) -> KvmConfig:
    """The VM's MMUs, with tables of two entries."""
    return KvmConfig(
        tdp=True, tdp_mmu=mmu != "legacy", ept=mmu.endswith("noad"), ad_bits=mmu != "tdp-noad", levels=levels, level_bits=1,
        max_level=1,
    )  # fmt: skip


def build(
    protocol: AgingProtocol,
    mmu: str,
    *,
    levels: int = 1,
    pages: int = 1,
    vcpus: int = 1,
    mapped: bool = True,
    write: bool = False,
    aliases: int = 1,
    new_frames: bool = False,
) -> Host:
    """A VM that has run: `mapped` pages have young SPTEs (writable and dirty after a `write`)."""
    vma = Vma(BASE, Hva(BASE + pages * PAGE_SIZE))
    mm = Mm("mm", (vma,))
    memory = ProcessPages(pages, new_frames=new_frames)
    slot = Memslot("slot", Gfn(0), Pages(pages), BASE, level_bits=1)
    host = PinnedMemory(memory)
    kvm = new_kvm(
        "kvm",
        mm,
        host,
        as_kvm_asks(protocol),
        kvm_kernel(protocol),
        config=config_of(mmu, levels=levels),
        slots=(slot,),
        vcpus=vcpus,
    )
    nested = None
    if mmu.startswith("nested"):
        nested = GuestTables("l1tables", 1, guest_mode=True, ad=mmu != "nested-noad", span=pages)
    small = Host(protocol, mmu, mm, kvm, memory, nested)
    small.direct.run(kvm_create_vm(kvm))
    if mapped:
        for gfn in range(pages):
            for alias in range(aliases):
                for vcpu in kvm.vcpus:  # each has its root then
                    small.direct.run(small.touch(vcpu, gfn=gfn, alias=alias, write=write))
    return small
