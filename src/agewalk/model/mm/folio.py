"""Folios: what the LRU lists hold. Flags are one word, as in struct page, so that races on it are the kernel's.

Bit positions of generation and refs are those of the recorded kernels (witness FORMAT: gen 27..29, refs 25..26);
the others are ours.
"""

from __future__ import annotations

from typing import Final

PG_LOCKED: Final = 1 << 0
PG_REFERENCED: Final = 1 << 2
PG_UPTODATE: Final = 1 << 3
PG_DIRTY: Final = 1 << 4
PG_LRU: Final = 1 << 5
PG_ACTIVE: Final = 1 << 8
PG_WORKINGSET: Final = 1 << 9
PG_SWAPCACHE: Final = 1 << 10
PG_WRITEBACK: Final = 1 << 12
PG_RECLAIM: Final = 1 << 16
PG_SWAPBACKED: Final = 1 << 17
PG_UNEVICTABLE: Final = 1 << 18
PG_MLOCKED: Final = 1 << 19
PG_YOUNG: Final = 1 << 20  # page_idle / DAMON
PG_IDLE: Final = 1 << 21
LRU_REFS_PGOFF: Final = 25
LRU_REFS_WIDTH: Final = 2
LRU_REFS_MASK: Final = ((1 << LRU_REFS_WIDTH) - 1) << LRU_REFS_PGOFF
LRU_GEN_PGOFF: Final = 27
LRU_GEN_WIDTH: Final = 3
LRU_GEN_MASK: Final = ((1 << LRU_GEN_WIDTH) - 1) << LRU_GEN_PGOFF
LRU_REFS_FLAGS: Final = LRU_REFS_MASK | PG_REFERENCED

ANON: Final = 0  # LRU_GEN_ANON; also the type index of an lruvec
FILE: Final = 1


def folio_lru_gen(flags: int) -> int:
    """Generation index (seq % MAX_NR_GENS) of a flags word, or -1 when on no MGLRU list (folio_lru_gen, mm_inline.h)."""
    return ((flags & LRU_GEN_MASK) >> LRU_GEN_PGOFF) - 1


def folio_lru_refs_field(flags: int) -> int:
    """The raw LRU_REFS field."""
    return (flags & LRU_REFS_MASK) >> LRU_REFS_PGOFF


def with_gen(flags: int, gen: int) -> int:
    """`flags` with the generation field set to index `gen`; -1 clears it."""
    return flags & ~LRU_GEN_MASK | (gen + 1) << LRU_GEN_PGOFF


def with_refs(flags: int, refs: int) -> int:
    """`flags` with the LRU_REFS field set to `refs`."""
    return flags & ~LRU_REFS_MASK | refs << LRU_REFS_PGOFF
