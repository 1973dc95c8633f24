"""Where the bits of a page live: one byte that every access reads, 8 bytes that faults, aging and eviction read.

`pte_bits[page]` (uint8)         what an access finds: which tables map the page for hardware, which accessed bits are set
`folios[page]`  (2 x int32)     META flags; SLOT, its place on the LRU list; not resident: SHADOW, the shadow entry, instead
`used_at[page]`  (int32)         tick of the last access
`evicted_at[page]`  (int32)         tick of the eviction
`queue`       (int32)         the LRU lists: a place for each page, and some to spare (lists.py)

Page numbers run over all address spaces, each starting at a multiple of 512: `page >> 9` is the PMD (a 2 MiB range, a page
table). All of it is 21.6 bytes a page and 32 a PMD.

A 2 MiB folio is the 512 pages of one PMD, mapped by one entry (M_STATE is HUGE_ENTRY). Its first page stands for it: there are
META and SLOT of the folio, and the state of the entry that maps all of it. `pte_bits` keeps a byte for each of the 512:
the bits that an access needs are set in all of them, an accessed bit of the entry is the or of 512, USED_NOW and USED stay true
for each page. META of the other 511 holds only what is theirs alone: 4 KiB SPTEs of the shadow MMU, and the guest's bits.
"""

from typing import Final


class Record:
    """A row of integers with named fields, as a C struct: each field begins where the one before it ends, so none overlap."""

    def __init__(self) -> None:
        self.size = 0

    def field(self, length: int = 1) -> int:
        """The first place of a new field of `length` places. Raises ValueError for one without any."""
        if length < 1:
            raise ValueError(f"a field has at least one place, not {length}")
        first, self.size = self.size, self.size + length
        return first


# --- pte_bits[page]. An access carries the same layout: the bits it needs above, the bits it sets below.
# A VM without the TDP MMU has the SPTEs of its nested guest where others have the TDP MMU's.
A_TDP: Final = 1 << 0  # accessed bit of the TDP MMU's SPTE
A_SHADOW: Final = 1 << 1  # of the shadow MMU's SPTE
A_PRIMARY: Final = 1 << 2  # of the PTE
USED_NOW: Final = 1 << 3  # touched since `used_at[page]` was brought up to date; the truth, no kernel has it
P_TDP: Final = 1 << 4  # hardware can use the SPTE of the TDP MMU
P_SHADOW: Final = 1 << 5
P_PRIMARY: Final = 1 << 6
WRITTEN: Final = 1 << 7  # every table that maps the page has its dirty bit set: a write changes nothing more
A_ANY: Final = A_TDP | A_SHADOW | A_PRIMARY
P_ANY: Final = P_TDP | P_SHADOW | P_PRIMARY

# --- columns of page[]
META: Final = 0
SLOT: Final = 1
SHADOW: Final = 1  # if EVICTED
NEVER: Final = -(1 << 30)  # used_at[] of a page of a 2 MiB folio that was never touched

# --- folios[META]. The folio's flags (include/linux/page-flags.h, page-flags-layout.h), and bits of its mappings.
REFERENCED: Final = 1 << 0
WORKINGSET: Final = 1 << 1
ACTIVE: Final = 1 << 2
DIRTY: Final = 1 << 3
HUGE_SHIFT: Final = 4
HUGE: Final = 1 << HUGE_SHIFT  # a folio of 512 pages (PG_head); this is its first page
SWAPCACHE: Final = 1 << 5
REFS_SHIFT: Final = 7
REFS_MASK: Final = 3 << REFS_SHIFT
GEN_SHIFT: Final = 9
GEN_MASK: Final = 7 << GEN_SHIFT  # generation index + 1; 0 while on no list
ZERO: Final = 1 << 12  # the PTE is present and maps the shared zero page
RESIDENT: Final = 1 << 13  # a folio holds its contents
EVICTED: Final = 1 << 14  # was resident before: SHADOW is its shadow entry
W_TDP: Final = 1 << 15  # the TDP MMU's SPTE may be written (dirty comes with writable)
W_SHADOW: Final = 1 << 16
D_PRIMARY: Final = 1 << 17  # dirty bit of the PTE
RW_PRIMARY: Final = 1 << 18  # the PTE may be written
MAPPED: Final = 1 << 19  # the PTE is present and maps a folio
TRACKED_TDP: Final = 1 << 20  # an SPTE without A/D bits that lost its permissions: it is there, hardware cannot use it
TRACKED_SHADOW: Final = 1 << 21
GA_TDP: Final = 1 << 22  # accessed bit of the entry that the SPTE shadows, in tables that a guest built
GA_SHADOW: Final = 1 << 23
GD_TDP: Final = 1 << 24  # and its dirty bit
GD_SHADOW: Final = 1 << 25
LOST_W_TDP: Final = 1 << 26  # tracking took the permission to write; the first write gets it back
LOST_W_SHADOW: Final = 1 << 27
SPTE_BITS: Final = W_TDP | W_SHADOW | TRACKED_TDP | TRACKED_SHADOW | LOST_W_TDP | LOST_W_SHADOW
GUEST_BITS: Final = GA_TDP | GA_SHADOW | GD_TDP | GD_SHADOW  # guest memory: they outlive the mapping
BY_SHIFT: Final = 28  # how the folio came into its generation; for `quality`, no kernel has it
BY_MASK: Final = 7 << BY_SHIFT
BY_FAULT: Final = 0 << BY_SHIFT  # it entered with a page fault
BY_WALK: Final = 1 << BY_SHIFT  # a walk saw an accessed bit
BY_LOOK: Final = 2 << BY_SHIFT  # a look-around did
BY_KEPT: Final = 3 << BY_SHIFT  # eviction had isolated it and put it back
BY_BATCH: Final = 4 << BY_SHIFT  # activated when its CPU's batch was drained
BY_CARRY: Final = 5 << BY_SHIFT  # moved on from the oldest generation
REFS_FLAGS_OLD: Final = REFS_MASK | REFERENCED | WORKINGSET  # what a promotion cleared up to 6.13
REFS_FLAGS: Final = REFS_MASK | REFERENCED  # LRU_REFS_FLAGS since 6.14

# --- lists
N_GENS: Final = 4  # MAX_NR_GENS
MIN_GENS: Final = 2  # MIN_NR_GENS
N_TIERS: Final = 4  # MAX_NR_TIERS
ANON: Final = 0
BATCH: Final = 64  # MIN_LRU_BATCH
MAX_BATCH: Final = 4096  # MAX_LRU_BATCH
LIST_INACTIVE: Final = 8  # + type, of policy "two-list"; 0 .. 7: generation index * 2 + type
LIST_ACTIVE: Final = 10  # + type
N_LISTS: Final = 12
PTES: Final = 512  # PTRS_PER_PTE
SPARE: Final = 64  # elements behind `pte_bits` and `folios` that vectors may read, too
SEGMENT: Final = 128  # places of a list that follow each other in `queue`
HOLE: Final = -1  # an unused place in it

# --- word[]: what there is one of in a lruvec. Each field begins where the one before it ends.
_word = Record()

MAX_SEQ: Final = _word.field()
MIN_SEQ: Final = _word.field(2)  # + type
WALK_SEQ: Final = _word.field()  # mm_state.seq
FEATURES: Final = _word.field()
SWAPPINESS: Final = _word.field()
N_PAGES: Final = _word.field()
HELD: Final = _word.field()  # pages resident
FRAMES: Final = _word.field()  # pages of memory
NOW: Final = _word.field()  # tick
N_SPACES: Final = _word.field()
FILTERS: Final = _word.field()  # bit i: Bloom filter i exists
RECLAIMED: Final = _word.field()  # sc->nr_reclaimed
PRIORITY: Final = _word.field()  # sc->priority
HAS_WALK: Final = _word.field()  # the reclaiming task has an mm_walk
HOT_AFTER: Final = _word.field()  # ticks: evicted younger than this is a hot eviction
NR_PAGES: Final = _word.field(2 * N_GENS)  # + generation index * 2 + type
AVG_REFAULTED: Final = _word.field(2 * N_TIERS)  # + type * 4 + tier, as all that follow
AVG_TOTAL: Final = _word.field(2 * N_TIERS)
EVICTED_IN: Final = _word.field(2 * N_TIERS)  # of the min_seq of now (NR_HIST_GENS == 1)
REFAULTED_IN: Final = _word.field(2 * N_TIERS)
PROTECTED_IN: Final = _word.field(2 * N_TIERS)
LATER: Final = _word.field(BATCH)  # + i: neighbours that a look-around up to 6.3 promotes at its end
Q_ADD: Final = _word.field(32)  # folios that wait for their list: how many, then which
Q_ACTIVATE: Final = _word.field(32)  # folios that wait for their activation
ADD_BATCH: Final = _word.field()  # how many may wait
ACTIVATE_BATCH: Final = _word.field()
MINIMUM: Final = _word.field()  # free pages that are kept back (watermark)
LOW: Final = _word.field()  # free pages below which kswapd wakes
HIGH: Final = _word.field()  # and above which it sleeps
KSWAPD: Final = _word.field()  # this reclaim is kswapd's
TARGET_MEMCG: Final = _word.field()  # this reclaim is on behalf of a memcg
LOOKED_AT: Final = _word.field()  # sc->nr_scanned
SOME_UNUSED: Final = _word.field()  # a space has S_USED clear
NOTED: Final = _word.field()  # rows of this run whose spaces are marked used
LAST_RECLAIMED: Final = _word.field()  # sc->nr_reclaimed when this pass of kswapd began
AGE_NODE: Final = _word.field()  # sc->memcgs_need_aging: 6.1's kswapd is to age before it evicts
OPENED: Final = _word.field(N_GENS)  # + generation index: the tick when it became the youngest (lrugen->timestamps)
TIER_OF: Final = (
    _word.field()
)  # two bits for each of 16 combinations of flags (tiers.flags_of): the tier; 0: to be worked out
SHADOW_OF: Final = _word.field()  # three bits for each: what the shadow entry says of them
PROTECTED: Final = _word.field(N_TIERS)  # + last tier that is not protected: one bit each, do such folios move on?
MEMO_ENTRY: Final = _word.field(64)  # + combination: META of a page as it enters the batch of new ones
LAST_ENTRY: Final = _word.field()  # META of the last one that did
MOVING: Final = _word.field(BATCH)  # folios that eviction met and that move on, at most BATCH
NR_INACTIVE: Final = _word.field()  # the classic lists, for policy "two-list": their sizes
NR_ACTIVE: Final = _word.field()
T_AGE: Final = _word.field()  # lruvec->nonresident_age: evictions and activations
T_COST: Final = _word.field()  # lruvec->anon_cost
T_ACTIVATIONS: Final = _word.field()  # WORKINGSET_ACTIVATE_ANON: refaults that were activated
T_REFAULTS: Final = _word.field()  # lruvec->refaults: their number when reclaim last ended
NEED_AGING: Final = _word.field()  # what get_nr_to_scan() found last: few cold pages are left
ISOLATED: Final = _word.field(
    1 + BATCH
)  # folios that eviction took off their list: how many, then which, at most BATCH
KEPT: Final = _word.field(BATCH)  # those of them that stay
LISTED: Final = _word.field(2)  # of which 64 pages `listed` knows, two times; -1: none
HEADS: Final = _word.field(N_LISTS)  # + list number: the place in `queue` for the next folio at its head
TAILS: Final = _word.field(N_LISTS)  # + list number: that of the folio at its tail
FREE: Final = _word.field()  # the first segment of `queue` that a list has given back; 0: none
FRESH: Final = _word.field()  # the first that no list ever had
HOLES: Final = _word.field()  # unused places of lists
MAX_HOLES: Final = _word.field()
N_MEMOS: Final = 128
MEMO_FLAGS: Final = _word.field(
    N_MEMOS
)  # + combination: META after such a fault, and more; -1: not known yet (usual.py)
EXHAUSTED: Final = _word.field()  # a page was needed, none was free, none could be reclaimed
N_WORDS: Final = _word.size
SCRATCH: Final = (NOTED,)  # fields that mean something within one call alone

# --- space[]: an address space, one row each, in the order of the mm list
S_FIRST: Final = 0  # first page number
S_PAGES: Final = 1
S_MODE: Final = 2  # row of the truth tables: which MMUs exist now
S_NOTIFIERS: Final = 3  # mm_has_notifiers()
S_USED: Final = 4  # scheduled in since the last walk (mm->lru_gen.bitmap)
S_NEW: Final = 5  # added after the last walk: scanned by force
S_AD: Final = 6  # KVM's entries have accessed bits of their own
S_RSS: Final = 7  # pages resident
S_PMD: Final = 8  # hva >> 21 of its first PMD
S_TDP: Final = 9  # the TDP MMU serves the guest; otherwise the shadow MMU
S_SMALL: Final = 10  # A_TDP, A_SHADOW: SPTEs that shadow a guest's tables, so map 4 KiB each; others map all of a folio
S_INVALIDATED: Final = 11  # mmu_invalidate_seq
S_HUGE: Final = 12  # THP "always"
S_REGION: Final = 13  # its first row of by_region[]
S_REGION_SHIFT: Final = 14  # pages of a region, as a power of two
S_KINDS: Final = 15  # + context: bits of `pte_bits` that an access needs and sets
S_ASKED: Final = 19  # walks and look-around ask its secondary MMUs about old entries (should_walk_secondary_mmu())
S_SHORTCUT: Final = 20  # an old PMD entry says that its table need not be read
S_COLUMNS: Final = 32  # 21 are used: rows are found by a shift

# --- pmd[]: 512 pages each
M_SPACE: Final = 0
M_STATE: Final = 1  # NOTHING, TABLE or HUGE_ENTRY
M_KEY0: Final = 2  # the two bits of its address in a Bloom filter
M_KEY1: Final = 3
M_YOUNG: Final = 4  # accessed bit of the entry itself, where `pte_bits` cannot hold it
M_WALK: Final = 5  # the last walk that came by: max_seq of then * 4 + what it did
M_LOOK: Final = 6  # tick of the last look-around
M_COLUMNS: Final = 8  # 7 are used
NOTHING: Final = 0  # nothing mapped there yet
TABLE: Final = 1  # a page table of 4 KiB entries
HUGE_ENTRY: Final = 2  # one entry maps a folio of 2 MiB
WALK_READ: Final = 0  # its entries were read
WALK_IDLE: Final = 1  # passed over: the accessed bit of the entry was clear
WALK_BLOOM: Final = 2  # passed over: the Bloom filter said no

# --- truth tables: ask[question, mode * 8 + accessed bits] (protocol.py) holds an answer
ASK_WALK: Final = 0
ASK_TARGET: Final = 1
ASK_NEIGHBOUR: Final = 2
ASK_HUGE_WALK: Final = 3  # about an entry of 2 MiB
ASK_HUGE_TARGET: Final = 4
N_ASKS: Final = 5
YOUNG: Final = 1 << 3  # bits 0 .. 2: the accessed bits that are cleared
LOOK_AROUND: Final = 1 << 4
