"""What KVM asks of the primary MMU: a page for an address, and marks on the page.

`agewalk.model.mm.faults.gup` answers for a host with folios and page tables; a test brings its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agewalk.core.effects import Step
from agewalk.core.units import Hva, Pfn
from agewalk.model.kvm.mmu.spte import PG_LEVEL_4K
from agewalk.model.mm.mm_types import Mm


@dataclass(frozen=True, slots=True)
class Gup:
    """A page that get_user_pages() found. level: PG_LEVEL_* at which the primary MMU maps it (host_pfn_mapping_level)."""

    pfn: Pfn
    writable: bool
    level: int = PG_LEVEL_4K


class HostMemory(Protocol):
    """The side of mm/ that virt/kvm/kvm_main.c calls."""

    def get_user_page(self, mm: Mm, hva: Hva, write: bool) -> Step[Gup | None]:
        """hva_to_pfn(): fault the page in if need be, which may sleep; None if no VMA is there.

        For a read, the answer is writable if the primary PTE already is (hva_to_pfn_fast asks with FOLL_WRITE first).
        """

    def get_user_page_fast_only(self, mm: Mm, hva: Hva) -> Step[Gup | None]:
        """get_user_pages_fast_only(FOLL_WRITE): the page if it is mapped writable, without faulting; else None."""

    def mark_page_accessed(self, pfn: Pfn) -> Step[None]:
        """mark_page_accessed() (mm/folio-compat.c), from kvm_set_page_accessed()."""

    def mark_page_dirty(self, pfn: Pfn) -> Step[None]:
        """SetPageDirty(), from kvm_set_page_dirty()."""
