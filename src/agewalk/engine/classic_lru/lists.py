"""The classic LRU, MGLRU switched off: an active and an inactive list (mm/swap.c, mm/workingset.c, 6.12, lru_gen off).

A folio on one of them has generation index 0 in META, as a mark that it is on a list. There are anonymous folios only.
"""

from typing import Final

from agewalk.engine.aging.tiers import nr_pages
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    ACTIVE,
    BY_MASK,
    GEN_MASK,
    GEN_SHIFT,
    LIST_ACTIVE,
    LIST_INACTIVE,
    META,
    NR_ACTIVE,
    NR_INACTIVE,
    SHADOW,
    T_ACTIVATIONS,
    T_AGE,
    T_COST,
    WORKINGSET,
)
from agewalk.engine.state.lru_lists import list_add, list_del

EVICTION_MASK: Final = (1 << 40) - 1  # pack_shadow(): what is left of a word beside memcg, node and PG_workingset
SWAP_CLUSTER_MAX: Final = 32


@njit
def classic_add(s: State, folio: Int) -> None:
    """lruvec_add_folio(), to the head of the list that PG_active names."""
    word, folios = s.word, s.folios
    meta = i64(folios[folio, META])
    folios[folio, META] = meta | 1 << GEN_SHIFT
    if meta & ACTIVE:
        word[NR_ACTIVE] += nr_pages(meta)
        list_add(s, i64(LIST_ACTIVE), folio)
    else:
        word[NR_INACTIVE] += nr_pages(meta)
        list_add(s, i64(LIST_INACTIVE), folio)


@njit
def classic_del(s: State, folio: Int) -> None:
    """lruvec_del_folio()."""
    word, folios = s.word, s.folios
    meta = i64(folios[folio, META])
    folios[folio, META] = meta & ~(GEN_MASK | BY_MASK)
    word[NR_ACTIVE if meta & ACTIVE else NR_INACTIVE] -= nr_pages(meta)
    list_del(s, folio)


@njit
def note_cost(word: Array, cost: Int) -> None:
    """lru_note_cost(): halved when it outgrows a quarter of the lists, so that old costs are forgotten."""
    word[T_COST] += cost
    if word[T_COST] > (word[NR_ACTIVE] + word[NR_INACTIVE]) // 4:
        word[T_COST] //= 2


@njit_merge
def shadow_rest(clock: Int, meta: Int) -> Int:
    """What SHADOW has no room for of a shadow entry. clock: T_AGE."""
    return (clock & EVICTION_MASK) >> 31 << 1 | (1 if meta & WORKINGSET else 0)


@njit
def classic_shadow(s: State, folio: Int, meta: Int) -> None:
    """workingset_eviction(): the clock at eviction, and was the folio active before? `rest` holds what SHADOW has no room for."""
    word = s.word
    for each in range(folio, folio + nr_pages(meta)):
        s.shadow_rest[each] = shadow_rest(word[T_AGE], meta)
    word[T_AGE] += nr_pages(meta)


@njit_merge
def is_far(s: State, folio: Int) -> bool:
    """workingset_test_recent(), the other way round: was more evicted and activated since then than there are active pages?"""
    word = s.word
    eviction = i64(s.shadow_rest[folio]) >> 1 << 31 | i64(s.folios[folio, SHADOW])
    return bool((word[T_AGE] - eviction) & EVICTION_MASK > word[NR_ACTIVE])


@njit
def classic_refault(s: State, folio: Int, meta: Int) -> Int:
    """workingset_refault(): flags of a folio that comes back. Active, if there had been room for it had the other lists given
    way: its distance is what was evicted and activated meanwhile."""
    word = s.word
    if is_far(s, folio):
        return meta
    word[T_AGE] += 1
    word[T_ACTIVATIONS] += 1
    if s.shadow_rest[folio] & 1:
        note_cost(word, i64(SWAP_CLUSTER_MAX))
        return meta | ACTIVE | WORKINGSET
    return meta | ACTIVE
