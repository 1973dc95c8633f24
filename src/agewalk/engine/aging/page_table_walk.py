"""Aging by page-table walks: every address space, every page table that is worth it (mm/vmscan.c)."""

from agewalk.engine.aging.generations import inc_max_seq, update_gen
from agewalk.engine.aging.young_bitmap import count_bitmaps
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_inline, njit_merge
from agewalk.engine.compiler.state_types import count_bits, lowest_bit, rarely, which_of
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state.arrays import State
from agewalk.engine.state.huge import accessed
from agewalk.engine.state.layout import (
    A_ANY,
    A_PRIMARY,
    A_SHADOW,
    A_TDP,
    ASK_HUGE_WALK,
    ASK_WALK,
    BATCH,
    BY_WALK,
    DIRTY,
    FEATURES,
    FILTERS,
    GEN_MASK,
    HAS_WALK,
    HUGE_ENTRY,
    LOST_W_SHADOW,
    LOST_W_TDP,
    M_KEY0,
    M_KEY1,
    M_STATE,
    M_WALK,
    M_YOUNG,
    MAPPED,
    MAX_SEQ,
    META,
    N_SPACES,
    P_SHADOW,
    P_TDP,
    PTES,
    S_AD,
    S_ASKED,
    S_FIRST,
    S_MODE,
    S_NEW,
    S_NOTIFIERS,
    S_PAGES,
    S_PMD,
    S_RSS,
    S_SHORTCUT,
    S_SMALL,
    S_USED,
    SOME_UNUSED,
    SWAPPINESS,
    TRACKED_SHADOW,
    TRACKED_TDP,
    W_SHADOW,
    W_TDP,
    WALK_BLOOM,
    WALK_IDLE,
    WALK_READ,
    WALK_SEQ,
    WRITTEN,
    YOUNG,
)


@njit
def bloom_test(word: Array, bloom: Array, pmds: Array, seq: Int, pmd: Int) -> bool:
    """test_bloom_filter(): a filter that is not there says yes."""
    which = seq % 2
    if not word[FILTERS] >> which & 1:
        return True
    return bool(bloom[which, pmds[pmd, M_KEY0]] and bloom[which, pmds[pmd, M_KEY1]])


@njit
def bloom_add(word: Array, bloom: Array, pmds: Array, seq: Int, pmd: Int) -> None:
    """update_bloom_filter()."""
    which = seq % 2
    if word[FILTERS] >> which & 1:
        bloom[which, pmds[pmd, M_KEY0]] = 1
        bloom[which, pmds[pmd, M_KEY1]] = 1


@njit
def suitable_to_scan(total: Int, young: Int) -> bool:
    """At least one young PTE per cache line of eight, on average."""
    return bool(young * 8 >= total)


@njit
def clear_bits(pte_bits: Array, folios: Array, page: Int, cleared: Int, ad: Int, features: Int) -> None:
    """Clear accessed bits. An SPTE without A/D bits of its own loses its permissions instead (mark_spte_for_access_track())."""
    bits = i64(pte_bits[page])
    if not ad and bits & cleared & (A_TDP | A_SHADOW):
        meta = i64(folios[page, META])
        dirty = False
        if cleared & bits & A_TDP:
            bits &= ~P_TDP
            dirty = bool(meta & W_TDP and not meta & LOST_W_TDP)
            meta |= TRACKED_TDP | LOST_W_TDP
        if cleared & bits & A_SHADOW:
            bits &= ~P_SHADOW
            dirty = dirty or bool(meta & W_SHADOW and not meta & LOST_W_SHADOW)
            meta |= TRACKED_SHADOW | LOST_W_SHADOW
        if dirty and features & f.AGE_TRACKING_MARKS_DIRTY:
            meta |= DIRTY
        folios[page, META] = meta
    pte_bits[page] = bits & ~cleared


@njit_merge
def without_old(s: State, question: Int, mode: Int, which: Int, idle: Int) -> Int:
    """Ask about pages of a window that have no accessed bit set, all at once, if the answer can only be "old": nothing is cleared
    then. which, idle: bits, as of `which_of`. Returns what is left to be asked about one by one."""
    row = mode * 8
    if s.ask[question, row] & YOUNG:
        return which
    s.asked[question, row] += count_bits(which & idle)
    return which & ~idle


@njit
def walk_pte_range(s: State, first: Int, end: Int, mode: Int, everyone: Int, ad: Int, seen: Int) -> bool:
    """walk_pte_range(): the PTEs of pages [first, end), one table. Is it worth a visit next time?

    `everyone`: secondary MMUs are asked about PTEs that are old in the primary MMU, too (get_pte_pfn()). `seen`: the accessed
    bits that this space has.
    """
    pte_bits, folios, word = s.pte_bits, s.folios, s.word
    ask, asked = s.ask[ASK_WALK], s.asked[ASK_WALK]
    young = i64(0)
    for start in range(first, end, 64):
        count = min(end - start, i64(64))
        which = which_of(folios, start, count, MAPPED)
        if not which:
            continue
        if not everyone:
            primary = which_of(pte_bits, start, count, A_PRIMARY)
            s.counts[c.LEAF_OLD] += count_bits(which & ~primary)
            which &= primary
        if word[FEATURES] & f.WORKINGSET_PROTECTION:  # since 6.14 isolated folios are passed over
            which &= which_of(folios, start, count, GEN_MASK)
        which = without_old(s, i64(ASK_WALK), mode, which, ~which_of(pte_bits, start, count, seen))
        while which:
            page = start + lowest_bit(which)
            which &= which - 1
            bits = i64(pte_bits[page])
            row = mode * 8 + (bits & seen)
            asked[row] += 1
            answer = i64(ask[row])
            if answer & bits & A_ANY:
                clear_bits(pte_bits, folios, page, answer & A_ANY, ad, word[FEATURES])
            if answer & YOUNG:
                young += 1
                update_gen(word, folios, page, i64(BY_WALK))
    s.counts[c.LEAF_TOTAL] += end - first
    s.counts[c.PTES_WALKED] += end - first
    s.counts[c.LEAF_YOUNG] += young
    return suitable_to_scan(end - first, young)


@njit_inline
def clear_huge(s: State, first: Int, space: Int, cleared: Int) -> None:
    """clear_bits() of the entries that map 2 MiB, and of those in their place that map 4 KiB, one by one."""
    pte_bits, folios = s.pte_bits, s.folios
    drop = i64(cleared)
    if not s.space[space, S_AD] and cleared & (A_TDP | A_SHADOW):
        dirty = False
        for shift in range(2):  # the shadow MMU's bits, the TDP MMU's beside them
            mine, lost = cleared & (A_SHADOW >> shift), (W_SHADOW | LOST_W_SHADOW) >> shift
            if not mine:
                continue
            one = not s.space[space, S_SMALL] & mine
            for each in range(first, first + (1 if one else PTES)):
                if one or pte_bits[each] & mine:
                    meta = i64(folios[each, META])
                    dirty = dirty or bool(meta & lost == W_SHADOW >> shift)
                    folios[each, META] = meta | (TRACKED_SHADOW | LOST_W_SHADOW) >> shift
                    pte_bits[each] &= 255 - (P_SHADOW >> shift | WRITTEN)
            if one:  # it mapped them all
                drop |= P_SHADOW >> shift | WRITTEN
        if dirty and s.word[FEATURES] & f.AGE_TRACKING_MARKS_DIRTY:
            folios[first, META] = folios[first, META] | DIRTY
    keep = 255 - drop
    for each in range(first, first + PTES):
        pte_bits[each] &= keep


@njit
def ask_huge(s: State, first: Int, space: Int, question: Int) -> Int:
    """Ask the protocol about an entry of 2 MiB and clear what it clears; its answer."""
    rarely()
    bits = accessed(s.pte_bits, first)
    seen = i64(A_ANY if s.space[space, S_NOTIFIERS] else A_PRIMARY)
    row = s.space[space, S_MODE] * 8 + (bits & seen)
    s.asked[question, row] += 1
    answer = i64(s.ask[question, row])
    if answer & bits & A_ANY:
        clear_huge(s, first, space, answer & bits & A_ANY)
    return answer


@njit_inline
def walk_huge(s: State, first: Int, space: Int, everyone: Int) -> None:
    """walk_pmd_range_locked(): one entry of 2 MiB is a leaf. No Bloom filter stands before it."""
    meta = i64(s.folios[first, META])
    s.counts[c.LEAF_TOTAL] += 1
    s.counts[c.PMDS_WALKED] += 1
    if not everyone and not accessed(s.pte_bits, first) & A_PRIMARY:
        s.counts[c.LEAF_OLD] += 1
        return
    if not meta & MAPPED or (s.word[FEATURES] & f.WORKINGSET_PROTECTION and not meta & GEN_MASK):
        return  # the huge zero page; a folio that reclaim holds
    if ask_huge(s, first, space, i64(ASK_HUGE_WALK)) & YOUNG:
        s.counts[c.LEAF_YOUNG] += 1
        update_gen(s.word, s.folios, first, i64(BY_WALK))


@njit
def pmd_test_and_clear_young(s: State, pmd: Int, process: Int) -> bool:
    """The accessed bit of a PMD entry. Of an ordinary process it is bit A_TDP of any page below, which no SPTE uses there."""
    young = bool(s.pmd[pmd, M_YOUNG] != 0)
    s.pmd[pmd, M_YOUNG] = 0
    if process:
        for page in range(pmd * PTES, pmd * PTES + PTES):
            if s.pte_bits[page] & A_TDP:
                young = True
                s.pte_bits[page] &= 255 - A_TDP
    return young


@njit
def pud_present(s: State, space: Int, pmd: Int) -> bool:
    """Is any table built in the 1 GiB whose first PMD of this space is `pmd`?"""
    end = (s.space[space, S_FIRST] + s.space[space, S_PAGES] + PTES - 1) // PTES
    to_pud_end = PTES - (s.space[space, S_PMD] + pmd - s.space[space, S_FIRST] // PTES) % PTES
    tables = i64(0)
    for at in range(pmd, min(end, pmd + to_pud_end)):
        tables += s.pmd[at, M_STATE]
    return bool(tables)


@njit
def walk_mm(s: State, space: Int, force_scan: Int) -> None:
    """walk_mm(): all page tables of one address space; none if nothing can be swapped (should_skip_vma())."""
    word, features = s.word, s.word[FEATURES]
    if not word[SWAPPINESS]:
        return
    first, pages = s.space[space, S_FIRST], s.space[space, S_PAGES]
    mode, notifiers, ad = s.space[space, S_MODE], s.space[space, S_NOTIFIERS], s.space[space, S_AD]
    everyone = s.space[space, S_ASKED]
    shortcut = s.space[space, S_SHORTCUT] != 0 and not (force_scan and features & f.FORCE_SCAN_READS_ALL)
    seen = i64(A_ANY if notifiers else A_PRIMARY)
    seq = word[MAX_SEQ]
    pud, built = i64(-1), False
    for pmd in range(first // PTES, (first + pages + PTES - 1) // PTES):
        if (s.space[space, S_PMD] + pmd - first // PTES) // PTES != pud:
            pud = (s.space[space, S_PMD] + pmd - first // PTES) // PTES
            built = pud_present(s, space, pmd)
        if not built:
            continue
        if s.pmd[pmd, M_STATE] == 0:
            s.counts[c.LEAF_TOTAL] += 1
            continue
        if s.pmd[pmd, M_STATE] == HUGE_ENTRY:
            s.pmd[pmd, M_WALK] = seq * 4 + WALK_READ
            walk_huge(s, i64(pmd * PTES), space, everyone)
            continue
        s.counts[c.NONLEAF_TOTAL] += 1
        if shortcut and not pmd_test_and_clear_young(s, pmd, not notifiers):
            s.pmd[pmd, M_WALK] = seq * 4 + WALK_IDLE
            continue
        if not force_scan and not bloom_test(word, s.bloom, s.pmd, seq, pmd):
            s.pmd[pmd, M_WALK] = seq * 4 + WALK_BLOOM
            continue
        s.pmd[pmd, M_WALK] = seq * 4 + WALK_READ
        s.counts[c.NONLEAF_FOUND] += 1
        if everyone and features & f.ASKS_BY_BITMAP:
            count_bitmaps(s, max(pmd * PTES, first), min(pmd * PTES + PTES, first + pages), space, i64(1), i64(1))
        if walk_pte_range(s, max(pmd * PTES, first), min(pmd * PTES + PTES, first + pages), mode, everyone, ad, seen):
            s.counts[c.NONLEAF_ADDED] += 1
            bloom_add(word, s.bloom, s.pmd, seq + 1, pmd)


@njit_inline
def walk_all(s: State, force_scan: Int) -> None:
    """iterate_mm_list() and walk_mm() until none is left: those scheduled in since their last walk, or all by force.

    An mm added after the last iteration turns force_scan on, for itself and all that follow. The first mm that is walked
    empties the Bloom filter of the next generation.
    """
    fresh = True
    for space in range(s.word[N_SPACES]):
        if s.space[space, S_NEW]:
            s.space[space, S_NEW] = 0
            force_scan = i64(1)
        if not force_scan and not s.space[space, S_USED]:
            continue
        s.space[space, S_USED] = 0
        s.word[SOME_UNUSED] = 1
        if s.word[FEATURES] & f.SMALL_MM_SKIPPED and s.space[space, S_RSS] < BATCH:
            continue
        if fresh:
            which = (s.word[MAX_SEQ] + 1) % 2
            for key in range(1 << 15):
                s.bloom[which, key] = 0
            s.word[FILTERS] |= i64(1) << which
            fresh = False
        walk_mm(s, i64(space), force_scan)


@njit
def try_to_inc_max_seq(s: State, force_scan: Int) -> bool:
    """try_to_inc_max_seq() for the present max_seq: walk, then open a new generation. Did it?"""
    if s.word[MAX_SEQ] <= s.word[WALK_SEQ]:
        return False
    if s.word[HAS_WALK]:  # the task's mm_walk, which now knows a swappiness
        s.word[HAS_WALK] = 3 if s.word[SWAPPINESS] else 1
    walk_all(s, force_scan)
    s.word[WALK_SEQ] += 1
    inc_max_seq(s)
    s.counts[c.AGINGS] += 1
    return True
