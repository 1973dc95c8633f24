"""A new youngest generation: try_to_inc_max_seq() and what it needs (mm/vmscan.c)."""

from __future__ import annotations

from agewalk.core.cells import ListHead
from agewalk.core.effects import (
    RELEASE,
    Acquire,
    Again,
    Count,
    ListEnd,
    Load,
    Release,
    Step,
    Store,
    Warn,
)
from agewalk.model.mglru.aging.generations import (
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MAX_SWAPPINESS,
    MIN_NR_GENS,
    SWAPPINESS_ANON_ONLY,
    TYPES,
    evictable_types,
    folio_lru_refs,
    lru_gen_from_seq,
    lru_tier_from_refs,
    refs_saturated,
    seq_is_valid,
)
from agewalk.model.mglru.aging.mm_list import iterate_mm_list
from agewalk.model.mglru.aging.page_table_walk import walk_mm
from agewalk.model.mglru.aging.promote import folio_inc_gen
from agewalk.model.mglru.aging.tiers import protected_slot, reset_ctrl_pos
from agewalk.model.mglru.lists import list_move
from agewalk.model.mglru.state import LruGen, MmWalk, load_min_seq
from agewalk.model.mm.folio import ANON, FILE, PG_WORKINGSET
from agewalk.model.mm.mm_types import Folio, Mm


def count_protected(lruvec: LruGen, folio: Folio, flags: int) -> Step[None]:
    """lrugen->protected[]: `folio`, with `flags` before it moved, was spared in the oldest generation."""
    rework = lruvec.features.workingset_protection
    workingset = bool(flags & PG_WORKINGSET)
    refs = folio_lru_refs(flags, workingset_protection=rework)
    slot = protected_slot(
        lru_tier_from_refs(refs, workingset, workingset_protection=rework), workingset_protection=rework
    )
    if slot is None or (rework and refs_saturated(refs, workingset, workingset_protection=True)):
        return  # from 6.14 the working set being lazily promoted does not count
    protected = lruvec.protected[folio.type][slot]
    yield Store(protected, (yield Load(protected)) + folio.pages)


def inc_min_seq(lruvec: LruGen, type_: int, swappiness: int) -> Step[bool]:
    """inc_min_seq(), under lru_lock: make room by merging the oldest generation into the next one, tail to tail, so that
    their order turns over. False after 4096 folios: let others have the lock, then come again."""
    features = lruvec.features
    skip = (type_ == ANON and not swappiness) or (
        type_ == FILE and features.anon_only_swappiness and swappiness == SWAPPINESS_ANON_ONLY
    )
    if not skip:
        min_seq: int = yield Load(lruvec.min_seq[type_])
        head: ListHead = lruvec.folios[lru_gen_from_seq(min_seq)][type_]
        remaining = MAX_LRU_BATCH
        folio: Folio | None = yield ListEnd(head)
        while folio is not None:
            flags: int = yield Load(folio.flags)
            new_gen = yield from folio_inc_gen(lruvec, folio)
            yield from list_move(lruvec.folios[new_gen][type_], folio, tail=True)
            if features.workingset_protection:
                yield from count_protected(lruvec, folio, flags)
            remaining -= 1
            if not remaining:
                return False
            folio = yield ListEnd(head)
    yield from reset_ctrl_pos(lruvec, type_)
    yield Store(lruvec.min_seq[type_], (yield Load(lruvec.min_seq[type_])) + 1)
    return True


def try_to_inc_min_seq(lruvec: LruGen, swappiness: int) -> Step[bool]:
    """try_to_inc_min_seq(), under lru_lock: drop empty oldest generations. Did any go?"""
    by_type = lruvec.features.by_evictable_type
    was = yield from load_min_seq(lruvec)
    min_seq = list(was)
    max_seq: int = yield Load(lruvec.max_seq)
    types = evictable_types(swappiness) if by_type else range(int(not swappiness), 2)
    for type_ in types:
        while min_seq[type_] + MIN_NR_GENS <= max_seq:
            if (yield ListEnd(lruvec.folios[lru_gen_from_seq(min_seq[type_])][type_])) is not None:
                break
            min_seq[type_] += 1
    if by_type:
        if swappiness and swappiness <= MAX_SWAPPINESS:  # keep the types within one generation of each other
            seq = max_seq - MIN_NR_GENS
            if min_seq[ANON] > seq > min_seq[FILE]:
                min_seq[ANON] = seq
            elif min_seq[FILE] > seq > min_seq[ANON]:
                min_seq[FILE] = seq
    elif swappiness:  # anon never overtakes file, file never falls behind anon
        min_seq[ANON] = min(min_seq[ANON], min_seq[FILE])
        min_seq[FILE] = max(min_seq[ANON], was[FILE])
    moved = False
    for type_ in types:
        if min_seq[type_] == was[type_] or (by_type and min_seq[type_] < was[type_]):
            continue
        yield from reset_ctrl_pos(lruvec, type_)
        yield Store(lruvec.min_seq[type_], min_seq[type_])
        moved = True
    return moved


def inc_max_seq(lruvec: LruGen, seq: int, swappiness: int) -> Step[bool]:
    """inc_max_seq(): max_seq + 1, once for `seq`. False if another walker did it already."""
    yield Count("inc_max_seq")
    by_type = lruvec.features.by_evictable_type
    while True:
        if seq < (yield Load(lruvec.max_seq)):
            return False
        yield Acquire(lruvec.lru_lock)
        max_seq: int = yield Load(lruvec.max_seq)
        min_seq = yield from load_min_seq(lruvec)
        if not seq_is_valid(max_seq, min_seq, by_evictable_type=by_type):
            yield Warn(f"inc_max_seq(): invalid window {max_seq} {min_seq}")
        if seq != max_seq:
            yield Release(lruvec.lru_lock)
            return False
        full = False
        for type_ in TYPES if by_type else reversed(TYPES):
            if max_seq - min_seq[type_] + 1 != MAX_NR_GENS:
                continue
            if not (yield from inc_min_seq(lruvec, type_, swappiness)):
                full = True
                break
        if not full:
            break
        yield Release(lruvec.lru_lock)
        yield Again("inc_max_seq", lruvec.label, seq, swappiness)
    yield Store(lruvec.timestamps[lru_gen_from_seq(max_seq + 1)], (yield Load(lruvec.clock)))
    yield Store(lruvec.max_seq, max_seq + 1, RELEASE)
    yield Release(lruvec.lru_lock)
    return True


def try_to_inc_max_seq(lruvec: LruGen, seq: int, swappiness: int, walk: MmWalk, *, force_scan: bool) -> Step[bool]:
    """try_to_inc_max_seq(): walk all mms of the memcg, then count a generation up. False: another walker is at it, or
    already did it. `walk` is the task's (set_mm_walk())."""
    yield Count("try_to_inc_max_seq")
    if seq <= (yield Load(lruvec.mm_seq)):
        return False
    walk.seq = seq
    walk.swappiness = swappiness
    walk.force_scan = force_scan
    mm: Mm | None = None
    while True:
        success, mm = yield from iterate_mm_list(lruvec, walk, mm)
        if mm is None:
            break
        yield from walk_mm(lruvec, walk, mm)
    if not success:
        return False
    success = yield from inc_max_seq(lruvec, seq, swappiness)
    if not success:
        yield Warn("try_to_inc_max_seq(): ended the iteration, but max_seq had moved")
    return success
