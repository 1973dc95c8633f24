"""lru_gen_look_around(): eviction met a young page, so its neighbours are probably young too (mm/vmscan.c).

And the question in front of it, folio_referenced_one() (mm/rmap.c): was the page that is about to go used meanwhile?
"""

from __future__ import annotations

from typing import Any, Final

from agewalk.core.cells import Cell, Lock
from agewalk.core.effects import Acquire, Count, FetchOr, IsContended, Load, Release, Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mglru.aging.bloom import pmd_entry_address, update_bloom_filter
from agewalk.model.mglru.aging.generations import PMD_SIZE, look_around_window, lru_gen_from_seq, suitable_to_scan
from agewalk.model.mglru.aging.mm_list import mm_number
from agewalk.model.mglru.aging.page_table_walk import entries_at_once, get_pfn_folio, may_be_young, promotes_at_once
from agewalk.model.mglru.aging.promote import folio_update_gen, lru_gen_update_size, walk_update_folio
from agewalk.model.mglru.aging.young_bitmap import young_bitmap
from agewalk.model.mglru.state import LruGen, MmWalk
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import ANON, PG_REFERENCED, folio_lru_gen
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Folio, Mm, PteTable, Vma
from agewalk.model.mm.pte_batch import entries

PAGEVEC_SIZE: Final = 15  # 6.1


def folio_referenced_pte(
    lruvec: LruGen, walk: MmWalk | None, folio: Folio, mm: Mm, vma: Vma, table: PteTable, ptl: Lock, address: Hva,
    nr: int = 1,
) -> Step[int]:  # fmt: skip
    """folio_referenced_one() at `nr` neighbouring PTEs of `folio`, page table lock held: references found (and cleared).

    From 6.13 on lru_gen_look_around() reads the target for itself. Before, it is called only if the primary PTE is young
    and meets the target among its neighbours; the target is then asked about, with its secondary MMUs, in any case.
    """
    cell = table.ptes[pte_index(address)]
    if lruvec.features.look_around_tests_target:
        yield Count("lru_gen_look_around")
        if lruvec.features.look_around_gives_up_first and ((yield IsContended(ptl)) or vma.special):
            return 0
        verdict = yield from lruvec.protocol.target(mm, entries(table, address, nr), address, nr * PAGE_SIZE)
        if verdict.look_around:
            yield from _look_around(lruvec, walk, folio, mm, vma, table, ptl, address, young=nr)
        return int(verdict.referenced)
    referenced = 0
    if p.pte_young((yield Load(cell))) and not vma.sequential:
        yield Count("lru_gen_look_around")
        yield from _look_around(lruvec, walk, folio, mm, vma, table, ptl, address, young=0)
        referenced = 1
    verdict = yield from lruvec.protocol.target(mm, cell, address)
    return referenced + int(verdict.referenced)


def folio_referenced_pmd(lruvec: LruGen, mm: Mm, pmd: Cell, address: Hva) -> Step[int]:
    """folio_referenced_one() of a folio mapped by one PMD entry: no look-around."""
    verdict = yield from lruvec.protocol.target(mm, pmd, Hva(address & -PMD_SIZE), PMD_SIZE)
    return int(verdict.referenced)


def _look_around(
    lruvec: LruGen,
    walk: MmWalk | None,
    folio: Folio,
    mm: Mm,
    vma: Vma,
    table: PteTable,
    ptl: Lock,
    address: Hva,
    *,
    young: int,
) -> Step[None]:
    """lru_gen_look_around() behind its test of the target. `young`: pages of the target, if they count already."""
    features = lruvec.features
    if (yield IsContended(ptl)) or vma.special:
        return
    start, end = look_around_window(address, vma.start, vma.end)
    if end - start == PAGE_SIZE and features.look_around_tests_target:
        return
    can_swap = folio.type == ANON if features.look_around_at_once else walk is None or bool(walk.swappiness)
    max_seq: int = yield Load(lruvec.max_seq)
    gen = lru_gen_from_seq(max_seq)
    later: list[Folio] = []
    window = young_bitmap(lruvec, mm, end)
    last: Folio | None = None
    after = start
    for at in range(start, end, PAGE_SIZE):
        if at < after:
            continue
        cell = table.ptes[pte_index(Hva(at))]
        entry: int = yield Load(cell)
        neighbour = None
        if p.pte_present(entry) and not entry & p.SPECIAL:
            asked = window.found(entry, at) if window is not None else may_be_young(lruvec, mm, entry)
            if (yield from asked):
                neighbour = yield from get_pfn_folio(lruvec, entry, can_swap=can_swap)
        if neighbour is None:
            if window is not None:
                yield from window.passed(at)
            continue
        if window is not None:
            yield from window.taken(cell, entry, at)
        else:
            nr = yield from entries_at_once(lruvec, neighbour, table, Hva(at), entry, end)
            after = Hva(at + nr * PAGE_SIZE)
            if nr == 1:
                found = yield from lruvec.protocol.neighbour(mm, cell, Hva(at))
            else:
                found = yield from lruvec.protocol.neighbour(mm, entries(table, Hva(at), nr), Hva(at), nr * PAGE_SIZE)
            if not found:
                continue
            young += nr - 1
        young += 1
        if neighbour is last and features.folio_told_once:
            continue
        last = neighbour
        if features.look_around_at_once:
            executable = promotes_at_once(lruvec, neighbour, vma)
            yield from walk_update_folio(lruvec, walk, neighbour, gen, executable=executable)
        else:
            old_gen = folio_lru_gen((yield Load(neighbour.flags)))
            if old_gen < 0:
                yield FetchOr(neighbour.flags, PG_REFERENCED)
            elif old_gen != gen:
                later.append(neighbour)
    yield Count("ptes_looked_around", (end - start) // PAGE_SIZE)
    if suitable_to_scan((end - start) // PAGE_SIZE, young):
        yield Count("update_bloom_filter")
        item = pmd_entry_address((yield from mm_number(lruvec, mm)), address)
        yield from update_bloom_filter(lruvec.filters, max_seq, item)
    if later:
        yield from _promote_collected(lruvec, walk, later, gen)


def _promote_collected(lruvec: LruGen, walk: MmWalk | None, folios: list[Folio], gen: int) -> Step[None]:
    """The second half of lru_gen_look_around() up to 6.3: few folios are activated one by one, many are promoted together
    under the LRU lock, or by the walk's batch if there is a walk."""
    if walk is None and len(folios) < PAGEVEC_SIZE:
        for folio in folios:
            yield from lruvec.activate(folio)
        return
    if walk is None:
        yield Acquire(lruvec.lru_lock)
        max_seq: int = yield Load(lruvec.max_seq)
        gen = lru_gen_from_seq(max_seq)
    for folio in folios:
        old_gen = yield from folio_update_gen(lruvec, folio, gen)
        if old_gen in {-1, gen}:
            continue
        if walk is not None:
            walk.update_batch_size(folio.type, old_gen, gen, folio.pages)
        else:
            yield from lru_gen_update_size(lruvec, folio, old_gen, gen)
    if walk is None:
        yield Release(lruvec.lru_lock)


def walk_of(mm_walk: Any) -> MmWalk | None:
    """current->reclaim_state->mm_walk as rmap hands it through."""
    return mm_walk if isinstance(mm_walk, MmWalk) else None
