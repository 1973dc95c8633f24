"""What an access does: the hot loop, and KVM's page faults behind it (arch/x86/kvm/mmu/mmu.c, virt/kvm/kvm_main.c)."""

from agewalk.engine.access.batch import EncodedAccesses, encode_accesses, end_of_tick, has_many, note_all, note_used
from agewalk.engine.access.folio_batches import mark_accessed
from agewalk.engine.access.hit_path import run_hits
from agewalk.engine.access.memoised_fault import FILLS, counting, has_table, memo_key, memoise
from agewalk.engine.access.mm_fault import follow_page, get_user_page, host_access, needs_frame
from agewalk.engine.compiler.jit import Int, entry, i64, njit, njit_inline, njit_merge
from agewalk.engine.compiler.state_types import rarely
from agewalk.engine.eviction.reclaim import DIRECT, KSWAPD_RUN, MAX_RECLAIM_RETRIES, reclaim
from agewalk.engine.state import counters as c
from agewalk.engine.state import features as f
from agewalk.engine.state import layout as at
from agewalk.engine.state.arrays import State
from agewalk.engine.state.huge import folio_of, is_huge
from agewalk.engine.state.layout import META
from agewalk.engine.state.truth_table import M_RMAPS, M_SHADOW_PAGES

PTE_PREFETCH_NUM = 8


@njit_merge
def written(bits: Int, tdp: Int, shadow: Int) -> Int:
    """Bits of `pte_bits` with WRITTEN, if every SPTE that hardware can use here may be written, else without. tdp, shadow: the
    META of these SPTEs."""
    fast = not bits & at.P_TDP or tdp & (at.W_TDP | at.LOST_W_TDP) == at.W_TDP
    slow = not bits & at.P_SHADOW or shadow & (at.W_SHADOW | at.LOST_W_SHADOW) == at.W_SHADOW
    return bits | at.WRITTEN if fast and slow else bits & ~at.WRITTEN


@njit
def set_written(s: State, page: Int, space: Int) -> None:
    """written(), by META in `page`."""
    own, first = i64(s.folios[page, META]), i64(s.folios[folio_of(s.pmd, page), META])
    small = s.space[space, at.S_SMALL]
    tdp, shadow = own if small & at.A_TDP else first, own if small & at.A_SHADOW else first
    s.pte_bits[page] = written(i64(s.pte_bits[page]), tdp, shadow)


@njit
def install_huge(s: State, folio: Int, space: Int, present: Int) -> None:
    """install() of an SPTE that maps 2 MiB."""
    rarely()
    for each in range(folio, folio + at.PTES):
        s.pte_bits[each] |= present
        set_written(s, i64(each), space)


@njit_merge
def install(s: State, page: Int, space: Int, present: Int, small: Int) -> None:
    """An SPTE is in place (`present`: P_TDP or P_SHADOW), its bits are in META: hardware can use it for all pages that it maps.
    small: it maps 4 KiB, whatever the primary MMU has there."""
    if small or not is_huge(s.pmd, page):
        s.pte_bits[page] |= present
        set_written(s, page, space)
    else:
        install_huge(s, folio_of(s.pmd, page), space, present)


@njit_merge
def finish_fault(s: State, page: Int, meta: Int) -> Int:
    """kvm_mmu_finish_page_fault(): what the fault says about the page, from META to META."""
    word = s.word
    if not meta & at.MAPPED:
        return meta  # the shared zero page
    if meta & at.RW_PRIMARY and word[at.FEATURES] & f.FAULT_MARKS_DIRTY:
        meta |= at.DIRTY
    return mark_accessed(s, page, meta)


@njit
def retry_fault(s: State, folio: Int, write: Int, meta: Int) -> Int:
    """The second time around in faultin_pfn(), when the page is mapped. From META to META."""
    rarely()
    if s.word[at.FEATURES] & f.RETRY_MARKS_ACCESSED:
        meta = finish_fault(s, folio, meta)
    if meta & at.MAPPED and meta & at.RW_PRIMARY:
        return meta | at.REFERENCED
    return follow_page(s, folio, write, meta)


@njit_merge
def faultin_pfn(s: State, page: Int, space: Int, write: Int, seq: Int, folio: Int, meta: Int) -> tuple[Int, Int]:
    """kvm_mmu_faultin_pfn(), and once more if anything of the VM was unmapped meanwhile: by the copy of the zero page, or by the
    reclaim that made room. seq: mmu_invalidate_seq from before that. Otherwise as get_user_page()."""
    folio, meta = get_user_page(s, page, space, write, folio, meta)
    if s.space[space, at.S_INVALIDATED] != seq:
        meta = retry_fault(s, folio, write, meta)
    return folio, meta


@njit
def prefetch(s: State, page: Int, space: Int, direct: Int, shift: Int) -> None:
    """direct_pte_prefetch() and FNAME(pte_prefetch): the neighbours among eight, mapped old, as far as the primary MMU maps
    them writable (and, in guest tables, the guest itself has used them). shift: as in shadow_access()."""
    rarely()
    word, folios, pte_bits = s.word, s.folios, s.pte_bits
    first = page - (page % at.PTES) % PTE_PREFETCH_NUM
    low, high = s.space[space, at.S_FIRST], s.space[space, at.S_FIRST] + s.space[space, at.S_PAGES]
    fresh = True  # at the start of a run of absent entries
    skip = False  # a run ends at the first page that is not to be had
    for near in range(first, first + PTE_PREFETCH_NUM):
        meta = i64(folios[near, META]) if low <= near < high else i64(0)
        present = near == page or pte_bits[near] & (at.P_SHADOW >> shift) or meta & (at.TRACKED_SHADOW >> shift)
        if present:
            fresh, skip = True, False
            continue
        if skip:
            continue
        if not direct and not meta & (at.GA_SHADOW >> shift):
            return
        folio = folio_of(s.pmd, i64(near))
        if not (folios[folio, META] & at.MAPPED and folios[folio, META] & at.RW_PRIMARY):
            if fresh or not direct:
                return
            skip = True
            continue
        fresh = False
        if direct or meta & (at.GD_SHADOW >> shift):
            meta |= at.W_SHADOW >> shift
        else:
            meta &= ~(at.W_SHADOW >> shift)
        if s.space[space, at.S_AD]:
            pte_bits[near] |= at.P_SHADOW >> shift
        else:
            meta |= (at.TRACKED_SHADOW | at.LOST_W_SHADOW) >> shift
        folios[near, META] = meta
        marks = i64(at.REFERENCED)  # get_user_page_fast_only()
        if word[at.FEATURES] & (f.DIRECT_PREFETCH_MARKS if direct else f.INDIRECT_PREFETCH_MARKS_DIRTY):
            marks |= at.DIRTY
        folios[folio, META] |= marks
        set_written(s, i64(near), space)
        if not direct or word[at.FEATURES] & f.DIRECT_PREFETCH_MARKS:
            folios[folio, META] = mark_accessed(s, folio, i64(folios[folio, META]))


@njit_merge
def tdp_access(s: State, page: Int, space: Int, write: Int, seq: Int) -> None:
    """The guest touches a page through the TDP MMU and exits: fast_page_fault(), else kvm_tdp_mmu_map()."""
    pte_bits, folios = s.pte_bits, s.folios
    folio = folio_of(s.pmd, page)
    meta = i64(folios[folio, META])
    allowed = not write or meta & at.W_TDP
    if pte_bits[page] & at.P_TDP and allowed:  # it was another table that lacked a dirty bit, or W that tracking took
        if not write:
            pte_bits[page] |= at.A_TDP | at.USED_NOW
            return
        s.counts[c.SPTE_FAULTS] += 1 if meta & at.LOST_W_TDP else 0  # fast_page_fault()
    else:
        s.counts[c.SPTE_FAULTS] += 1
        if not (meta & at.TRACKED_TDP and allowed):
            folio, meta = faultin_pfn(s, page, space, write, seq, folio, meta)
            meta &= ~(at.W_TDP | at.LOST_W_TDP)
            if meta & at.RW_PRIMARY:
                meta |= at.W_TDP
            meta = finish_fault(s, folio, meta)
        meta &= ~at.TRACKED_TDP
    meta &= ~(write * (at.LOST_W_TDP // at.WRITTEN))
    folios[folio, META] = meta
    bits = i64(pte_bits[page] | at.A_TDP | at.USED_NOW)
    if is_huge(s.pmd, page):
        pte_bits[page] = bits
        install_huge(s, folio, space, i64(at.P_TDP))
    else:
        pte_bits[page] = written(bits | at.P_TDP, meta, meta)


@njit
def shadow_access(s: State, page: Int, space: Int, write: Int, seq: Int, direct: Int, shift: Int) -> None:
    """A guest touches a page through the shadow MMU and exits: direct_page_fault() without guest tables (legacy), else
    FNAME(page_fault), which walks the guest's own tables and leaves A and D there.

    direct: no guest tables, so one SPTE for 2 MiB, if the primary MMU maps that; those of guest tables are of 4 KiB.
    shift: 1 for the nested guest of a VM without the TDP MMU, whose SPTEs are kept in the bits of the TDP MMU.
    """
    rarely()
    pte_bits, folios = s.pte_bits, s.folios
    present, accessed = i64(at.P_SHADOW >> shift), i64(at.A_SHADOW >> shift | at.USED_NOW)  # and the truth with it
    writable, tracked, lost = at.W_SHADOW >> shift, at.TRACKED_SHADOW >> shift, at.LOST_W_SHADOW >> shift
    small = 1 - direct
    entry = folio_of(s.pmd, page) if direct else page
    meta = i64(folios[entry, META])
    allowed = not write or meta & writable
    if pte_bits[page] & present and allowed and (direct or not meta & lost or not write):
        pte_bits[page] |= accessed
        if write:
            s.counts[c.SPTE_FAULTS] += 1 if meta & lost else 0  # fast_page_fault()
            folios[entry, META] = meta & ~lost
            install(s, page, space, present, small)
        return
    s.counts[c.SPTE_FAULTS] += 1
    if not (direct and meta & tracked and allowed):
        if not direct:
            folios[page, META] = meta | (at.GA_SHADOW | (at.GD_SHADOW if write else 0)) >> shift
        folio = folio_of(s.pmd, page)
        folio, meta = faultin_pfn(s, page, space, write, seq, folio, i64(folios[folio, META]))
        folios[folio, META] = meta
        may_write = meta & at.RW_PRIMARY
        entry = folio if direct else page
        meta = i64(folios[entry, META]) & ~(writable | lost | tracked)
        folios[entry, META] = meta | writable if may_write and (direct or meta & (at.GD_SHADOW >> shift)) else meta
        pte_bits[page] |= present | accessed
        if not direct or (s.space[space, at.S_AD] and not is_huge(s.pmd, page)):
            prefetch(s, page, space, direct, shift)
        folios[folio, META] = finish_fault(s, folio, i64(folios[folio, META]))
    folios[entry, META] = folios[entry, META] & ~(tracked | (lost if write else 0))
    pte_bits[page] |= accessed
    install(s, page, space, present, small)


@njit_merge
def slow_access(s: State, page: Int, space: Int, kind: Int, seq: Int) -> None:
    """An access that `pte_bits[page]` does not satisfy. kind: the bits it needs and sets. seq: S_INVALIDATED when it began."""
    write = kind & at.WRITTEN
    if kind & at.P_PRIMARY:
        host_access(s, page, space, write)
    elif kind & at.P_TDP and s.space[space, at.S_TDP]:
        tdp_access(s, page, space, write, seq)
    else:
        direct = i64(0 if s.space[space, at.S_SMALL] & kind else 1)
        if not direct:
            s.space[space, at.S_MODE] |= M_RMAPS | M_SHADOW_PAGES
        shadow_access(s, page, space, write, seq, direct, i64(1 if kind & at.P_TDP else 0))


@njit_inline
def memoising_access(s: State, page: Int, space: Int, kind: Int, seq: Int) -> None:
    """slow(); its flags are recorded if it was a memoisable fault that caused nothing else."""
    word = s.word
    which = i64(-1)
    if kind & at.P_TDP and has_table(s, page, space):
        first, count = counting(word)
        which = memo_key(s, page, i64(s.folios[page, META]), kind & at.WRITTEN, first, count)
        if word[at.Q_ADD] + 1 >= word[at.ADD_BATCH]:
            which |= FILLS
        if which < 0 or word[at.MEMO_FLAGS + which] >= 0 or word[at.Q_ACTIVATE] + 1 >= word[at.ACTIVATE_BATCH]:
            which = i64(-1)
    shadow, clock, activated = i64(s.folios[page, at.SHADOW]), i64(word[at.T_AGE]), i64(word[at.Q_ACTIVATE])
    slow_access(s, page, space, kind, seq)
    if which >= 0 and s.space[space, at.S_INVALIDATED] == seq:
        memoise(s, page, which, shadow, clock, activated)


@njit_inline
def make_room(s: State, page: Int, space: Int, kind: Int) -> bool:
    """alloc_folio(): reclaim before the access, if it will need a frame and free ones are down at the minimum. Does it wake
    kswapd, being down at the low watermark?"""
    word = s.word
    wakes = False
    if needs_frame(s, page, space, kind & at.WRITTEN):
        if kind & at.P_PRIMARY:
            s.pmd[page // at.PTES, at.M_YOUNG] = 1  # the CPU came by on its way to the fault, before reclaim may walk
        wakes = bool(word[at.FRAMES] - word[at.HELD] <= word[at.LOW])
        retries = 0
        while word[at.FRAMES] - word[at.HELD] - 1 < word[at.MINIMUM] and retries <= MAX_RECLAIM_RETRIES:
            retries = 0 if reclaim(s, i64(DIRECT), i64(1), i64(0)) else retries + 1
        if word[at.HELD] >= word[at.FRAMES]:
            word[at.EXHAUSTED] = 1
    return wakes


@njit
def mark_running(s: State, r: EncodedAccesses, end: Int) -> None:
    """Spaces of rows from NOTED to `end` have run since their last walk (lru_gen_use_mm()); some are not marked as such."""
    rarely()
    last = i64(-1)
    for i in range(s.word[at.NOTED], end):
        pmd = i64(r.host_pages[i]) >> 9
        if pmd != last:
            last = pmd
            s.space[i64(s.pmd[pmd, at.M_SPACE]), at.S_USED] = 1
    unused = i64(0)
    for space in range(s.word[at.N_SPACES]):
        unused += 1 - s.space[space, at.S_USED]
    s.word[at.SOME_UNUSED] = unused


@entry
def run_tick(s: State, r: EncodedAccesses, n: Int) -> None:
    """The first n accesses of `r.host_pages` and `r.kinds`, all of one tick, in order."""
    s.word[at.NOTED] = 0
    i = run_hits(s, r, i64(0), n)
    while i < n:
        if s.word[at.SOME_UNUSED]:
            mark_running(s, r, i + 1)
        s.word[at.NOTED] = i + 1
        page, kind = i64(r.host_pages[i]), i64(r.kinds[i])
        space = i64(s.pmd[page // at.PTES, at.M_SPACE])
        seq = i64(s.space[space, at.S_INVALIDATED])
        wakes = make_room(s, page, space, kind)
        memoising_access(s, page, space, kind, seq)
        if wakes:
            reclaim(s, i64(KSWAPD_RUN), i64(0), i64(0))
        i = run_hits(s, r, i + 1, n)
    if s.word[at.SOME_UNUSED]:
        mark_running(s, r, n)
    s.word[at.NOTED] = n
    s.counts[c.ACCESSES] += n


@entry
def run_batch(s: State, r: EncodedAccesses, start: Int, end: Int, tick_ns: Int) -> Int:
    """Rows [start, end) of a batch, tick by tick. Returns where it stopped: at `end`, or at a row that the host cannot take."""
    refused = False
    while start < end and not refused:
        tick = r.time_ns[start] // tick_ns
        s.word[at.NOW] = tick
        until = (tick + 1) * tick_ns
        many = has_many(s, r, start, end, until)
        while start < end and r.time_ns[start] < until and not refused:
            wanted = end_of_tick(r, start, end, until) - start
            n = encode_accesses(s, r, start, start + wanted)
            run_tick(s, r, n)
            if not many:
                note_used(s, r, n)
            start += n
            refused = n < wanted
        if many:
            note_all(s)
    return start


@entry
def nested_change(s: State, space: Int, alive: Int) -> None:
    """The nested guest of a VM starts or ends. At its end its shadow SPTEs go, with their accessed bits, and its own tables.

    indirect_shadow_pages falls to 0 unless the guest's own tables are shadowed, too: they are as soon as one of them says
    accessed, and for ever.
    """
    if alive:
        s.space[space, at.S_MODE] |= M_RMAPS | M_SHADOW_PAGES
        return
    shift = i64(0 if s.space[space, at.S_TDP] else 1)
    present, accessed = at.P_SHADOW >> shift, at.A_SHADOW >> shift
    spte = (at.W_SHADOW | at.TRACKED_SHADOW | at.LOST_W_SHADOW | at.GA_SHADOW | at.GD_SHADOW) >> shift
    lost = (at.W_SHADOW | at.LOST_W_SHADOW) >> shift
    kept = i64(0)
    first = s.space[space, at.S_FIRST]
    propagates = s.word[at.FEATURES] & f.ZAP_PROPAGATES_ACCESSED
    for page in range(first, first + s.space[space, at.S_PAGES]):
        folio = folio_of(s.pmd, i64(page))
        mapped = s.folios[folio, META] & at.MAPPED
        if propagates and s.pte_bits[page] & accessed and mapped:
            s.folios[folio, META] = mark_accessed(s, folio, i64(s.folios[folio, META]))
        dirty = s.folios[page, META] & lost == at.W_SHADOW >> shift and mapped
        if dirty and s.pte_bits[page] & present and s.word[at.FEATURES] & f.ZAP_PROPAGATES_DIRTY:
            s.folios[folio, META] = s.folios[folio, META] | at.DIRTY
        s.pte_bits[page] &= 255 - (present | accessed)
        s.folios[page, META] = s.folios[page, META] & ~spte
        kept |= s.folios[page, META]
        set_written(s, i64(page), space)
    if not kept & at.GUEST_BITS:
        s.space[space, at.S_MODE] &= ~M_SHADOW_PAGES
