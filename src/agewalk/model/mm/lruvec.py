"""What the rest of mm asks of an LRU: MGLRU (`agewalk.model.mglru`) and the classic two lists both answer.

The kernel decides by lru_gen_enabled() inside mm/swap.c, mm/rmap.c, mm/workingset.c; here the lruvec decides, so that
faults and reverse mapping are written once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from agewalk.core.cells import Lock, Object
from agewalk.core.effects import Step

if TYPE_CHECKING:
    from agewalk.model.mm.folio import Folio
    from agewalk.model.mm.memory import Memory
    from agewalk.model.mm.rmap import PageVmaMappedWalk


class Lruvec(Object, ABC):
    """LRU lists of one memcg on one node, under `lru_lock`.

    memory: the host's, whose CPU batches `swap.folio_activate()` uses; set when that is built. None: no batches.
    """

    __slots__ = ("lru_lock", "memory")

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.lru_lock = Lock(self, "lru_lock")
        self.memory: Memory | None = None

    @abstractmethod
    def add_folio(self, folio: Folio, *, tail: bool = False) -> Step[None]:
        """lruvec_add_folio(), under lru_lock: link a folio whose PG_lru has just been set. `tail`: lruvec_add_folio_tail(),
        for a folio to be reclaimed next (folio_rotate_reclaimable())."""

    @abstractmethod
    def del_folio(self, folio: Folio) -> Step[None]:
        """lruvec_del_folio(), under lru_lock."""

    @abstractmethod
    def mark_accessed(self, folio: Folio) -> Step[None]:
        """The LRU's part of folio_mark_accessed() (mm/swap.c)."""

    @abstractmethod
    def add_lru_in_fault(self, folio: Folio) -> Step[None]:
        """What folio_add_lru() does to the flags of a folio added inside a page fault (lru_gen_in_fault())."""

    @abstractmethod
    def eviction_shadow(self, folio: Folio) -> Step[int]:
        """workingset_eviction(): the shadow entry that is left in place of a folio that is being reclaimed."""

    @abstractmethod
    def refault(self, folio: Folio, shadow: int, *, in_fault: bool) -> Step[None]:
        """workingset_refault(): a folio comes back and finds the shadow that it left. `in_fault`: lru_gen_in_fault()."""

    @abstractmethod
    def referenced_one(self, pvmw: PageVmaMappedWalk, mm_walk: Any = None) -> Step[int]:
        """folio_referenced_one()'s look at one mapping: how many references it found there (and cleared).

        mm_walk: current->reclaim_state->mm_walk of the reclaiming task; rmap passes it on from folio_referenced().
        """
