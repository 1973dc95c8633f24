"""The classic LRU, MGLRU switched off: an active and an inactive list (mm/swap.c, mm/workingset.c, 6.12, lru_gen off).

A folio on one of them has generation index 0 in META, as a mark that it is on a list. There are anonymous folios only.
"""

from typing import Final

from agewalk.engine.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.layout import (
    ACTIVE,
    AHEAD,
    BY_MASK,
    GEN_MASK,
    GEN_SHIFT,
    LIST_ACTIVE,
    LIST_INACTIVE,
    META,
    N_PAGES,
    NEXT,
    NR_ACTIVE,
    NR_INACTIVE,
    RECENT,
    RECENT_STEP,
    T_ACTIVATIONS,
    T_AGE,
    T_COST,
    WORKINGSET,
)
from agewalk.engine.lists import RING, list_add, list_del
from agewalk.engine.tiers import nr_pages

EVICTION_MASK: Final = (1 << 40) - 1  # pack_shadow(): what is left of a word beside memcg, node and PG_workingset
SWAP_CLUSTER_MAX: Final = 32


@njit
def hint(word: Array, page: Array, number: Int, folio: Int) -> None:
    """lists.gen_add()'s hint for a walk: of the page put there RING additions ago, if that is still on a list. Gone, it keeps its
    shadow entry in AHEAD."""
    slot = RECENT + number * RECENT_STEP
    turn = i64(word[slot + RING])
    earlier = i64(word[slot + turn])
    if page[earlier, META] & GEN_MASK:
        page[earlier, AHEAD] = folio
    word[slot + turn] = folio
    word[slot + RING] = (turn + 1) % RING


@njit
def classic_add(word: Array, page: Array, folio: Int) -> None:
    """lruvec_add_folio(), to the head of the list that PG_active names."""
    meta = i64(page[folio, META])
    page[folio, META] = meta | 1 << GEN_SHIFT
    if meta & ACTIVE:
        word[NR_ACTIVE] += nr_pages(meta)
        hint(word, page, i64(1), folio)
        list_add(page, word[N_PAGES] + LIST_ACTIVE, folio)
    else:
        word[NR_INACTIVE] += nr_pages(meta)
        hint(word, page, i64(0), folio)
        list_add(page, word[N_PAGES] + LIST_INACTIVE, folio)


@njit
def classic_del(word: Array, page: Array, folio: Int) -> None:
    """lruvec_del_folio()."""
    meta = i64(page[folio, META])
    page[folio, META] = meta & ~(GEN_MASK | BY_MASK)
    word[NR_ACTIVE if meta & ACTIVE else NR_INACTIVE] -= nr_pages(meta)
    list_del(page, folio)


@njit
def note_cost(word: Array, cost: Int) -> None:
    """lru_note_cost(): halved when it outgrows a quarter of the lists, so that old costs are forgotten."""
    word[T_COST] += cost
    if word[T_COST] > (word[NR_ACTIVE] + word[NR_INACTIVE]) // 4:
        word[T_COST] //= 2


@njit_merge
def shadow_rest(clock: Int, meta: Int) -> Int:
    """What NEXT has no room for of a shadow entry. clock: T_AGE."""
    return (clock & EVICTION_MASK) >> 31 << 1 | (1 if meta & WORKINGSET else 0)


@njit
def classic_shadow(word: Array, page: Array, folio: Int, meta: Int) -> None:
    """workingset_eviction(): the clock at eviction, and was the folio active before? AHEAD holds what NEXT has no room for."""
    for each in range(folio, folio + nr_pages(meta)):
        page[each, AHEAD] = shadow_rest(word[T_AGE], meta)
    word[T_AGE] += nr_pages(meta)


@njit_merge
def is_far(word: Array, page: Array, folio: Int) -> bool:
    """workingset_test_recent(), the other way round: was more evicted and activated since then than there are active pages?"""
    eviction = i64(page[folio, AHEAD]) >> 1 << 31 | i64(page[folio, NEXT])
    return bool((word[T_AGE] - eviction) & EVICTION_MASK > word[NR_ACTIVE])


@njit
def classic_refault(word: Array, page: Array, folio: Int, meta: Int) -> Int:
    """workingset_refault(): flags of a folio that comes back. Active, if there had been room for it had the other lists given
    way: its distance is what was evicted and activated meanwhile."""
    if is_far(word, page, folio):
        return meta
    word[T_AGE] += 1
    word[T_ACTIVATIONS] += 1
    if page[folio, AHEAD] & 1:
        note_cost(word, i64(SWAP_CLUSTER_MAX))
        return meta | ACTIVE | WORKINGSET
    return meta | ACTIVE
