"""Per-CPU batches (mm/swap.c): folios wait there on their way to a list, one CPU's worth.

A new folio is on no list, and has no generation, until its batch is drained; an activated one stays where it is until then.
"""

from agewalk.engine.aging.generations import add_folios, del_folio, gen_of, inc_refs, set_refs, update_gen
from agewalk.engine.aging.tiers import nr_pages
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.compiler.state_types import rarely
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import (
    ACTIVATE_BATCH,
    ACTIVE,
    ADD_BATCH,
    BY_BATCH,
    BY_LOOK,
    FEATURES,
    GEN_MASK,
    HUGE,
    LAST_ENTRY,
    MAX_SEQ,
    META,
    N_GENS,
    Q_ACTIVATE,
    Q_ADD,
    REFERENCED,
    REFS_FLAGS_OLD,
    T_AGE,
)


@njit
def drain_add(s: State) -> None:
    """folio_batch_move_lru(lru_add)."""
    word = s.word
    add_folios(s, i64(Q_ADD + 1), i64(word[Q_ADD]))
    word[Q_ADD] = 0


@njit
def drain_activate(s: State) -> None:
    """folio_batch_move_lru(lru_activate): off its list, and back as active; isolated ones are left alone."""
    word, folios = s.word, s.folios
    for i in range(word[Q_ACTIVATE]):
        folio = i64(word[Q_ACTIVATE + 1 + i])
        meta = i64(folios[folio, META])
        if meta & GEN_MASK and not meta & ACTIVE:
            del_folio(s, folio)
            folios[folio, META] |= ACTIVE | BY_BATCH
            add_folios(s, i64(Q_ACTIVATE + 1 + i), i64(1))
    word[Q_ACTIVATE] = 0


@njit
def lru_add_drain(s: State) -> None:
    """lru_add_drain()."""
    drain_add(s)
    drain_activate(s)


@njit_merge
def queue_add(s: State, folio: Int, meta: Int) -> Int:
    """folio_add_lru() past the flags, from META to META. Large folios are not kept waiting (folio_may_be_lru_cached())."""
    word, folios = s.word, s.folios
    waiting = word[Q_ADD] + 1
    word[LAST_ENTRY] = meta
    word[Q_ADD] = waiting
    word[Q_ADD + waiting] = folio
    if waiting >= word[ADD_BATCH] or meta & HUGE:
        folios[folio, META] = meta
        drain_add(s)
        return i64(folios[folio, META])
    return meta


@njit
def queue_activate(s: State, folio: Int) -> None:
    """folio_activate()."""
    word, folios = s.word, s.folios
    meta = i64(folios[folio, META])
    if meta & ACTIVE or not meta & GEN_MASK:
        return
    word[Q_ACTIVATE + 1 + word[Q_ACTIVATE]] = folio
    word[Q_ACTIVATE] += 1
    if word[Q_ACTIVATE] >= word[ACTIVATE_BATCH] or meta & HUGE:
        drain_activate(s)


@njit
def is_queued(word: Array, folio: Int) -> bool:
    """Does a batch hold a reference to it?"""
    if not word[Q_ADD] | word[Q_ACTIVATE]:
        return False  # as mostly: reclaim drains them
    for at in (Q_ADD, Q_ACTIVATE):
        for i in range(word[at]):
            if word[at + 1 + i] == folio:
                return True
    return False


@njit
def seen_young(s: State, folio: Int, has_walk: Int) -> None:
    """walk_update_folio(): an accessed bit of the folio was found and cleared, by a task with an mm_walk or without."""
    word, folios = s.word, s.folios
    if has_walk:
        update_gen(word, folios, folio, i64(BY_LOOK))
        return
    new_gen = word[MAX_SEQ] % N_GENS
    if word[FEATURES] & f.WORKINGSET_PROTECTION:
        meta = i64(folios[folio, META])
        marked = set_refs(word, meta & ~ACTIVE)
        folios[folio, META] = (marked & ~ACTIVE) | meta & ACTIVE
        if not marked & ACTIVE:
            return
    else:
        meta = i64(folios[folio, META])
        gen = gen_of(meta)
        if gen < 0:
            folios[folio, META] = meta | REFERENCED
        elif gen != new_gen:
            folios[folio, META] = meta & ~REFS_FLAGS_OLD
    gen = gen_of(i64(folios[folio, META]))
    if gen not in (-1, new_gen):
        queue_activate(s, folio)


@njit
def classic_activate(s: State, folio: Int, meta: Int) -> Int:
    """The second access with the classic lists: the folio is activated, in its batch, if it still waits there
    (__lru_cache_activate_folio()). From META to META."""
    word, folios = s.word, s.folios
    rarely()  # not so here; but merged into every fault it takes registers from all of them
    if meta & GEN_MASK:
        folios[folio, META] = meta
        queue_activate(s, folio)
        meta = i64(folios[folio, META])
    else:
        for i in range(word[Q_ADD]):
            if word[Q_ADD + 1 + i] == folio:
                meta |= ACTIVE
    word[T_AGE] += nr_pages(meta)  # workingset_activation()
    return meta & ~REFERENCED


@njit_merge
def mark_accessed(s: State, folio: Int, meta: Int) -> Int:
    """folio_mark_accessed(). With the classic lists the first access marks a folio, the second activates it. meta: its META,
    which need not be written yet; returns what to write."""
    word = s.word
    if not word[FEATURES] & f.TWO_LIST:
        return inc_refs(word, meta)
    if not meta & REFERENCED:
        return meta | REFERENCED
    return meta if meta & ACTIVE else classic_activate(s, folio, meta)
