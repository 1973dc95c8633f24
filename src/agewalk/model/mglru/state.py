"""What MGLRU keeps of one memcg on one node: struct lru_gen_folio, lru_gen_mm_state and the memcg's list of mms.

One zone: pages of a model host are all alike, so the kernel's lists and sizes per zone are one each here. Sizes are
eventually consistent, as in the kernel: a page-table walk books its promotions later (`MmWalk.nr_pages`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from agewalk.core.cells import Cell, ListHead, Lock
from agewalk.core.effects import Load, Step
from agewalk.core.units import Ns, Pfn
from agewalk.model.mglru.aging.generations import MAX_NR_GENS, MAX_NR_TIERS, MIN_NR_GENS, TYPES
from agewalk.model.mglru.features import MglruFeatures
from agewalk.model.mm.aging import PrimaryMmuAging
from agewalk.model.mm.mm_types import Folio, Lruvec, Memory, Mm

LEAF_TOTAL: Final = 0  # MM_LEAF_TOTAL: leaf entries read
LEAF_OLD: Final = 1  # 6.1 alone: of these, old
LEAF_YOUNG: Final = 2
NONLEAF_TOTAL: Final = 3  # 6.1 alone: non-leaf entries met
NONLEAF_FOUND: Final = 4  # non-leaf entries found in the Bloom filter, or forced
NONLEAF_ADDED: Final = 5  # non-leaf entries added to the next one
NR_MM_STATS: Final = 6


class LruGen(Lruvec, ABC):
    """State of a lruvec under MGLRU; `agewalk.model.mglru.lruvec.MglruLruvec` adds the operations.

    mem_map: the folio of each frame (struct page); only gains and loses entries as frames are used.
    memory: whose CPU batches folio_activate() uses; None: no batches.
    protocol, features: fixed when the host was built.
    fifo: the memcg's mm_list, a tuple of mms, oldest first; under mm_list_lock, as `mm_seq`, `head` and `tail` are.
    head: the mm that the current iteration stands on, FIFO when at the start, None before the first; tail: the first mm
        added after the last iteration (to be scanned by force), FIFO if there is none, None before the first.
    known_mms: all mms that were ever on the list; the place of one stands for the address of its PMD pages (bloom.py).
    filters: None until the first reset allocates one, then its bits.
    timestamps: birth of each generation, ns; clock: now, ns, kept by the machine.
    """

    __slots__ = (
        "avg_refaulted",
        "avg_total",
        "clock",
        "evicted",
        "features",
        "fifo",
        "filters",
        "folios",
        "head",
        "known_mms",
        "max_seq",
        "mem_map",
        "memory",
        "min_seq",
        "mm_list_lock",
        "mm_seq",
        "mm_stats",
        "nr_pages",
        "protected",
        "protocol",
        "refaulted",
        "tail",
        "timestamps",
    )

    def __init__(
        self, label: str, *, features: MglruFeatures, protocol: PrimaryMmuAging, mem_map: Mapping[Pfn, Folio]
    ) -> None:
        super().__init__(label)
        self.features = features
        self.protocol = protocol
        self.mem_map = mem_map
        self.memory: Memory | None = None
        self.clock = Cell(self, "clock", Ns(0))
        # struct lru_gen_folio
        self.max_seq = Cell(self, "max_seq", MIN_NR_GENS + 1)
        self.min_seq = tuple(Cell(self, f"min_seq[{t}]", 0) for t in TYPES)
        self.timestamps = tuple(Cell(self, f"timestamps[{g}]", Ns(0)) for g in range(MAX_NR_GENS))
        self.folios = tuple(tuple(ListHead(f"{label}.folios[{g}][{t}]") for t in TYPES) for g in range(MAX_NR_GENS))
        self.nr_pages = tuple(tuple(Cell(self, f"nr_pages[{g}][{t}]", 0) for t in TYPES) for g in range(MAX_NR_GENS))
        self.avg_refaulted = self._tiers("avg_refaulted")
        self.avg_total = self._tiers("avg_total")
        self.protected = self._tiers("protected")
        self.evicted = self._tiers("evicted")
        self.refaulted = self._tiers("refaulted")
        # struct lru_gen_mm_list and lru_gen_mm_state
        self.mm_list_lock = Lock(self, "mm_list_lock")
        none: tuple[Mm, ...] = ()
        self.fifo = Cell(self, "fifo", none)
        self.known_mms = Cell(self, "known_mms", none)
        self.mm_seq = Cell(self, "mm_seq", MIN_NR_GENS)
        nowhere: Mm | str | None = None
        self.head = Cell(self, "mm_head", nowhere)
        self.tail = Cell(self, "mm_tail", nowhere)
        absent: int | None = None
        self.filters = (Cell(self, "filters[0]", absent), Cell(self, "filters[1]", absent))
        self.mm_stats = tuple(Cell(self, f"mm_stats[{i}]", 0) for i in range(NR_MM_STATS))

    @abstractmethod
    def activate(self, folio: Folio) -> Step[None]:
        """folio_activate() (mm/swap.c): into the active generations, soon."""

    def _tiers(self, name: str) -> tuple[tuple[Cell, ...], ...]:
        return tuple(tuple(Cell(self, f"{name}[{t}][{i}]", 0) for i in range(MAX_NR_TIERS)) for t in TYPES)


FIFO: Final = "fifo"  # the list head itself, where an iteration starts and ends


class MmWalk:
    """struct lru_gen_mm_walk, private to one task: what it has not booked yet.

    nr_pages: changes of size by [generation][type], to be added under lru_lock; batched: folios in there.
    """

    __slots__ = ("batched", "force_scan", "mm_number", "mm_stats", "nr_pages", "seq", "swappiness")

    def __init__(self) -> None:
        self.seq = 0
        self.swappiness = 0
        self.force_scan = False
        self.mm_number = 0
        self.batched = 0
        self.nr_pages = [[0, 0] for _ in range(MAX_NR_GENS)]
        self.mm_stats = [0] * NR_MM_STATS

    def update_batch_size(self, type_: int, old_gen: int, new_gen: int, pages: int) -> None:
        """update_batch_size()."""
        self.batched += 1
        self.nr_pages[old_gen][type_] -= pages
        self.nr_pages[new_gen][type_] += pages


def load_min_seq(lruvec: LruGen) -> Step[tuple[int, int]]:
    """DEFINE_MIN_SEQ()."""
    anon: int = yield Load(lruvec.min_seq[0])
    file: int = yield Load(lruvec.min_seq[1])
    return anon, file
