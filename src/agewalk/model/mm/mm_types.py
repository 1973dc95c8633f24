"""The structures of mm: address spaces, page tables, folios, the memory of a host, LRU lists, subscriptions to mmu notifiers.

As include/linux/mm_types.h, mmzone.h, swap.h and mmu_notifier.h: the structures that refer to one another are in one place, and
the functions on them are where the kernel has them (mm/memory.c, mm/rmap.c, mm/swap.c, mm/mmu_notifier.c ...).

Page tables have two levels here, the two that MGLRU reads bits from: PMD entries (one per 2 MiB) and PTEs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agewalk.core.cells import Cell, ListHead, Lock, Object, Slab, Srcu
from agewalk.core.effects import Step
from agewalk.core.units import PMD_SHIFT, Hva, Pages, Pfn
from agewalk.model.mm import page_table
from agewalk.model.mm import pte as p
from agewalk.model.mm.features import MmFeatures
from agewalk.model.mm.folio import ANON, PG_SWAPBACKED, PG_UPTODATE
from agewalk.model.mm.memcontrol.memcg import Memcg

HPAGE_PMD_ORDER: Final = 9
HPAGE_PMD_NR: Final = 1 << HPAGE_PMD_ORDER
ZERO_PFN: Final = Pfn(0)
PteTable = page_table.PteTable


@dataclass(frozen=True)
class Vma:
    """A mapping of [start, end), bytes, page aligned. `special` = VM_SPECIAL (no look-around), `inaccessible` = PROT_NONE.

    file: what is mapped, shared, if not `anon`; `file_page` is the page of it that `start` shows. huge: take 2 MiB pages where
    they fit (THP "always"). orders: sizes of folios between that and 4 KiB that may be taken, a bit an order
    (mTHP "always", huge_anon_orders_always).
    """

    start: Hva
    end: Hva
    anon: bool = True
    locked: bool = False
    special: bool = False
    inaccessible: bool = False
    sequential: bool = False  # VM_SEQ_READ or VM_RAND_READ: no recency to be learned
    file: AddressSpace | None = None
    file_page: int = 0
    huge: bool = False
    orders: int = 0
    executable: bool = False  # VM_EXEC


class Mm(Object):
    """struct mm_struct.

    pmds: PMD entry cells by `hva >> 21`; a non-leaf entry's frame finds its table in `tables`. Both dictionaries only
    gain entries, when a table is built for an address (pte_alloc under page_table_lock).
    notifier_subscriptions: None until the first register, then kept for the life of the mm (mm_has_notifiers()).
    spare_subscriptions: the memory that the first register will take.
    used_since_walk: bit of mm->lru_gen.bitmap, set by lru_gen_use_mm() at a context switch.
    other_anon_pages: what the process has beside its `vmas`, and in another memcg: counted (MM_ANONPAGES), never walked.
    kvm_likely_fast: what the host's KVM answers to kvm_arch_young_notifier_likely_fast() (v5): two of its globals, which a
    KVM sets when it is loaded. The same for all processes of a host; True is the default of x86-64.
    """

    __slots__ = (
        "kvm_likely_fast", "mmap_lock", "notifier_subscriptions", "other_anon_pages", "page_table_lock", "pmd_ptl", "pmds",
        "spare_subscriptions", "tables", "used_since_walk", "vmas",
    )  # fmt: skip

    def __init__(self, label: str, vmas: tuple[Vma, ...] = (), srcu: Srcu | None = None) -> None:
        super().__init__(label)
        self.vmas = Cell(self, "vmas", vmas)  # ascending, disjoint; changes under mmap_lock for write
        self.mmap_lock = Lock(self, "mmap_lock", sleeps=True)
        self.page_table_lock = Lock(self, "page_table_lock")
        self.pmd_ptl = Lock(self, "pmd_ptl")
        self.pmds: dict[int, Cell] = {}
        self.tables: dict[Pfn, PteTable] = {}
        none: NotifierSubscriptions | None = None
        self.notifier_subscriptions = Cell(self, "notifier_subscriptions", none)
        self.spare_subscriptions = NotifierSubscriptions(f"{label}.subscriptions", srcu or Srcu("mmu_notifier.srcu"))
        self.other_anon_pages = 0
        self.kvm_likely_fast = True
        self.used_since_walk = Cell(self, "used_since_walk", value=True)

    def pmd_cell(self, hva: Hva) -> Cell:
        """The PMD entry that translates `hva`; made (as none) when first asked for."""
        index = hva >> PMD_SHIFT
        if index not in self.pmds:
            self.pmds[index] = Cell(self, f"pmd{index:#x}", p.NONE)
        return self.pmds[index]

    def table_of(self, pmd: int) -> PteTable:
        """The page table that a present non-leaf PMD value points to."""
        return self.tables[p.pte_pfn(pmd)]

    def new_table(self, hva: Hva) -> PteTable:
        """A page table for the 2 MiB around `hva`, not linked yet. Its frame number is its own address space: the PMD index."""
        pfn = Pfn(hva >> PMD_SHIFT)
        table = PteTable(pfn, f"{self.label}.ptes{pfn:#x}")
        self.tables[pfn] = table
        return table


class Folio(Object):
    """A folio of 1 << order frames from `pfn` on.

    Cells: `flags` (PG_*, generation + 1, refs), `mappings` (tuple of (Mm, Hva) that map it: what the anon_vma's interval
    tree would give), `backing` (what it is a cached copy of: its swap slots while in the swap cache, its place in a page
    cache, or nothing), `refcount` (references beyond the mappings: an isolated folio holds one, a cache, a
    batch), `lru` (the list it is linked on, or None: folio->lru, under lru_lock).
    """

    __slots__ = ("backing", "flags", "lru", "lruvec", "mappings", "order", "pfn", "refcount", "type")

    def __init__(self, pfn: Pfn, lruvec: Lruvec, *, order: int = 0, type_: int = ANON) -> None:
        super().__init__(f"folio{pfn}")
        self.pfn = pfn
        self.order = order
        self.type = type_
        self.lruvec = lruvec
        self.flags = Cell(self, "flags", PG_UPTODATE | (PG_SWAPBACKED if type_ == ANON else 0))
        mapped: tuple[tuple[Mm, Hva], ...] = ()
        self.mappings = Cell(self, "mappings", mapped)
        nothing: tuple[Any, ...] = ()
        self.backing = Cell(self, "backing", nothing)
        self.refcount = Cell(self, "refcount", 0)
        unlinked: ListHead | None = None
        self.lru = Cell(self, "lru", unlinked)

    @property
    def pages(self) -> Pages:
        """4 KiB pages of this folio."""
        return Pages(1 << self.order)


class AddressSpace(Object):
    """struct address_space: per page of the file its folio, or the shadow of one that was reclaimed (an integer), or None."""

    __slots__ = ("_pages",)

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._pages: dict[int, Cell] = {}

    def page(self, index: int) -> Cell:
        """i_pages[index]."""
        cell = self._pages.get(index)
        if cell is None:
            nothing: Folio | int | None = None
            cell = self._pages[index] = Cell(self, index, nothing)
        return cell

    def cached(self) -> list[int]:
        """Pages that are in memory now. A look from outside."""
        return [index for index, cell in self._pages.items() if isinstance(cell.value, Folio)]


class Lruvec(Object, ABC):
    """LRU lists of one memcg on one node, under `lru_lock`: MGLRU (`agewalk.model.mglru`) and the classic two lists.

    The kernel decides by lru_gen_enabled() inside mm/swap.c, mm/rmap.c and mm/workingset.c; here the lruvec decides, so that
    faults and reverse mapping are written once.
    memory: the host's, whose CPU batches `swap.folio_activate()` uses; set when that is built. None: no batches.
    """

    __slots__ = ("lru_lock", "memory")

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.lru_lock = Lock(self, "lru_lock")
        self.memory: Memory | None = None

    @abstractmethod
    def add_folio(self, folio: Folio, *, tail: bool = False) -> Step[None]:
        """lruvec_add_folio(), under lru_lock: link a folio whose PG_lru has just been set. `tail`: lruvec_add_folio_tail(),
        for a folio to be reclaimed next (folio_rotate_reclaimable())."""

    @abstractmethod
    def del_folio(self, folio: Folio) -> Step[None]:
        """lruvec_del_folio(), under lru_lock."""

    @abstractmethod
    def mark_accessed(self, folio: Folio) -> Step[None]:
        """The LRU's part of folio_mark_accessed() (mm/swap.c)."""

    @abstractmethod
    def add_lru_in_fault(self, folio: Folio) -> Step[None]:
        """What folio_add_lru() does to the flags of a folio added inside a page fault (lru_gen_in_fault())."""

    @abstractmethod
    def eviction_shadow(self, folio: Folio) -> Step[int]:
        """workingset_eviction(): the shadow entry that replaces a folio being reclaimed."""

    @abstractmethod
    def refault(self, folio: Folio, shadow: int, *, in_fault: bool) -> Step[None]:
        """workingset_refault(): a folio comes back, and `shadow` is its entry. `in_fault`: lru_gen_in_fault()."""

    @abstractmethod
    def asks_about_folios(self) -> bool:
        """Does folio_referenced_one() ask about neighbouring pages of a folio together?"""

    @abstractmethod
    def referenced_one(self, pvmw: PageVmaMappedWalk, mm_walk: Any = None, nr: int = 1) -> Step[int]:
        """folio_referenced_one()'s look at `nr` neighbouring entries: how many references it found there (and cleared).

        mm_walk: current->reclaim_state->mm_walk of the reclaiming task; rmap passes it on from folio_referenced().
        """


@dataclass(frozen=True, slots=True)
class PageVmaMappedWalk:
    """struct page_vma_mapped_walk: `folio` is mapped at `address` of `mm`, by `pte` of `table`, or, if these are None, by the
    huge entry `pmd`. `ptl` is held."""

    folio: Folio
    mm: Mm
    vma: Vma
    address: Hva
    pmd: Cell
    table: PteTable | None
    pte: Cell | None
    ptl: Lock


class FolioBatches(Object):
    """struct cpu_fbatches: folios on their way to a list, one tuple a purpose. Each holds a reference."""

    __slots__ = ("lru_activate", "lru_add", "lru_move_tail", "mlock")

    def __init__(self, label: str) -> None:
        super().__init__(label)
        none: tuple[Folio, ...] = ()
        self.lru_add = Cell(self, "lru_add", none)
        self.lru_activate = Cell(self, "lru_activate", none)
        self.lru_move_tail = Cell(self, "lru_move_tail", none)
        self.mlock = Cell(self, "mlock", none)


class SwapSlot(Object):
    """One page of swap. count: page table entries that name it. folio: its copy in the swap cache, or None. shadow: what
    the folio that went there left behind (workingset_eviction()), or None. run: the slots that were allocated together for a
    large folio, next to one another and aligned; fixed as long as the slot is in use."""

    __slots__ = ("count", "folio", "index", "run", "shadow")

    def __init__(self, index: int) -> None:
        super().__init__(f"swap{index}")
        self.index = index
        self.run: tuple[SwapSlot, ...] = ()
        self.count = Cell(self, "count", 0)
        none: Folio | None = None
        nothing: int | None = None
        self.folio = Cell(self, "folio", none)
        self.shadow = Cell(self, "shadow", nothing)


class Memory(Object):
    """A host's memory, `frames` of 4 KiB with `swap_slots` pages of swap on a synchronous device (zram).

    free: NR_FREE_PAGES. low, high: watermarks of kswapd, `minimum`: that of all other tasks. kswapd_woken: an allocation found no
        more free than `low` and woke kswapd (wakeup_kswapd()), which the host lets run when it next can. swap_used: slots in use.
    memcg: the one that all memory of this host's tasks is charged to, or None: nothing is charged.
    direct_reclaim: what an allocation calls when free frames are at the minimum, with the frames wanted; answers the
        frames it got. Set when the host is assembled.
    batches: of the one CPU that runs here. cpus: how many the host has; with more than one, TLB flushes of unmapped pages
        are put off and sent together.
    """

    __slots__ = (
        "batches", "cpus", "direct_reclaim", "features", "folio_slabs", "frames", "free", "high", "kswapd_woken", "low", "lruvec",
        "mem_map", "memcg", "minimum", "next_pfn", "swap_slab", "swap_slots", "swap_used", "tlb_flush_pending", "zero",
    )  # fmt: skip

    def __init__(
        self,
        features: MmFeatures,
        lruvec: Lruvec,
        mem_map: dict[Pfn, Folio],
        *,
        frames: int,
        swap_slots: int = 1 << 40,
        cpus: int = 1,
    ) -> None:
        super().__init__("memory")
        self.features = features
        self.lruvec = lruvec
        self.mem_map = mem_map
        self.frames = frames
        self.free = Cell(self, "free", frames)
        self.kswapd_woken = Cell(self, "kswapd_woken", value=False)
        # __setup_per_zone_wmarks(): high and low lie min/4, at least 0.1 %, above one another
        self.minimum = min(frames // 256, 4096)
        step = max(self.minimum // 4, frames // 1000)
        self.low = self.minimum + step
        self.high = self.low + step
        self.swap_slots = swap_slots
        self.swap_used = Cell(self, "swap_used", 0)
        self.swap_slab = Slab("swap", SwapSlot, reuse=True)
        self.cpus = cpus
        self.batches = FolioBatches("cpu0")
        lruvec.memory = self
        self.tlb_flush_pending = Cell(self, "tlb_flush_pending", value=False)
        self.direct_reclaim: Callable[[int], Step[int]] | None = None
        self.memcg: Memcg | None = None
        self.next_pfn = HPAGE_PMD_NR
        self.folio_slabs: dict[tuple[int, int], Slab] = {}  # by type and order
        self.zero = Folio(ZERO_PFN, lruvec)  # the shared zero page: mapped by special entries, on no list

    def slot(self, index: int) -> SwapSlot:
        """The slot that a swap entry names."""
        slot = self.swap_slab.object(index)
        assert isinstance(slot, SwapSlot)
        return slot

    def folio(self, pfn: int) -> Folio:
        """pfn_folio(). The first 512 frames are the zero page and the huge zero page."""
        return self.zero if pfn < HPAGE_PMD_NR else self.mem_map[Pfn(pfn)]


@dataclass(frozen=True)
class NotifierRange:
    """struct mmu_notifier_range: [start, end) of `mm`, bytes. `blockable`: may the callbacks sleep?"""

    mm: Mm
    start: Hva
    end: Hva
    blockable: bool = True


Young = Callable[["MmuNotifier", "Mm", Hva, Hva, bool], Step[int]]  # (subscription, mm, start, end, fast_only)

#: (subscription, mm, start, end, clear, bits): v2, v3. Bit i is page i from `start` on. Tests which are young, or clears `bits`.
YoungBitmap = Callable[["MmuNotifier", "Mm", Hva, Hva, bool, int], Step[int]]


@dataclass(frozen=True)
class MmuNotifierOps:
    """struct mmu_notifier_ops. None where a subscriber does not implement an operation: only KVM has the young ones
    (6.12, all of drivers/, arch/, virt/ and mm/)."""

    name: str
    release: Callable[[MmuNotifier, Mm], Step[None]] | None = None
    clear_flush_young: Young | None = None
    clear_young: Young | None = None
    test_young: Callable[[MmuNotifier, Mm, Hva, bool], Step[int]] | None = None  # one address
    test_clear_young_fast_only: Young | None = None  # v5 alone; the last argument is `clear`
    young_bitmap: YoungBitmap | None = None
    invalidate_range_start: Callable[[MmuNotifier, NotifierRange], Step[int]] | None = None
    invalidate_range_end: Callable[[MmuNotifier, NotifierRange], Step[None]] | None = None


class MmuNotifier(Object):
    """struct mmu_notifier: one subscription. `next` and `pprev` link it as an hlist_node; pprev is None when unhashed."""

    __slots__ = ("has_fast_aging", "mm", "next", "ops", "owner", "pprev", "users")

    def __init__(self, label: str, ops: MmuNotifierOps, owner: Object, *, has_fast_aging: bool = False) -> None:
        super().__init__(label)
        self.ops = ops
        self.owner = owner  # container_of(): the Kvm, the driver
        self.has_fast_aging = has_fast_aging
        none: MmuNotifier | None = None
        link: Cell | None = None
        self.next = Cell(self, "next", none)
        self.pprev = Cell(self, "pprev", link)
        self.users = Cell(self, "users", 0)


class NotifierSubscriptions(Object):
    """struct mmu_notifier_subscriptions. `srcu` is the one domain of the host (static srcu in mmu_notifier.c)."""

    __slots__ = ("first", "lock", "srcu")

    def __init__(self, label: str, srcu: Srcu) -> None:
        super().__init__(label)
        none: MmuNotifier | None = None
        self.first = Cell(self, "first", none)
        self.lock = Lock(self, "lock")
        self.srcu = srcu
