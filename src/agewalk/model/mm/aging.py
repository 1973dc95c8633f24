"""What the LRU asks of an aging protocol: was the page behind an entry of the primary page tables used?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agewalk.core.cells import Cell
from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm.mm_types import Mm


@dataclass(frozen=True)
class Verdict:
    """About the target of an eviction: does it count as referenced, and are its neighbours looked at?"""

    referenced: bool
    look_around: bool


class PrimaryMmuAging(Protocol):
    """The three questions (`AgingProtocol` in `agewalk.model.protocols.base` says what each answer means)."""

    def walk(self, mm: Mm, entry: Cell, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """Aging reads one present leaf entry that maps `size` bytes at `hva`."""

    def target(self, mm: Mm, entry: Cell, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """Eviction reads the entry of the page it wants to take."""

    def neighbour(self, mm: Mm, entry: Cell, hva: Hva) -> Step[bool]:
        """Look-around reads a present PTE near a young target."""
