"""Shadow entries: what is remembered of a page that was reclaimed, and what its return means (mm/workingset.c).

A shadow is an integer: token << 1 | workingset, token = min_seq << LRU_REFS_WIDTH | refs - 1. One node and one memcg per
lruvec: a shadow is kept with the lruvec that wrote it, which is what the memcg id in the kernel's shadow is for.
"""

from __future__ import annotations

from typing import Final

from agewalk.core.effects import Count, FetchAdd, FetchOr, Load, Step
from agewalk.model.mglru.aging.generations import MAX_NR_GENS, folio_lru_refs, lru_tier_from_refs
from agewalk.model.mglru.flags import set_mask_bits
from agewalk.model.mglru.state import LruGen
from agewalk.model.mm.folio import LRU_REFS_MASK, LRU_REFS_PGOFF, LRU_REFS_WIDTH, PG_WORKINGSET
from agewalk.model.mm.mm_types import Folio

EVICTION_BITS: Final = 64 - 1 - 1 - 16 - 6  # xa_value tag, workingset, memcg id, node (x86-64 with 64 nodes)
EVICTION_MASK: Final = (1 << EVICTION_BITS) - 1
REFS_PART: Final = (1 << LRU_REFS_WIDTH) - 1


def pack_shadow(token: int, *, workingset: bool) -> int:
    """pack_shadow(), without node and memcg."""
    return (token & EVICTION_MASK) << 1 | workingset


def unpack_shadow(shadow: int) -> tuple[int, bool]:
    """(token, workingset)."""
    return shadow >> 1, bool(shadow & 1)


def test_recent(token: int, max_seq: int, min_seq: int, *, refault_window: bool) -> bool:
    """lru_gen_test_recent(): up to 6.13 evicted from what is still the oldest generation, from 6.14 less than four
    generations ago."""
    seq_mask = EVICTION_MASK >> LRU_REFS_WIDTH
    if refault_window:
        return abs((max_seq & seq_mask) - (token >> LRU_REFS_WIDTH)) < MAX_NR_GENS
    return token >> LRU_REFS_WIDTH == min_seq & seq_mask


def lru_gen_eviction(lruvec: LruGen, folio: Folio) -> Step[int]:
    """lru_gen_eviction(): count the eviction in its tier; the shadow that stays."""
    rework = lruvec.features.workingset_protection
    yield Count("workingset_eviction")
    flags: int = yield Load(folio.flags)
    workingset = bool(flags & PG_WORKINGSET)
    refs = folio_lru_refs(flags, workingset_protection=rework)
    tier = lru_tier_from_refs(refs, workingset, workingset_protection=rework)
    min_seq: int = yield Load(lruvec.min_seq[folio.type])
    yield FetchAdd(lruvec.evicted[folio.type][tier], folio.pages)
    token = min_seq << LRU_REFS_WIDTH | max(refs - 1, 0)
    return pack_shadow(token, workingset=workingset if rework else bool(refs))


def lru_gen_refault(lruvec: LruGen, folio: Folio, shadow: int, *, in_fault: bool) -> Step[None]:
    """lru_gen_refault(): a folio comes back. In the tier it left from a refault is counted; and it returns as part of the
    working set if it was part of it (6.14), or if it comes back by a page fault (before)."""
    features = lruvec.features
    yield Count("workingset_refault")
    token, workingset = unpack_shadow(shadow)
    max_seq: int = yield Load(lruvec.max_seq)
    min_seq: int = yield Load(lruvec.min_seq[folio.type])
    if not test_recent(token, max_seq, min_seq, refault_window=features.refault_window):
        return
    rework = features.workingset_protection
    refs = (token & REFS_PART) + (1 if rework else workingset)
    tier = lru_tier_from_refs(refs, workingset, workingset_protection=rework)
    yield FetchAdd(lruvec.refaulted[folio.type][tier], folio.pages)
    if not rework:
        if in_fault or refs >= REFS_PART:
            yield FetchOr(folio.flags, LRU_REFS_MASK | PG_WORKINGSET)
    elif workingset:
        yield FetchOr(folio.flags, PG_WORKINGSET)
    else:
        yield from set_mask_bits(folio.flags, LRU_REFS_MASK, refs - 1 << LRU_REFS_PGOFF)
