"""Moving a folio between generations by its flags alone, and what one more access means (mm/vmscan.c, mm/swap.c).

Lists are sorted lazily: promotion writes the generation into the flags, eviction moves the folio when it meets it.
"""

from __future__ import annotations

from agewalk.core.effects import Again, CompareExchange, Count, FetchOr, Load, Step, Store
from agewalk.model.mglru.aging.generations import MAX_NR_GENS, folio_lru_refs, lru_gen_from_seq
from agewalk.model.mglru.flags import set_mask_bits
from agewalk.model.mglru.state import LruGen, MmWalk
from agewalk.model.mm.folio import (
    LRU_GEN_MASK,
    LRU_REFS_FLAGS,
    LRU_REFS_MASK,
    LRU_REFS_PGOFF,
    PG_REFERENCED,
    PG_UNEVICTABLE,
    PG_WORKINGSET,
    folio_lru_gen,
    with_gen,
)
from agewalk.model.mm.mm_types import Folio


def lru_gen_update_size(lruvec: LruGen, folio: Folio, old_gen: int, new_gen: int) -> Step[None]:
    """lru_gen_update_size(), under lru_lock: -1 is "on no list". The active and inactive sizes of /proc/vmstat are not
    kept: they follow from nr_pages (generations max_seq and max_seq - 1 are active)."""
    for gen, pages in ((old_gen, -folio.pages), (new_gen, folio.pages)):
        if gen >= 0:
            size = lruvec.nr_pages[gen][folio.type]
            yield Store(size, (yield Load(size)) + pages)


def folio_update_gen(lruvec: LruGen, folio: Folio, gen: int, *, executable: bool = False) -> Step[int]:
    """folio_update_gen(): a page-table walk saw an access, without the LRU lock. Answers the generation it left, or -1
    if it did not move: isolated, or (from 6.14 on) seen accessed for the first time.
    """
    features = lruvec.features
    old: int = yield Load(folio.flags)
    if features.workingset_protection and not old & (PG_REFERENCED | PG_WORKINGSET) and not executable:
        yield from set_mask_bits(folio.flags, LRU_REFS_MASK, PG_REFERENCED)
        return -1
    while True:
        if features.workingset_protection:
            if not old & LRU_GEN_MASK:
                return -1
            new = with_gen(old & ~LRU_REFS_FLAGS, gen) | PG_WORKINGSET
        elif not old & LRU_GEN_MASK:
            new = old | PG_REFERENCED  # for shrink_folio_list(), which holds it
        else:
            new = with_gen(old & ~(LRU_REFS_FLAGS | PG_WORKINGSET), gen)
        found: int = yield CompareExchange(folio.flags, old, new)
        if found == old:
            return folio_lru_gen(old)
        old = found
        yield Again("folio_update_gen", folio.label, gen, old)


def folio_inc_gen(lruvec: LruGen, folio: Folio, *, reclaiming: int = 0) -> Step[int]:
    """folio_inc_gen(), under lru_lock: into the second oldest generation, unless a walk promoted it meanwhile.

    reclaiming: PG_RECLAIM to set it, for folio_end_writeback(). Answers the folio's generation afterwards.
    """
    yield Count("folio_inc_gen")
    cleared = LRU_REFS_FLAGS if lruvec.features.workingset_protection else LRU_REFS_FLAGS | PG_WORKINGSET
    old_gen = lru_gen_from_seq((yield Load(lruvec.min_seq[folio.type])))
    old: int = yield Load(folio.flags)
    while True:
        gen = folio_lru_gen(old)
        if gen not in {-1, old_gen}:
            return gen
        new_gen = (old_gen + 1) % MAX_NR_GENS
        found: int = yield CompareExchange(folio.flags, old, with_gen(old & ~cleared, new_gen) | reclaiming)
        if found == old:
            break
        old = found
        yield Again("folio_inc_gen", folio.label, old_gen, old)
    yield from lru_gen_update_size(lruvec, folio, old_gen, new_gen)
    return new_gen


def lru_gen_inc_refs(lruvec: LruGen, folio: Folio) -> Step[None]:
    """lru_gen_inc_refs() (6.14), folio_inc_refs() before: folio_mark_accessed() under MGLRU.

    The order in which bits fill up: up to 6.13 PG_referenced, PG_workingset, refs; from 6.14 PG_referenced, refs,
    PG_workingset.
    """
    late_workingset = lruvec.features.workingset_protection
    old: int = yield Load(folio.flags)
    if old & PG_UNEVICTABLE:
        return
    if not old & PG_REFERENCED:
        yield from set_mask_bits(folio.flags, LRU_REFS_MASK if late_workingset else 0, PG_REFERENCED)
        return
    if not late_workingset and not old & PG_WORKINGSET:
        yield FetchOr(folio.flags, PG_WORKINGSET)
        return
    while old & LRU_REFS_MASK != LRU_REFS_MASK:
        found: int = yield CompareExchange(folio.flags, old, old + (1 << LRU_REFS_PGOFF))
        if found == old:
            return
        old = found
        yield Again("lru_gen_inc_refs", folio.label, old)
    if late_workingset and not old & PG_WORKINGSET:
        yield FetchOr(folio.flags, PG_WORKINGSET)


def lru_gen_set_refs(lruvec: LruGen, folio: Folio, *, executable: bool = False) -> Step[bool]:
    """lru_gen_set_refs() (6.14): reclaim's rmap walk saw an access. Should the folio be activated?"""
    old: int = yield Load(folio.flags)
    if not old & (PG_REFERENCED | PG_WORKINGSET):
        if executable:
            yield from set_mask_bits(folio.flags, LRU_REFS_FLAGS, PG_WORKINGSET)
            return True
        yield from set_mask_bits(folio.flags, LRU_REFS_MASK, PG_REFERENCED)
        return False
    if lruvec.features.rmap_second_access_marks and folio_lru_refs(old, workingset_protection=True) <= 1:
        yield Count("folio_mark_accessed")
        yield from lru_gen_inc_refs(lruvec, folio)
    else:
        yield from set_mask_bits(folio.flags, LRU_REFS_FLAGS, PG_WORKINGSET)
    return True


def walk_update_folio(
    lruvec: LruGen, walk: MmWalk | None, folio: Folio, new_gen: int, *, executable: bool = False
) -> Step[None]:
    """walk_update_folio() (6.14), and the same steps of walk_pte_range() and lru_gen_look_around() before: an accessed bit
    of `folio` was found and cleared. With a walk the folio is promoted by its flags, without one it is activated.

    A dirty PTE does not make an anonymous folio outside the swap cache dirty; file folios of a model host have no dirty
    PTEs that a walk must save.
    """
    if walk is not None:
        old_gen = yield from folio_update_gen(lruvec, folio, new_gen, executable=executable)
        if old_gen not in {-1, new_gen}:
            walk.update_batch_size(folio.type, old_gen, new_gen, folio.pages)
        return
    if lruvec.features.workingset_protection:
        if not (yield from lru_gen_set_refs(lruvec, folio, executable=executable)):
            return
        old_gen = folio_lru_gen((yield Load(folio.flags)))
    else:
        old_gen = folio_lru_gen((yield Load(folio.flags)))
        if old_gen < 0:
            yield FetchOr(folio.flags, PG_REFERENCED)
        elif old_gen != new_gen:
            yield from set_mask_bits(folio.flags, LRU_REFS_FLAGS | PG_WORKINGSET, 0)  # folio_clear_lru_refs()
    if old_gen not in {-1, new_gen}:
        yield from lruvec.activate(folio)
