"""Memoised page faults: the resulting flags of a common fault depend on 7 bits.

Such a fault is a guest's, through the TDP MMU, on a small page that is new or comes back from swap, with memory to spare. The
slow path (`kvm_fault`, `mm_fault`) computes the flags on first use and keeps them in word[MEMO_FLAGS]; later faults look them up.

The two are equal as long as the key names all that the flags depend on; the conformance kit holds that.
"""

from typing import Final

from agewalk.engine.access.batch import EncodedAccesses
from agewalk.engine.access.folio_batches import drain_add, queue_activate
from agewalk.engine.access.mm_fault import refault_tier
from agewalk.engine.classic_lru.lists import is_far
from agewalk.engine.compiler.jit import Array, Int, i64, njit, njit_merge
from agewalk.engine.compiler.state_types import bit_length, lowest_bit, rarely
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.layout import META
from agewalk.engine.state.lru_lists import region_of

# A combination: these bits, the last three of a shadow entry that counts, and FILLS.
BACK: Final = 1  # from swap
WRITES: Final = 2
RECENT: Final = 4  # its shadow entry counts
SHADOW_SHIFT: Final = 3
FILLS: Final = 64  # it fills the batch of new pages, which then go to their lists

# What is kept of it beside META (32 bits)
TIER_SHIFT: Final = 32  # of the refault, if RECENT
CLOCK_SHIFT: Final = 34  # by how much T_AGE moved on
ACTIVATES_SHIFT: Final = 40  # was the page put into the batch of activations?


@njit_merge
def counting(word: Array) -> tuple[Int, Int]:
    """Generations of shadow entries that count (fault.is_recent()): the first, and how many. (0, 0) with the classic lists."""
    if word[at.FEATURES] & f.TWO_LIST:
        return i64(0), i64(0)
    if word[at.FEATURES] & f.REFAULT_WINDOW:
        return word[at.MAX_SEQ] - at.N_GENS + 1, i64(2 * at.N_GENS - 1)
    return i64(word[at.MIN_SEQ]), i64(1)


@njit_merge
def memo_key(s: State, page: Int, meta: Int, write: Int, first: Int, count: Int) -> Int:
    """Which combination a fault there is; -1 if it is of another kind. first, count: as of counting()."""
    folios = s.folios
    if meta & ~(at.EVICTED | at.GUEST_BITS):
        return i64(-1)  # mapped, or on its way out
    writes = write // (at.WRITTEN // WRITES)
    if not meta & at.EVICTED:
        return writes if write and not meta else i64(-1)  # a read maps the zero page
    shadow = i64(folios[page, at.SHADOW])
    if not count:
        return writes | BACK if is_far(s, page) else i64(-1)
    if 0 <= (shadow >> 3) - first < count:
        return writes | BACK | RECENT | (shadow & 7) << SHADOW_SHIFT
    return writes | BACK


@njit_merge
def has_table(s: State, page: Int, space: Int) -> bool:
    """Is there a page table, under a VM with the TDP MMU?"""
    return bool(s.pmd[page // at.PTES, at.M_STATE] == at.TABLE and s.space[space, at.S_TDP])


@njit
def memoise(s: State, page: Int, which: Int, shadow: Int, clock: Int, activated: Int) -> None:
    """Record the flags that this fault produced, under its key `which`. Sampled before the fault: shadow, the page's SHADOW;
    clock, T_AGE; activated, the length of the activation batch."""
    word = s.word
    flags = i64(s.folios[page, META]) & ~at.GUEST_BITS
    if which & FILLS:
        flags &= ~at.GEN_MASK  # draining the batch decides the generation
    if which & RECENT:
        flags |= refault_tier(word, shadow) << TIER_SHIFT
    flags |= (word[at.T_AGE] - clock) << CLOCK_SHIFT | (word[at.Q_ACTIVATE] - activated) << ACTIVATES_SHIFT
    word[at.MEMO_FLAGS + which] = flags
    word[at.MEMO_ENTRY + (which & ~FILLS)] = word[at.LAST_ENTRY] & ~at.GUEST_BITS


@njit
def fill(s: State, page: Int, enters: Int, activates: Int) -> Int:
    """This page fills the CPU's lru_add batch, so drain it (lru_add_drain_cpu()). Returns the page's generation bits of META."""
    word, folios = s.word, s.folios
    rarely()
    folios[page, META] = enters
    word[at.Q_ADD] += 1
    word[at.Q_ADD + word[at.Q_ADD]] = page
    drain_add(s)
    if activates:
        queue_activate(s, page)
    return i64(folios[page, META]) & at.GEN_MASK


@njit
def memoised_faults(s: State, r: EncodedAccesses, start: Int, missed: Int) -> Int:
    """Accesses start + i for each bit i of `missed`, as long as each is a fault of a known combination that needs no reclaim and
    wakes no kswapd, or finds its page brought by an earlier one. Returns the first that is neither, else start + 64."""
    word, folios = s.word, s.folios
    room = max(word[at.FRAMES] - word[at.HELD] - word[at.LOW], i64(0))
    now, queued, batch = word[at.NOW], word[at.Q_ADD], word[at.ADD_BATCH] - 1
    first, count = counting(word)
    pmd, space, faults, since = i64(-1), i64(0), i64(0), i64(0)
    i = i64(start + 64)
    while missed:
        i = start + lowest_bit(missed)
        page, kind = i64(r.host_pages[i]), i64(r.kinds[i])
        if page // at.PTES != pmd:
            s.space[space, at.S_RSS] += faults - since
            since = faults
            pmd = page // at.PTES
            space = i64(s.pmd[pmd, at.M_SPACE])
            if not has_table(s, page, space):
                break
        meta = i64(folios[page, META])
        which = memo_key(s, page, meta, kind & at.WRITTEN, first, count)
        if which < 0 or not kind & at.P_TDP:
            if kind & ~i64(s.pte_bits[page]) > 0xF:
                break  # else it has been brought, and used
            missed &= missed - 1
            continue
        if faults == room:
            break
        if queued >= batch:
            which |= FILLS
            if word[at.Q_ACTIVATE] + 1 >= word[at.ACTIVATE_BATCH]:
                break
        flags = word[at.MEMO_FLAGS + which]
        if flags < 0:
            break
        region = region_of(s.space, space, page)
        s.by_region[region, c.BY_FAULTS] += 1
        if which & BACK:
            s.by_region[region, c.BY_REFAULTS] += 1
            s.intervals[bit_length(now - s.evicted_at[page])] += 1
            if which & RECENT:
                word[at.REFAULTED_IN + (flags >> TIER_SHIFT & 3)] += 1
        meta &= at.GUEST_BITS
        if which & FILLS:
            word[at.Q_ADD] = queued
            meta |= fill(s, page, word[at.MEMO_ENTRY + (which & ~FILLS)] | meta, flags >> ACTIVATES_SHIFT)
            queued = i64(0)
        else:
            queued += 1
            word[at.Q_ADD + queued] = page
        if not count:
            word[at.T_AGE] += flags >> CLOCK_SHIFT & 63
        meta |= flags & 0xFFFFFFFF
        folios[page, META] = meta
        s.pte_bits[page] = at.P_TDP | at.A_TDP | at.A_PRIMARY | at.USED_NOW | (at.WRITTEN if meta & at.W_TDP else 0)
        faults += 1
        missed &= missed - 1
    s.space[space, at.S_RSS] += faults - since
    word[at.Q_ADD] = queued
    word[at.HELD] += faults
    s.counts[c.SPTE_FAULTS] += faults
    return i if missed else start + 64
