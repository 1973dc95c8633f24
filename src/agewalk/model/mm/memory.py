"""mm/page_alloc.c as far as reclaim sees it: folios come and go, and few free frames start reclaim."""

from __future__ import annotations

from typing import Final

from agewalk.core.cells import Slab
from agewalk.core.effects import Again, Alloc, FetchAdd, Free, Load, Step, Store, Work
from agewalk.core.errors import ModelError
from agewalk.core.units import Pfn
from agewalk.model.mm.folio import ANON, PG_SWAPBACKED, PG_UPTODATE
from agewalk.model.mm.memcontrol.charge import try_charge_memcg, uncharge
from agewalk.model.mm.mm_types import Folio, Memory

MAX_RECLAIM_RETRIES: Final = 16  # mm/internal.h
SWAP_CLUSTER_MAX: Final = 32


def folio_slab(memory: Memory, type_: int, order: int) -> Slab:
    """Where folios of a type and size come from. A folio keeps its frame number from one life to the next."""
    slab = memory.folio_slabs.get((type_, order))
    return _new_folio_slab(memory, type_, order) if slab is None else slab


def _new_folio_slab(memory: Memory, type_: int, order: int) -> Slab:
    def make(_: int) -> Folio:
        pages = 1 << order
        pfn = Pfn(-(-memory.next_pfn // pages) * pages)
        memory.next_pfn = pfn + pages
        folio = Folio(pfn, memory.lruvec, order=order, type_=type_)
        for i in range(pages):
            memory.mem_map[Pfn(pfn + i)] = folio
        return folio

    kind = "anon" if type_ == ANON else "file"
    slab = memory.folio_slabs[type_, order] = Slab(f"{kind} folios of order {order}", make, reuse=True)
    return slab


def alloc_folio(memory: Memory, type_: int = ANON, order: int = 0) -> Step[Folio]:
    """folio_alloc(), and its charge: a folio with one reference, its contents not read yet. Reclaims from the memcg at its limit,
    and from the node if free frames are at the minimum.

    Raises ModelError when there is nothing left to reclaim (the kernel would kill a process).
    """
    pages = 1 << order
    if memory.memcg is not None:
        yield from try_charge_memcg(memory.memcg, pages)
    if not order and (yield Load(memory.free)) <= memory.low:  # GFP_TRANSHUGE_LIGHT does not wake kswapd
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
    folio: Folio = yield Alloc(folio_slab(memory, type_, order))
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
    if memory.memcg is not None:
        yield from uncharge(memory.memcg, folio.pages)
    yield Free(folio)
