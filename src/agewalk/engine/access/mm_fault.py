"""The primary MMU's slow path: page faults, swap and the shared zero page (mm/memory.c, mm/gup.c).

Frames are found beforehand (`kvm_fault.make_room`), so nothing here reclaims.
"""

from agewalk.engine.access.folio_batches import lru_add_drain, mark_accessed, queue_add
from agewalk.engine.aging.tiers import lru_tier
from agewalk.engine.classic_lru.lists import classic_refault
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.compiler.state_types import bit_length, rarely
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.huge import folio_of
from agewalk.engine.state.layout import META
from agewalk.engine.state.lru_lists import region_of


@njit_merge
def is_recent(word: Array, shadow: Int) -> bool:
    """lru_gen_test_recent(): is the generation of a shadow entry one that still counts?"""
    if word[at.FEATURES] & f.REFAULT_WINDOW:
        return bool(abs(word[at.MAX_SEQ] - (shadow >> 3)) < at.N_GENS)
    return bool(shadow >> 3 == word[at.MIN_SEQ])


@njit_merge
def refault_tier(word: Array, shadow: Int) -> Int:
    """The tier that a shadow entry names."""
    workingset = shadow & 1
    refs = (shadow >> 1 & 3) + (1 if word[at.FEATURES] & f.WORKINGSET_PROTECTION else workingset)
    return lru_tier(word, refs, workingset)


@njit_merge
def refault(word: Array, meta: Int, shadow: Int) -> Int:
    """lru_gen_refault(): flags of a page that comes back by a fault and finds its shadow."""
    if not is_recent(word, shadow):
        return meta
    word[at.REFAULTED_IN + refault_tier(word, shadow)] += 1
    if not word[at.FEATURES] & f.WORKINGSET_PROTECTION:
        return meta | at.REFS_MASK | at.WORKINGSET
    if shadow & 1:
        return meta | at.WORKINGSET
    return (meta & ~at.REFS_MASK) | (shadow >> 1 & 3) << at.REFS_SHIFT


@njit_merge
def needs_frame(s: State, page: Int, space: Int, write: Int) -> bool:
    """Will an access to this page allocate one? At most one, and before anything else changes but the page table."""
    meta = i64(s.folios[folio_of(s.pmd, page), META])
    if meta & (at.MAPPED | at.RESIDENT):
        return False
    if not meta & at.EVICTED and not write:
        return False
    if s.space[space, at.S_HUGE] and takes_huge(s, page):
        return False
    pte_alloc(s, page)
    return True


@njit
def takes_huge(s: State, page: Int) -> bool:
    """Will a write there be answered by 2 MiB? They are not worth a reclaim: if they are not free, it gets a small page, and the
    huge zero page is split for it now (do_huge_pmd_anonymous_page(), do_huge_pmd_wp_page())."""
    rarely()
    word, pmd = s.word, page // at.PTES
    state, space = s.pmd[pmd, at.M_STATE], i64(s.pmd[pmd, at.M_SPACE])
    room = word[at.FRAMES] - word[at.HELD] - at.PTES >= word[at.MINIMUM]
    if state == at.NOTHING:
        first = s.space[space, at.S_FIRST]
        return bool(room and first <= pmd * at.PTES and (pmd + 1) * at.PTES <= first + s.space[space, at.S_PAGES])
    if state == at.TABLE:
        return False
    if room and word[at.FEATURES] & f.COPIES_HUGE_ZERO:
        return True
    for each in range(pmd * at.PTES, (pmd + 1) * at.PTES):
        s.folios[each, META] = (s.folios[each, META] & at.GUEST_BITS) | at.ZERO
        s.pte_bits[each] = at.A_PRIMARY | (s.pte_bits[each] & at.USED_NOW)
    s.pmd[pmd, at.M_STATE] = at.TABLE
    s.pmd[pmd, at.M_YOUNG] = 1
    s.space[space, at.S_INVALIDATED] += 1
    return False


@njit
def huge_fault(s: State, page: Int, space: Int, write: Int) -> bool:
    """handle_mm_fault() where 2 MiB may be mapped at once. False: a small page it is."""
    rarely()
    word, folios, pte_bits = s.word, s.folios, s.pte_bits
    pmd = page // at.PTES
    first = pmd * at.PTES
    state = s.pmd[pmd, at.M_STATE]
    if state == at.HUGE_ENTRY and (not write or folios[first, META] & at.RW_PRIMARY):
        pte_bits[page] |= at.A_PRIMARY
        return True
    if state == at.NOTHING and not write:  # takes_huge() without the frames
        low = s.space[space, at.S_FIRST]
        if first < low or first + at.PTES > low + s.space[space, at.S_PAGES]:
            return False
    elif not takes_huge(s, i64(page)):
        return False
    alone = not s.space[space, at.S_NOTIFIERS]
    bits = (at.P_PRIMARY | (at.WRITTEN if write else 0)) if alone else 0
    for each in range(first, first + at.PTES):
        folios[each, META] = folios[each, META] & at.GUEST_BITS
        pte_bits[each] = bits | (pte_bits[each] & at.USED_NOW)
        if state == at.NOTHING:
            s.used_at[each] = at.NEVER
    s.pmd[pmd, at.M_STATE] = at.HUGE_ENTRY
    pte_bits[page] |= at.A_PRIMARY
    if not write:
        folios[first, META] |= at.ZERO
        return True
    if state == at.HUGE_ENTRY:
        s.space[space, at.S_INVALIDATED] += 1  # of the huge zero page
    word[at.HELD] += at.PTES
    s.by_region[region_of(s.space, space, page), c.BY_FAULTS] += 1
    meta = add_in_fault(s, i64(first), i64(folios[first, META]) | at.RESIDENT | at.HUGE)
    folios[first, META] = meta | at.MAPPED | at.RW_PRIMARY | at.D_PRIMARY
    s.space[space, at.S_RSS] += at.PTES
    return True


@njit
def pte_alloc(s: State, page: Int) -> None:
    """A page table, where there is none; its entry starts young."""
    pmd = page // at.PTES
    if s.pmd[pmd, at.M_STATE] == 0:
        s.pmd[pmd, at.M_STATE] = 1
        s.pmd[pmd, at.M_YOUNG] = 1


@njit_merge
def add_in_fault(s: State, page: Int, meta: Int) -> Int:
    """folio_add_lru() of a page that a fault brings in, from META to META."""
    word = s.word
    if word[at.FEATURES] & f.TWO_LIST:
        pass  # lru_gen_in_fault() is MGLRU's
    elif not word[at.FEATURES] & f.FAULT_ADDS_WORKINGSET or meta & at.WORKINGSET:
        meta |= at.ACTIVE
    elif not meta & at.REFERENCED:
        meta = mark_accessed(s, page, meta)
    return queue_add(s, page, meta)


@njit_merge
def map_page(s: State, page: Int, space: Int, meta: Int) -> Int:
    """Set the PTE: young. From META to META."""
    s.pte_bits[page] = at.A_PRIMARY | (s.pte_bits[page] & at.USED_NOW)
    s.space[space, at.S_RSS] += 1
    return meta | at.MAPPED


@njit_merge
def new_anon(s: State, page: Int, space: Int, meta: Int) -> Int:
    """do_anonymous_page() for a write, do_wp_page() of the zero page: a new page, mapped writable, dirty. From META to META."""
    s.word[at.HELD] += 1
    s.by_region[region_of(s.space, space, page), c.BY_FAULTS] += 1
    meta = add_in_fault(s, page, at.RESIDENT | meta & at.GUEST_BITS)
    return map_page(s, page, space, meta) | at.RW_PRIMARY | at.D_PRIMARY


@njit_merge
def swap_in(s: State, page: Int, space: Int, write: Int, meta: Int) -> Int:
    """do_swap_page(): back from swap, or from the swap cache if reclaim was stopped half way. From META to META."""
    word, folios = s.word, s.folios
    region = region_of(s.space, space, page)
    s.by_region[region, c.BY_FAULTS] += 1
    if not meta & at.RESIDENT:
        word[at.HELD] += 1
        shadow = i64(folios[page, at.SHADOW])
        away = word[at.NOW] - s.evicted_at[page]
        s.by_region[region, c.BY_REFAULTS] += 1
        s.intervals[bit_length(away)] += 1
        meta = at.RESIDENT | meta & at.GUEST_BITS
        if word[at.FEATURES] & f.SWAPIN_THROUGH_CACHE:
            meta |= at.SWAPCACHE
        if word[at.FEATURES] & f.TWO_LIST:
            meta = classic_refault(s, page, meta)
        else:
            meta = refault(word, meta, shadow)
        meta = add_in_fault(s, page, meta)
    elif write:
        folios[page, META] = meta
        lru_add_drain(s)
        meta = i64(folios[page, META])
    meta |= write * ((at.D_PRIMARY | at.RW_PRIMARY) // at.WRITTEN)  # no branch: it would often be guessed wrong
    if word[at.FEATURES] & f.SWAPIN_MAPS_WRITABLE:
        meta |= at.RW_PRIMARY
    meta = map_page(s, page, space, meta)
    if meta & at.SWAPCACHE and (write or word[at.FEATURES] & f.SWAPIN_THROUGH_CACHE):
        meta = (meta & ~at.SWAPCACHE) | at.DIRTY  # folio_free_swap()
    return meta


@njit_merge
def handle_mm_fault(s: State, page: Int, space: Int, write: Int, meta: Int) -> tuple[Int, Int]:
    """handle_mm_fault(): make the page accessible, which one attempt does. Takes META of its folio; returns whose META the page
    has then, and that, which is still to be written."""
    if s.space[space, at.S_HUGE] and s.pmd[page // at.PTES, at.M_STATE] != at.TABLE:
        if huge_fault(s, page, space, write):
            folio = folio_of(s.pmd, page)
            return folio, i64(s.folios[folio, META])
        meta = i64(s.folios[page, META])
    pte_alloc(s, page)
    if meta & at.ZERO:
        if write:  # do_wp_page(): the zero page is copied; secondary MMUs lose it first
            s.pte_bits[page] &= at.USED_NOW
            s.space[space, at.S_INVALIDATED] += 1
            return page, new_anon(s, page, space, meta)
    elif meta & at.MAPPED:
        if write:  # wp_page_reuse()
            meta |= at.RW_PRIMARY | at.D_PRIMARY
        s.pte_bits[page] |= at.A_PRIMARY
    elif meta & (at.RESIDENT | at.EVICTED):
        return page, swap_in(s, page, space, write, meta)
    elif write:
        return page, new_anon(s, page, space, meta)
    else:
        meta |= at.ZERO
        s.pte_bits[page] |= at.A_PRIMARY
    return page, meta


@njit
def host_access(s: State, page: Int, space: Int, write: Int) -> None:
    """A thread of the process itself touches the page."""
    rarely()
    entry = folio_of(s.pmd, page)
    meta = i64(s.folios[entry, META])
    wanted = i64(at.RW_PRIMARY if write else at.MAPPED | at.ZERO)
    if not meta & wanted:
        entry, meta = handle_mm_fault(s, page, space, write, meta)
    s.pmd[page // at.PTES, at.M_YOUNG] = 1
    if write:
        meta |= at.D_PRIMARY
    s.folios[entry, META] = meta
    bits = s.pte_bits[page] | at.A_PRIMARY | at.USED_NOW
    if not s.space[space, at.S_NOTIFIERS]:  # of a VM's process, such accesses always come this way
        bits |= at.P_PRIMARY
        if meta & at.RW_PRIMARY and meta & at.D_PRIMARY:
            bits |= at.WRITTEN
    s.pte_bits[page] = bits


@njit_merge
def follow_page(s: State, page: Int, write: Int, meta: Int) -> Int:
    """What get_user_page() leaves on a page that is mapped as it needs it, past its fast path. From META to META."""
    if meta & at.ZERO:
        return meta
    if write and not meta & (at.D_PRIMARY | at.DIRTY):
        meta |= at.DIRTY
    return mark_accessed(s, page, meta)  # FOLL_TOUCH


@njit_merge
def get_user_page(s: State, page: Int, space: Int, write: Int, folio: Int, meta: Int) -> tuple[Int, Int]:
    """hva_to_pfn(): the page behind an address, faulted in if need be. Takes and returns whose META it has, and that, which is
    still to be written. The page may be written if that has RW_PRIMARY."""
    if meta & at.MAPPED and meta & at.RW_PRIMARY:  # get_user_page_fast_only()
        return folio, meta | at.REFERENCED
    if not meta & (at.RW_PRIMARY if write else at.MAPPED | at.ZERO):  # what may be written is there
        folio, meta = handle_mm_fault(s, page, space, write, meta)
    return folio, follow_page(s, folio, write, meta)
