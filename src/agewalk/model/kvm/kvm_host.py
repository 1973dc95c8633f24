"""A virtual machine: its MMUs and their tables, its vCPUs, and the lock that they share.

include/linux/kvm_host.h (struct kvm, kvm_vcpu), arch/x86/include/asm/kvm_host.h (struct kvm_arch), and
arch/x86/kvm/mmu/mmu_internal.h (struct kvm_mmu_page): the structures that refer to one another are in one place.

SPTEs and rmap heads hold integers, as in the kernel. A table's frame number and a descriptor's address are names that
`Kvm.page_at()` and `Kvm.desc_at()` turn back into objects.
"""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from agewalk.core.cells import Cell, ListHead, Lock, Object, Slab, Srcu
from agewalk.core.effects import Step
from agewalk.core.units import Gfn, Pfn
from agewalk.model.kvm.config import TDP, KvmConfig
from agewalk.model.kvm.features import KvmFeatures
from agewalk.model.kvm.host_memory import HostMemory
from agewalk.model.kvm.memslots import GfnRange, Memslot
from agewalk.model.mm.mm_types import Mm, MmuNotifier, MmuNotifierOps

PTE_LIST_EXT: Final = 14  # sptes[] of one pte_list_desc (arch/x86/kvm/mmu/mmu.c)
_TABLE_FRAMES: Final = 1 << 36  # KVM's tables have frame numbers of their own, above all of the host's memory
_TABLES_PER_SLAB: Final = 1 << 20


class SecondaryMmuAging(Protocol):
    """What KVM asks of an aging protocol (`AgingProtocol` in `agewalk.model.protocols.base` says what each answer means)."""

    lockless: ClassVar[bool]
    lockless_first: ClassVar[bool]
    fast_op: ClassVar[bool]

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """kvm_age_gfn() if `clear`, kvm_test_age_gfn() if not."""

    def opts_in(self, config: KvmConfig) -> bool:
        """Does the VM's subscription opt in to fast aging?"""

    def kvm_features(self, kernel: KvmFeatures) -> KvmFeatures:
        """The KVM that the protocol needs, made from a kernel's."""


class MmuPage(Object):
    """struct kvm_mmu_page with its table. What never changes for as long as it is allocated is an attribute.

    pfn: frame number of the table. level: PG_LEVEL_* of its entries. base: first address that it translates: a gfn for
    direct tables, for others an address of `tables`' guest. direct: maps gfns one to one, shadows no guest table.
    invalid (role.invalid), refcount (tdp_mmu_root_count) and scheduled (tdp_mmu_scheduled_root_to_zap): roots of the TDP
    MMU. next, pprev: link on tdp_mmu_roots. parent: address of the SPTE that points here, or 0 (shadow pages).
    """

    __slots__ = (
        "_entries", "_mask", "_shift", "_translations", "ad_disabled", "as_id", "base", "direct", "invalid", "level", "next",
        "nonpresent", "parent", "pfn", "pprev", "refcount", "scheduled", "tables",
    )  # fmt: skip

    def __init__(
        self,
        label: str,
        pfn: Pfn,
        level: int,
        *,
        nonpresent: int,
        as_id: int = 0,
        base: int = 0,
        direct: bool = True,
        ad_disabled: bool = False,
        tables: GuestTables | None = None,
        level_bits: int = 9,
    ) -> None:
        super().__init__(label)
        self.pfn = pfn
        self.level = level
        self.nonpresent = nonpresent
        self.as_id = as_id
        self.base = base
        self.direct = direct
        self.ad_disabled = ad_disabled
        self.tables = tables
        self._shift = level_bits * (level - 1)
        self._mask = (1 << level_bits) - 1
        self._entries: dict[int, Cell] = {}
        self._translations: dict[int, Cell] = {}
        none: MmuPage | None = None
        link: Cell | None = None
        self.next = Cell(self, "next", none)
        self.pprev = Cell(self, "pprev", link)
        self.invalid = Cell(self, "invalid", value=False)
        self.scheduled = Cell(self, "scheduled", value=False)
        self.refcount = Cell(self, "refcount", 0)
        self.parent = Cell(self, "parent", 0)

    def entry(self, index: int) -> Cell:
        """spt[index]."""
        cell = self._entries.get(index)
        if cell is None:
            cell = self._entries[index] = Cell(self, index, self.nonpresent)
        return cell

    def entry_of(self, address: int) -> Cell:
        """The entry that translates `address` (in frames): spt[SPTE_INDEX(address, level)]."""
        index = address >> self._shift & self._mask
        cell = self._entries.get(index)
        return self.entry(index) if cell is None else cell

    def translation(self, index: int) -> Cell:
        """shadowed_translation[index]: the gfn that entry `index` maps, where that does not follow from its place."""
        cell = self._translations.get(index)
        if cell is None:
            cell = self._translations[index] = Cell(self, f"translation{index}", 0)
        return cell

    def address_of(self, index: int) -> int:
        """Address of entry `index`: what an rmap chain holds."""
        return self.pfn << 12 | index << 3

    @property
    def has_gptes(self) -> bool:
        """sp_has_gptes(): does it shadow guest page tables?"""
        return not self.direct


class PteListDesc(Object):
    """struct pte_list_desc: up to 14 SPTE addresses; only the head of a chain may be partly full."""

    __slots__ = ("address", "more", "spte_count", "sptes", "tail_count")

    def __init__(self, label: str, address: int) -> None:
        super().__init__(label)
        self.address = address
        self.more = Cell(self, "more", 0)  # address of the next descriptor, or 0
        self.spte_count = Cell(self, "spte_count", 0)
        self.tail_count = Cell(self, "tail_count", 0)
        self.sptes = [Cell(self, f"sptes{i}", 0) for i in range(PTE_LIST_EXT)]


class GuestTables(Object):
    """Page tables that a guest built and KVM shadows: a nested guest's EPT12/NPT12, or, without tdp, the guest's own.

    They translate address `a` (in frames) to gfn `a % span`: one gfn has as many addresses as there are aliases, hence
    as many SPTEs. gptes are guest memory: PRESENT | WRITABLE until the guest says otherwise, ACCESSED and DIRTY as its
    CPU leaves them. guest_mode: of a nested guest. ad: does the guest use A/D bits in them?
    root: KVM's shadow root for them, or None.
    """

    PRESENT: Final = 1 << 0
    WRITABLE: Final = 1 << 1
    ACCESSED: Final = 1 << 5
    DIRTY: Final = 1 << 6

    __slots__ = ("_gptes", "ad", "guest_mode", "root", "serial", "span")

    def __init__(self, label: str, serial: int, *, guest_mode: bool, ad: bool = True, span: int = 1 << 24) -> None:
        super().__init__(label)
        self.serial = serial
        self.guest_mode = guest_mode
        self.ad = ad
        self.span = span
        nothing: MmuPage | None = None
        self.root = Cell(self, "root", nothing)
        self._gptes: dict[int, Cell] = {}

    def address(self, gfn: int, alias: int = 0) -> int:
        """An address that translates to `gfn`."""
        return gfn + alias * self.span

    def gfn_of(self, address: int) -> Gfn:
        """What `address` translates to."""
        return Gfn(address % self.span)

    def gpte(self, address: int) -> Cell:
        """The guest's leaf entry for `address`."""
        cell = self._gptes.get(address)
        if cell is None:
            cell = self._gptes[address] = Cell(self, f"gpte{address:#x}", self.PRESENT | self.WRITABLE)
        return cell


class Kvm(Object):
    """struct kvm.

    protocol: who is asked about young pages; it answers for kvm_age_gfn() and kvm_test_age_gfn().
    memslots: one cell per address space, its value a SlotSet. tdp_roots: first of tdp_mmu_roots.
    tdp_mmu_enabled: module parameter tdp_mmu, x86-64 with EPT or NPT.
    direct_roots: legacy MMU, one shadow root per address space. guest_tables: what the guest itself runs on without tdp.
    """

    __slots__ = (
        "_descs", "_pages", "_slabs", "active_mmu_pages", "config", "desc_slab", "direct_roots", "features", "format",
        "guest_tables", "host", "indirect_shadow_pages", "memslots", "mm", "mmu_invalidate_in_progress",
        "mmu_invalidate_range_end", "mmu_invalidate_range_start", "mmu_invalidate_seq", "mmu_lock",
        "mn_active_invalidate_count", "mn_invalidate_lock", "notifier", "protocol", "shadow_root_allocated",
        "slots_arch_lock", "slots_lock", "srcu", "tdp_mmu_enabled", "tdp_mmu_pages_lock", "tdp_roots", "vcpus",
    )  # fmt: skip

    def __init__(
        self,
        label: str,
        mm: Mm,
        host: HostMemory,
        protocol: SecondaryMmuAging,
        features: KvmFeatures,
        ops: MmuNotifierOps,
        *,
        config: KvmConfig = TDP,
        slots: tuple[Memslot, ...] = (),
        vcpus: int = 1,
    ) -> None:
        super().__init__(label)
        self.mm = mm
        self.host = host
        self.protocol = protocol
        self.features = protocol.kvm_features(features)
        self.config = config
        self.tdp_mmu_enabled = config.tdp_mmu
        self.format = self.features.format(ept=config.ept)
        self.notifier = MmuNotifier(f"{label}.mmu_notifier", ops, self, has_fast_aging=protocol.opts_in(config))
        self.mmu_lock = Lock(self, "mmu_lock")
        self.srcu = Srcu(f"{label}.srcu")
        self.memslots = [
            Cell(self, f"memslots{i}", tuple((s, False) for s in slots if s.as_id == i))
            for i in range(config.address_spaces)
        ]
        self.slots_lock = Lock(self, "slots_lock", sleeps=True)
        self.slots_arch_lock = Lock(self, "slots_arch_lock", sleeps=True)
        self.mn_invalidate_lock = Lock(self, "mn_invalidate_lock")
        self.mn_active_invalidate_count = Cell(self, "mn_active_invalidate_count", 0)
        self.mmu_invalidate_seq = Cell(self, "mmu_invalidate_seq", 0)
        self.mmu_invalidate_in_progress = Cell(self, "mmu_invalidate_in_progress", 0)
        self.mmu_invalidate_range_start = Cell(self, "mmu_invalidate_range_start", -1)
        self.mmu_invalidate_range_end = Cell(self, "mmu_invalidate_range_end", -1)
        self.indirect_shadow_pages = Cell(self, "indirect_shadow_pages", 0)
        self.shadow_root_allocated = Cell(self, "shadow_root_allocated", value=False)
        self.tdp_mmu_pages_lock = Lock(self, "tdp_mmu_pages_lock")
        nothing: MmuPage | None = None
        self.tdp_roots = Cell(self, "tdp_mmu_roots", nothing)
        self.direct_roots = [Cell(self, f"direct_root{i}", nothing) for i in range(config.address_spaces)]
        self.active_mmu_pages = ListHead(f"{label}.active_mmu_pages")
        self.guest_tables = None if config.tdp else GuestTables(f"{label}.cr3", 0, guest_mode=False)
        self._pages: dict[int, MmuPage] = {}
        self._descs: dict[int, PteListDesc] = {}
        self._slabs: dict[tuple[int, ...], Slab] = {}
        self.desc_slab = Slab(f"{label}.pte_list_desc", self._make_desc, reuse=True)
        self.vcpus = [Vcpu(self, i) for i in range(vcpus)]

    # --- sizes ------------------------------------------------------------------------------------------------------

    def pages_per_level(self, level: int) -> int:
        """KVM_PAGES_PER_HPAGE(): 4 KiB pages that one SPTE of `level` maps."""
        return 1 << self.config.level_bits * (level - 1)

    def index(self, address: int, level: int) -> int:
        """SPTE_INDEX(): where `address` (in frames) is found in a table of `level`."""
        return address >> self.config.level_bits * (level - 1) & (1 << self.config.level_bits) - 1

    @property
    def entries(self) -> int:
        """SPTE_ENT_PER_PAGE."""
        return 1 << self.config.level_bits

    # --- memory -----------------------------------------------------------------------------------------------------

    def page_at(self, pfn: int) -> MmuPage:
        """spte_to_child_sp(), sptep_to_sp(): the table with frame number `pfn`."""
        return self._pages[pfn]

    def sptep(self, address: int) -> Cell:
        """The SPTE at an address that an rmap chain holds."""
        return self._pages[address >> 12].entry(address >> 3 & 511)

    def desc_at(self, address: int) -> PteListDesc:
        """The descriptor at an address that an rmap head or another descriptor holds."""
        return self._descs[address]

    @property
    def mmu_pages_made(self) -> int:
        """Page tables that this VM has taken so far, in all. Memory of freed ones that serves again is not counted twice."""
        return len(self._pages)

    def tdp_slab(self, as_id: int, level: int) -> Slab:
        """Tables of the TDP MMU. Not reused: no function clears the entries of a new table."""
        return self._slab((0, as_id, level), reuse=False, as_id=as_id, level=level)

    def shadow_slab(self, tables: GuestTables | None, as_id: int, level: int, base: int, *, direct: bool) -> Slab:
        """Shadow pages for one place: `level`, and the addresses from `base` on. Empty when freed, so they come back."""
        return self._slab(
            (1, -1 if tables is None else tables.serial, as_id, level, base, direct),
            reuse=True, as_id=as_id, level=level, base=base, direct=direct, tables=tables,
            ad_disabled=self._ad_disabled(tables),
        )  # fmt: skip

    def _ad_disabled(self, tables: GuestTables | None) -> bool:
        """role.ad_disabled: KVM itself has none, or a nested guest's hypervisor does not use EPT A/D bits."""
        if not self.config.ad_bits:
            return True
        return self.config.ept and tables is not None and tables.guest_mode and not tables.ad

    def _slab(
        self,
        key: tuple[int, ...],
        *,
        reuse: bool,
        as_id: int,
        level: int,
        base: int = 0,
        direct: bool = True,
        tables: GuestTables | None = None,
        ad_disabled: bool | None = None,
    ) -> Slab:
        slab = self._slabs.get(key)
        if slab is None:
            first = _TABLE_FRAMES + len(self._slabs) * _TABLES_PER_SLAB
            off = not self.config.ad_bits if ad_disabled is None else ad_disabled
            kind = "tdp" if key[0] == 0 else "sp"
            where = f"{self.label}.{kind}{level}" + (f"@{base:#x}" if key[0] else "")

            def make(i: int) -> MmuPage:
                page = MmuPage(
                    f"{where}.{i}", Pfn(first + i), level, nonpresent=self.format.nonpresent, as_id=as_id, base=base,
                    direct=direct, ad_disabled=off, tables=tables, level_bits=self.config.level_bits,
                )  # fmt: skip
                self._pages[page.pfn] = page
                return page

            slab = self._slabs[key] = Slab(where, make, reuse=reuse)
        return slab

    def _make_desc(self, i: int) -> PteListDesc:
        address = (i + 1) << 7  # 128 bytes each
        desc = self._descs[address] = PteListDesc(f"{self.label}.desc{i}", address)
        return desc

    def slots(self, as_id: int) -> Cell:
        """__kvm_memslots(): the cell whose value is the SlotSet of an address space."""
        return self.memslots[as_id]


class Vcpu(Object):
    """struct kvm_vcpu. roots: the TDP MMU root it runs on, per address space, or None before kvm_mmu_load().

    paging_structures: what its CPU remembers of the upper levels (`KvmConfig.paging_structure_cache`), by region.
    """

    __slots__ = ("_paging_structures", "id", "kvm", "roots")

    def __init__(self, kvm: Kvm, ident: int) -> None:
        super().__init__(f"{kvm.label}.vcpu{ident}")
        self.kvm = kvm
        self.id = ident
        nothing: MmuPage | None = None
        self.roots = [Cell(self, f"root{i}", nothing) for i in range(kvm.config.address_spaces)]
        self._paging_structures: dict[tuple[int, int], Cell] = {}

    def paging_structure(self, space: int, region: int) -> Cell:
        """The remembered table for a region of an address space (`space`: as_id, or -1 - serial of guest tables)."""
        key = space, region
        cell = self._paging_structures.get(key)
        if cell is None:
            nothing: MmuPage | None = None
            cell = self._paging_structures[key] = Cell(self, f"psc{space},{region:#x}", nothing)
        return cell

    def remembered(self) -> list[Cell]:
        """All cells of the paging-structure cache: what a flush empties."""
        return list(self._paging_structures.values())
