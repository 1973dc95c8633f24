"""Eviction, first half: sort the oldest generation and take folios off it (mm/vmscan.c, "the eviction")."""

from __future__ import annotations

from dataclasses import dataclass, field

from agewalk.core.effects import Count, FetchAdd, FetchAnd, ListEnd, Load, Step
from agewalk.model.mglru import lists
from agewalk.model.mglru.aging.generations import (
    MAX_LRU_BATCH,
    MAX_SWAPPINESS,
    MIN_NR_GENS,
    evictable_types,
    folio_lru_refs,
    lru_gen_from_seq,
    lru_tier_from_refs,
    refs_saturated,
)
from agewalk.model.mglru.aging.inc_max_seq import count_protected
from agewalk.model.mglru.aging.promote import folio_inc_gen
from agewalk.model.mglru.aging.tiers import get_tier_idx, get_type_to_scan
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mglru.flags import set_mask_bits
from agewalk.model.mglru.state import LruGen, load_min_seq
from agewalk.model.mm.folio import (
    ANON,
    FILE,
    LRU_REFS_FLAGS,
    LRU_REFS_MASK,
    PG_DIRTY,
    PG_LOCKED,
    PG_LRU,
    PG_MLOCKED,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_WORKINGSET,
    PG_WRITEBACK,
    folio_lru_gen,
)
from agewalk.model.mm.mm_types import Folio


@dataclass
class Isolated:
    """What isolate_folios() brings. `scanned` is what it answers; folios in list order (`lru_to_folio()` is the last)."""

    type: int = ANON
    scanned: int = 0
    pages: int = 0
    folios: list[Folio] = field(default_factory=list)


def folio_evictable(flags: int) -> bool:
    """folio_evictable(): not mlocked. Mappings of a model host are never unevictable as a whole."""
    return not flags & PG_MLOCKED


def sort_folio(lruvec: LruGen, folio: Folio, tier_idx: int) -> Step[bool]:
    """sort_folio(), under lru_lock: a folio that is not to be evicted now goes to the list where it belongs."""
    features = lruvec.features
    rework = features.workingset_protection
    flags: int = yield Load(folio.flags)
    gen = folio_lru_gen(flags)
    if not folio_evictable(flags):
        return False
    min_seq: int = yield Load(lruvec.min_seq[folio.type])
    if gen != lru_gen_from_seq(min_seq):  # promoted
        yield from lists.list_move(lruvec.folios[gen][folio.type], folio)
        return True
    refs = folio_lru_refs(flags, workingset_protection=rework)
    workingset = bool(flags & PG_WORKINGSET)
    tier = lru_tier_from_refs(refs, workingset, workingset_protection=rework)
    if tier > tier_idx or refs_saturated(refs, workingset, workingset_protection=rework):  # protected
        gen = yield from folio_inc_gen(lruvec, folio)
        yield from lists.list_move(lruvec.folios[gen][folio.type], folio, tail=not rework)
        yield from count_protected(lruvec, folio, flags)
        return True
    waits = flags & PG_WRITEBACK or (folio.type == FILE and flags & PG_DIRTY)
    if features.sorts_writeback and (waits or (not rework and flags & PG_LOCKED)):
        gen = yield from folio_inc_gen(lruvec, folio, reclaiming=PG_RECLAIM)
        yield from lists.list_move(lruvec.folios[gen][folio.type], folio)
        return True
    return False


def isolate_folio(lruvec: LruGen, folio: Folio, sc: ScanControl) -> Step[bool]:
    """isolate_folio(), under lru_lock: off the list, for reclaim alone."""
    features = lruvec.features
    flags: int = yield Load(folio.flags)
    if not sc.gfp_io and not features.workingset_protection and folio.type == ANON and not flags & PG_SWAPCACHE:
        return False
    yield FetchAdd(folio.refcount, 1)  # folio_try_get()
    if not (yield FetchAnd(folio.flags, ~PG_LRU)) & PG_LRU:  # raced with another isolation
        yield FetchAdd(folio.refcount, -1)
        return False
    if features.workingset_protection:
        if not flags & PG_REFERENCED:
            yield from set_mask_bits(folio.flags, LRU_REFS_MASK, 0)
    else:
        if not flags & PG_REFERENCED:
            yield from set_mask_bits(folio.flags, LRU_REFS_FLAGS | PG_WORKINGSET, 0)
        reclaim = PG_RECLAIM if features.sorts_writeback else 0
        yield from lists.clear_flags(folio, PG_REFERENCED | reclaim)  # for shrink_folio_list()
    yield from lists.lru_gen_del_folio(lruvec, folio, reclaiming=True)
    return True


def scan_folios(lruvec: LruGen, sc: ScanControl, type_: int, tier: int, nr_to_scan: int, into: Isolated) -> Step[int]:
    """scan_folios(), under lru_lock: at most `nr_to_scan` folios of the oldest generation, until 64 pages are isolated.

    Answers the pages scanned; before 7.3 that is 0 if nothing was isolated although the budget was not used up.
    """
    min_seq: int = yield Load(lruvec.min_seq[type_])
    if (yield Load(lruvec.max_seq)) - min_seq + 1 == MIN_NR_GENS:
        return 0
    head = lruvec.folios[lru_gen_from_seq(min_seq)][type_]
    remaining = nr_to_scan
    scanned = isolated = skipped = 0
    moved: list[Folio] = []
    folio: Folio | None = yield ListEnd(head)
    while folio is not None:
        scanned += folio.pages
        if not (yield from sort_folio(lruvec, folio, tier)):
            if (yield from isolate_folio(lruvec, folio, sc)):
                into.folios.insert(0, folio)
                isolated += folio.pages
            else:
                yield from lists.list_del(folio)
                moved.insert(0, folio)
                skipped += folio.pages
        remaining -= 1
        if not remaining or max(isolated, skipped) >= sc.batch():
            break
        folio = yield ListEnd(head)
    for other in reversed(moved):
        yield from lists.list_add(head, other)
    into.pages = isolated
    if lruvec.features.shrink_loop == "fixed_budget":
        return scanned
    return scanned if isolated or not remaining else 0


def isolate_folios(lruvec: LruGen, sc: ScanControl, swappiness: int, nr_to_scan: int) -> Step[Isolated]:
    """isolate_folios(), under lru_lock: choose a type, scan it; if it has nothing, the other one."""
    yield Count("isolate_folios")
    features = lruvec.features
    got = Isolated()
    tier: int | None = None
    min_seq = yield from load_min_seq(lruvec)
    if features.sums_tiers:
        got.type, _ = yield from get_type_to_scan(lruvec, swappiness)
        rounds = len(evictable_types(swappiness))
    else:
        got.type, tier = yield from _obvious_type(lruvec, sc, swappiness, min_seq)
        rounds = 2 - (not swappiness)
    for _ in range(rounds):
        if tier is None:
            tier = yield from get_tier_idx(lruvec, got.type)
        scanned = yield from scan_folios(lruvec, sc, got.type, tier, nr_to_scan, got)
        got.scanned += scanned
        if got.pages or (scanned and features.shrink_loop != "fixed_budget"):
            break
        if not scanned:
            got.type = FILE if got.type == ANON else ANON
        tier = None
    return got


def _obvious_type(
    lruvec: LruGen, sc: ScanControl, swappiness: int, min_seq: tuple[int, int]
) -> Step[tuple[int, int | None]]:
    """The choice of isolate_folios() up to 6.13."""
    if not swappiness:
        return FILE, None
    if min_seq[ANON] < min_seq[FILE]:
        return ANON, None
    if swappiness == 1:
        return FILE, None
    if swappiness == MAX_SWAPPINESS:
        return ANON, None
    if not sc.gfp_io:
        return FILE, None
    return (yield from get_type_to_scan(lruvec, swappiness))


def scan_budget(lruvec: LruGen, nr_to_scan: int) -> int:
    """`remaining` of scan_folios()."""
    return min(nr_to_scan, MAX_LRU_BATCH) if lruvec.features.scan_limit else MAX_LRU_BATCH
