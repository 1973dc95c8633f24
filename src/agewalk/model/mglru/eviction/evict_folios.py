"""evict_folios(): one batch, from the oldest generation to swap; and aging's part in it (mm/vmscan.c)."""

from __future__ import annotations

from agewalk.core.effects import Acquire, Count, FetchOr, Load, Release, Step
from agewalk.model.mglru import lists
from agewalk.model.mglru.aging.generations import MIN_NR_GENS, oldest_seq
from agewalk.model.mglru.aging.inc_max_seq import try_to_inc_min_seq
from agewalk.model.mglru.aging.page_table_walk import reset_batch_size
from agewalk.model.mglru.eviction.isolate import folio_evictable, isolate_folios, scan_budget
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.eviction.shrink_folio_list import (
    FolioReferences,
    folio_check_references,
    move_folios_to_lru,
    shrink_folio_list,
)
from agewalk.model.mglru.flags import set_mask_bits
from agewalk.model.mglru.state import LruGen, load_min_seq
from agewalk.model.mm.folio import (
    LRU_REFS_FLAGS,
    PG_ACTIVE,
    PG_DIRTY,
    PG_LOCKED,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_WORKINGSET,
    PG_WRITEBACK,
)
from agewalk.model.mm.mm_types import Folio


def evict_folios(lruvec: LruGen, sc: ScanControl, swappiness: int, nr_to_scan: int) -> Step[int]:
    """evict_folios(): isolate a batch, shrink it, put the rest back. Answers the pages scanned; 0 = nothing to be had."""
    yield Count("evict_folios")
    features = lruvec.features
    yield Acquire(lruvec.lru_lock)
    if features.flushes_empty_first:
        yield from try_to_inc_min_seq(lruvec, swappiness)
    got = yield from isolate_folios(lruvec, sc, swappiness, scan_budget(lruvec, nr_to_scan))
    scanned = got.scanned
    if not features.flushes_empty_first:
        scanned += yield from try_to_inc_min_seq(lruvec, swappiness)
        max_seq: int = yield Load(lruvec.max_seq)
        min_seq = yield from load_min_seq(lruvec)
        if oldest_seq(min_seq, swappiness, by_evictable_type=features.by_evictable_type) + MIN_NR_GENS > max_seq:
            scanned = 0
    elif scanned:
        yield from try_to_inc_min_seq(lruvec, swappiness)
    yield Release(lruvec.lru_lock)
    folios = got.folios
    retried = False

    def check(folio: Folio, sc: ScanControl) -> Step[FolioReferences]:
        return folio_check_references(lruvec, folio, sc)

    while folios:
        reclaimed, folios = yield from shrink_folio_list(
            folios, sc, check, keeps_promoted=features.keeps_referenced_mapped
        )
        sc.nr_reclaimed += reclaimed
        folios, clean = yield from _sort_rejected(lruvec, folios, got.type, retried=retried)
        yield Acquire(lruvec.lru_lock)
        yield from move_folios_to_lru(lruvec, folios)
        if sc.mm_walk is not None and sc.mm_walk.batched:
            yield from reset_batch_size(lruvec, sc.mm_walk)
        yield Release(lruvec.lru_lock)
        folios = clean
        retried = True
    return scanned


def _sort_rejected(
    lruvec: LruGen, folios: list[Folio], type_: int, *, retried: bool
) -> Step[tuple[list[Folio], list[Folio]]]:
    """Rejected folios: those that go back, marked so that they do not land in the oldest generation, and clean unmapped
    ones, which get one more try (they may have missed folio_rotate_reclaimable()). Both in list order."""
    rework = lruvec.features.workingset_protection
    back: list[Folio] = []
    clean: list[Folio] = []
    for folio in reversed(folios):
        flags: int = yield Load(folio.flags)
        mapped = bool((yield Load(folio.mappings)))
        busy = mapped or bool(flags & (PG_ACTIVE | PG_DIRTY | PG_WRITEBACK))
        if not folio_evictable(flags):
            back.insert(0, folio)
        elif rework:
            if not retried and not busy:
                clean.insert(0, folio)
                continue
            back.insert(0, folio)
            min_seq: int = yield Load(lruvec.min_seq[type_])
            if (yield from lists.lru_gen_folio_seq(lruvec, folio, reclaiming=False)) == min_seq:
                yield from set_mask_bits(folio.flags, LRU_REFS_FLAGS, PG_ACTIVE)
        elif flags & PG_RECLAIM and flags & (PG_DIRTY | PG_WRITEBACK):
            back.insert(0, folio)
            if flags & PG_WORKINGSET:  # restore what isolate_folio() cleared
                yield FetchOr(folio.flags, PG_REFERENCED)
        elif retried or busy or flags & (PG_REFERENCED | PG_LOCKED):
            back.insert(0, folio)
            yield from set_mask_bits(folio.flags, LRU_REFS_FLAGS | PG_WORKINGSET, PG_ACTIVE)
        else:
            clean.insert(0, folio)
    return back, clean
