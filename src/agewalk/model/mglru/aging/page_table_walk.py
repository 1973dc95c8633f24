"""The aging's walk over page tables (mm/vmscan.c: walk_mm() and below)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agewalk.core.effects import (
    ACQUIRE,
    READ,
    Acquire,
    Count,
    Load,
    Release,
    Step,
    Store,
    TryAcquire,
)
from agewalk.core.units import PAGE_SIZE, PMD_SHIFT, Hva
from agewalk.model.mglru.aging.bloom import pmd_entry_address, test_bloom_filter, update_bloom_filter
from agewalk.model.mglru.aging.generations import (
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MAX_SWAPPINESS,
    MIN_LRU_BATCH,
    PMD_SIZE,
    PUD_SIZE,
    TYPES,
    lru_gen_from_seq,
    suitable_to_scan,
)
from agewalk.model.mglru.aging.mm_list import mm_number
from agewalk.model.mglru.aging.promote import walk_update_folio
from agewalk.model.mglru.aging.young_bitmap import young_bitmap
from agewalk.model.mglru.state import (
    LEAF_OLD,
    LEAF_TOTAL,
    LEAF_YOUNG,
    NONLEAF_ADDED,
    NONLEAF_FOUND,
    NONLEAF_TOTAL,
    LruGen,
    MmWalk,
)
from agewalk.model.mm import pte as p
from agewalk.model.mm.folio import ANON, FILE, folio_lru_gen
from agewalk.model.mm.mm import pte_index
from agewalk.model.mm.mm_types import Folio, Mm, PteTable, Vma
from agewalk.model.mm.mmu_notifier import mm_has_notifiers
from agewalk.model.mm.pte import ptep_test_and_clear_young
from agewalk.model.mm.pte_batch import entries, folio_pte_batch

MAX_ADDRESS: Final = 1 << 47


def should_skip_vma(vma: Vma, swappiness: int) -> bool:
    """should_skip_vma(): nothing there that aging could use."""
    if vma.inaccessible or vma.sequential or vma.locked or vma.special:
        return True
    return not swappiness if vma.anon else swappiness > MAX_SWAPPINESS


def pieces(vmas: tuple[Vma, ...], size: int, start: int, end: int) -> Iterator[tuple[Hva, tuple[Vma, ...]]]:
    """The aligned areas of `size` bytes in [start, end) that hold some of `vmas`, in order, each with its VMAs:
    get_next_vma() finishes a whole table before the walk returns to the level above."""
    by_area: dict[int, list[Vma]] = {}
    for vma in vmas:
        for area in range(max(vma.start, start) // size, (min(vma.end, end) - 1) // size + 1):
            by_area.setdefault(area, []).append(vma)
    for area in sorted(by_area):
        yield Hva(area * size), tuple(by_area[area])


def get_pfn_folio(lruvec: LruGen, entry: int, *, can_swap: bool) -> Step[Folio | None]:
    """get_pfn_folio(): the folio behind a present entry, if it is on this memcg's lists (since 6.13; before, isolated ones
    count, folio_update_gen() tells them apart) and of a type that may be evicted (up to 6.13)."""
    folio = lruvec.mem_map.get(p.pte_pfn(entry))
    if folio is None or folio.lruvec is not lruvec:
        return None
    if lruvec.features.workingset_protection:
        return folio if folio_lru_gen((yield Load(folio.flags))) >= 0 else None
    return folio if can_swap or folio.type != ANON else None


def promotes_at_once(lruvec: LruGen, folio: Folio, vma: Vma) -> bool:
    """is_exec_file_folio() (7.3): programs are promoted at the first access that is seen."""
    return lruvec.features.exec_activated_at_once and vma.executable and folio.type == FILE


def may_be_young(lruvec: LruGen, mm: Mm, entry: int) -> Step[bool]:
    """get_pte_pfn()'s last test: an old entry can only be young elsewhere if the mm has notifiers."""
    if p.pte_young(entry):
        return True
    return should_walk_secondary_mmu(lruvec, mm) and (yield from mm_has_notifiers(mm))


def should_walk_secondary_mmu(lruvec: LruGen, mm: Mm) -> bool:
    """should_walk_secondary_mmu() of v4 to v7: constant on a host. In v5 core mm asks KVM here, inline."""
    features = lruvec.features
    return features.walk_notifies and (mm.kvm_likely_fast or not features.walk_if_likely_fast)


def entries_at_once(lruvec: LruGen, folio: Folio, table: PteTable, address: Hva, entry: int, end: int) -> Step[int]:
    """How many entries from `address` on, before `end`, are asked about by one question: neighbouring pages of a large folio
    (folio_pte_batch_flags() in walk_pte_range() and lru_gen_look_around(), since 7.1), else one."""
    if not folio.order or not lruvec.features.asks_about_folios:
        return 1
    return (yield from folio_pte_batch(folio, table, address, entry, (end - address) // PAGE_SIZE))


def walk_pte_range(
    lruvec: LruGen, walk: MmWalk, mm: Mm, table: PteTable, base: Hva, vmas: tuple[Vma, ...]
) -> Step[bool]:
    """walk_pte_range(): one page table. Is it worth a visit next time?"""
    if not (yield TryAcquire(table.ptl)):
        return lruvec.features.contended_table_suitable
    max_seq: int = yield Load(lruvec.max_seq)
    gen = lru_gen_from_seq(max_seq)
    total = young = 0
    stats = walk.mm_stats
    for vma in vmas:
        start, end = max(base, vma.start), min(base + PMD_SIZE, vma.end)
        window = young_bitmap(lruvec, mm, end)
        last: Folio | None = None
        after = Hva(start)
        for address in range(start, end, PAGE_SIZE):
            if address < after:
                continue
            cell = table.ptes[pte_index(Hva(address))]
            entry: int = yield Load(cell)
            total += 1
            stats[LEAF_TOTAL] += 1
            if not p.pte_present(entry) or entry & p.SPECIAL:
                if window is not None:
                    yield from window.passed(address)
                continue
            asked = window.found(entry, address) if window is not None else may_be_young(lruvec, mm, entry)
            if not (yield from asked):
                stats[LEAF_OLD] += 1
                if window is not None:
                    yield from window.passed(address)
                continue
            folio = yield from get_pfn_folio(lruvec, entry, can_swap=bool(walk.swappiness))
            if folio is None:
                if window is not None:
                    yield from window.passed(address)
                continue
            if window is not None:
                yield from window.taken(cell, entry, address)
                nr = 1
            else:
                nr = yield from entries_at_once(lruvec, folio, table, Hva(address), entry, end)
                after = Hva(address + nr * PAGE_SIZE)
                total += nr - 1
                stats[LEAF_TOTAL] += nr - 1
                found = lruvec.protocol.walk(mm, entries(table, Hva(address), nr), Hva(address), nr * PAGE_SIZE)
                if not (yield from found):
                    continue
            young += nr
            stats[LEAF_YOUNG] += nr
            if folio is last and lruvec.features.folio_told_once:
                continue
            last = folio
            yield from walk_update_folio(lruvec, walk, folio, gen, executable=promotes_at_once(lruvec, folio, vma))
    yield Release(table.ptl)
    yield Count("ptes_walked", total)
    return suitable_to_scan(total, young)


def walk_pmd_range_locked(lruvec: LruGen, walk: MmWalk, mm: Mm, pmds: list[Hva]) -> Step[None]:
    """walk_pmd_range_locked(): PMD entries set aside by walk_pmd_range(), under the PMD lock. Huge ones are leaves;
    of the others only the accessed bit is cleared. If the lock is taken they are left out."""
    if not pmds or not (yield TryAcquire(mm.pmd_ptl)):
        return
    max_seq: int = yield Load(lruvec.max_seq)
    gen = lru_gen_from_seq(max_seq)
    for address in pmds:
        cell = mm.pmd_cell(address)
        pmd: int = yield Load(cell)
        if not p.pte_present(pmd):
            continue
        if not pmd & p.PSE:
            if (yield from obeys_nonleaf_young(lruvec, walk, mm)):
                yield from ptep_test_and_clear_young(cell)
            continue
        if not (yield from may_be_young(lruvec, mm, pmd)):
            continue
        folio = yield from get_pfn_folio(lruvec, pmd, can_swap=bool(walk.swappiness))
        if folio is None or not (yield from lruvec.protocol.walk(mm, cell, address, PMD_SIZE)):
            continue
        walk.mm_stats[LEAF_YOUNG] += 1
        yield from walk_update_folio(lruvec, walk, folio, gen)
    yield Release(mm.pmd_ptl)


def obeys_nonleaf_young(lruvec: LruGen, walk: MmWalk, mm: Mm) -> Step[bool]:
    """Does an old PMD entry mean that its table need not be read? Not when a secondary MMU may have used the pages."""
    if lruvec.features.force_scan_reads_all and walk.force_scan:
        return False
    ends = lruvec.features.nonleaf_shortcut_ends
    if ends == "never" or not should_walk_secondary_mmu(lruvec, mm):
        return True
    return ends == "with_notifiers" and not (yield from mm_has_notifiers(mm))


def walk_pmd_range(lruvec: LruGen, walk: MmWalk, mm: Mm, vmas: tuple[Vma, ...], base: Hva, end: int) -> Step[None]:
    """walk_pmd_range(): the PMD table of 1 GiB at `base`."""
    stats = walk.mm_stats
    aside: list[Hva] = []
    for area, inside in pieces(vmas, PMD_SIZE, base, end):
        pmd: int = yield Load(mm.pmd_cell(area), ACQUIRE)
        if not p.pte_present(pmd):
            stats[LEAF_TOTAL] += 1
            continue
        if aside and (area - aside[0]) >> PMD_SHIFT > MIN_LRU_BATCH:
            yield from walk_pmd_range_locked(lruvec, walk, mm, aside)
            aside = []
        if pmd & p.PSE:
            stats[LEAF_TOTAL] += 1
            yield Count("pmds_walked")
            if (yield from may_be_young(lruvec, mm, pmd)):
                aside.append(area)
            else:
                stats[LEAF_OLD] += 1
            continue
        stats[NONLEAF_TOTAL] += 1
        if (yield from obeys_nonleaf_young(lruvec, walk, mm)):
            if not p.pte_young(pmd):
                continue
            aside.append(area)
        item = pmd_entry_address(walk.mm_number, area)
        if not walk.force_scan and not (yield from test_bloom_filter(lruvec.filters, walk.seq, item)):
            continue
        stats[NONLEAF_FOUND] += 1
        if (yield from walk_pte_range(lruvec, walk, mm, mm.table_of(pmd), area, inside)):
            stats[NONLEAF_ADDED] += 1
            yield Count("update_bloom_filter")
            yield from update_bloom_filter(lruvec.filters, walk.seq + 1, item)
    yield from walk_pmd_range_locked(lruvec, walk, mm, aside)


def walk_mm(lruvec: LruGen, walk: MmWalk, mm: Mm) -> Step[None]:
    """walk_mm(): all page tables of an mm, 1 GiB at a time; promotions are booked in between when there are many. Gives up
    if the address space is being changed (mmap_lock), or if another walker finished this round."""
    walk.mm_number = yield from mm_number(lruvec, mm)
    next_address: int | None = 0
    while next_address is not None:
        if (yield Load(lruvec.max_seq)) != walk.seq:
            break
        if not (yield TryAcquire(mm.mmap_lock, READ)):
            break
        next_address = yield from _walk_page_range(lruvec, walk, mm, next_address)
        yield Release(mm.mmap_lock, READ)
        if walk.batched:
            yield Acquire(lruvec.lru_lock)
            yield from reset_batch_size(lruvec, walk)
            yield Release(lruvec.lru_lock)


def _walk_page_range(lruvec: LruGen, walk: MmWalk, mm: Mm, start: int) -> Step[int | None]:
    """walk_page_range() with walk_pud_range(): None when all is done, else the address to go on from (-EAGAIN)."""
    all_vmas: tuple[Vma, ...] = yield Load(mm.vmas)
    vmas = tuple(v for v in all_vmas if v.end > start and not should_skip_vma(v, walk.swappiness))
    built = {index * PMD_SIZE // PUD_SIZE for index in mm.pmds}
    for base, inside in pieces(vmas, PUD_SIZE, start, MAX_ADDRESS):
        if base // PUD_SIZE not in built:  # !pud_present()
            continue
        yield from walk_pmd_range(lruvec, walk, mm, inside, base, base + PUD_SIZE)
        if walk.batched >= MAX_LRU_BATCH:
            return base + PUD_SIZE
    return None


def reset_batch_size(lruvec: LruGen, walk: MmWalk) -> Step[None]:
    """reset_batch_size(), under lru_lock: book the promotions of a walk."""
    walk.batched = 0
    for gen in range(MAX_NR_GENS):
        for type_ in TYPES:
            delta = walk.nr_pages[gen][type_]
            if delta:
                walk.nr_pages[gen][type_] = 0
                size = lruvec.nr_pages[gen][type_]
                yield Store(size, (yield Load(size)) + delta)
