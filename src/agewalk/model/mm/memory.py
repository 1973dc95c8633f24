"""The memory of one host: its frames, its swap, the batches of its CPUs, and the LRU that all of it is on.

mm/page_alloc.c as far as reclaim sees it: how many frames are free, and what happens when few are. Frames are names:
a frame number finds its folio (`mem_map`, struct page), and fragmentation does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agewalk.core.cells import Cell, Object, Slab
from agewalk.core.effects import Again, Alloc, FetchAdd, Free, Load, Step, Store, Work
from agewalk.core.errors import ModelError
from agewalk.core.units import Pfn
from agewalk.model.mm.features import MmFeatures
from agewalk.model.mm.folio import ANON, PG_SWAPBACKED, PG_UPTODATE, Folio
from agewalk.model.mm.lruvec import Lruvec

HPAGE_PMD_ORDER: Final = 9
HPAGE_PMD_NR: Final = 1 << HPAGE_PMD_ORDER
ZERO_PFN: Final = Pfn(0)
MAX_RECLAIM_RETRIES: Final = 16  # mm/internal.h
SWAP_CLUSTER_MAX: Final = 32


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
    the folio that went there left behind (workingset_eviction()), or None."""

    __slots__ = ("count", "folio", "index", "shadow")

    def __init__(self, index: int) -> None:
        super().__init__(f"swap{index}")
        self.index = index
        self.count = Cell(self, "count", 0)
        nobody: Folio | None = None
        nothing: int | None = None
        self.folio = Cell(self, "folio", nobody)
        self.shadow = Cell(self, "shadow", nothing)


class Memory(Object):
    """A host's memory, `frames` of 4 KiB, with `swap_slots` pages of swap on a synchronous device (zram).

    free: NR_FREE_PAGES. low, high: watermarks of kswapd, `minimum` that of everybody else. kswapd_woken: an allocation found no
        more free than `low` and woke kswapd (wakeup_kswapd()), which the host lets run when it next can. swap_used: slots in use.
    direct_reclaim: what an allocation calls when free frames are at the minimum, with the frames wanted; answers the
        frames it got. Set by whoever assembles the host.
    batches: of the one CPU that runs here. cpus: how many the host has; with more than one, TLB flushes of unmapped pages
        are put off and sent together.
    """

    __slots__ = (
        "_slabs", "batches", "cpus", "direct_reclaim", "features", "frames", "free", "high", "kswapd_woken", "low", "lruvec",
        "mem_map", "minimum", "next_pfn", "swap_slab", "swap_slots", "swap_used", "tlb_flush_pending", "zero",
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
        self.next_pfn = HPAGE_PMD_NR
        self._slabs: dict[tuple[int, int], Slab] = {}
        self.zero = Folio(ZERO_PFN, lruvec)  # the shared zero page: mapped by special entries, on no list

    def folio_slab(self, type_: int, order: int) -> Slab:
        """Where folios of a type and size come from. A folio keeps its frame number from one life to the next."""
        slab = self._slabs.get((type_, order))
        return self._new_folio_slab(type_, order) if slab is None else slab

    def _new_folio_slab(self, type_: int, order: int) -> Slab:
        def make(_: int) -> Folio:
            pages = 1 << order
            pfn = Pfn(-(-self.next_pfn // pages) * pages)
            self.next_pfn = pfn + pages
            folio = Folio(pfn, self.lruvec, order=order, type_=type_)
            for i in range(pages):
                self.mem_map[Pfn(pfn + i)] = folio
            return folio

        kind = "anon" if type_ == ANON else "file"
        slab = self._slabs[type_, order] = Slab(f"{kind} folios of order {order}", make, reuse=True)
        return slab

    def slot(self, index: int) -> SwapSlot:
        """The slot that a swap entry names."""
        slot = self.swap_slab.object(index)
        assert isinstance(slot, SwapSlot)
        return slot

    def folio(self, pfn: int) -> Folio:
        """pfn_folio(). The first 512 frames are the zero page and the huge zero page."""
        return self.zero if pfn < HPAGE_PMD_NR else self.mem_map[Pfn(pfn)]


def alloc_folio(memory: Memory, type_: int = ANON, order: int = 0) -> Step[Folio]:
    """folio_alloc(): a folio with one reference, its contents not read yet. Reclaims if free frames are at the minimum.

    Raises ModelError when there is nothing left to reclaim (the kernel would kill a process).
    """
    pages = 1 << order
    if not order and (yield Load(memory.free)) <= memory.low:  # GFP_TRANSHUGE_LIGHT wakes nobody
        yield Store(memory.kswapd_woken, True)
    retries = 0
    while (yield Load(memory.free)) - pages < memory.minimum:
        got = 0
        if memory.direct_reclaim is not None:
            got = yield from memory.direct_reclaim(max(pages, SWAP_CLUSTER_MAX))
        retries = 0 if got else retries + 1
        if retries > MAX_RECLAIM_RETRIES:
            if (yield Load(memory.free)) >= pages:
                break  # the reserves: what is left below the watermark
            raise ModelError(
                f"out of memory: {memory.frames} frames, none can be reclaimed",
                hint="give the host more memory or swap, or unlock some of it",
            )
        yield Again("alloc_folio", type_, order, retries)
    yield FetchAdd(memory.free, -pages)
    folio: Folio = yield Alloc(memory.folio_slab(type_, order))
    yield Store(folio.flags, PG_UPTODATE | (PG_SWAPBACKED if type_ == ANON else 0))
    yield Store(folio.mappings, ())
    yield Store(folio.backing, ())
    yield Store(folio.lru, None)
    yield Store(folio.refcount, 1)
    yield Work("page_alloc")
    return folio


def free_folio(memory: Memory, folio: Folio) -> Step[None]:
    """free_unref_folios(): the last reference is gone and it is on no list."""
    yield FetchAdd(memory.free, folio.pages)
    yield Free(folio)
