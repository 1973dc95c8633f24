"""What the LRU asks of an aging protocol: was the page behind an entry of the primary page tables used?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agewalk.core.effects import Step
from agewalk.core.units import PAGE_SIZE, Hva
from agewalk.model.mm.mm_types import Mm
from agewalk.model.mm.pte import Entry


@dataclass(frozen=True)
class Verdict:
    """About the target of an eviction: does it count as referenced, and are its neighbours looked at?"""

    referenced: bool
    look_around: bool


class PrimaryMmuAging(Protocol):
    """The three questions (`AgingProtocol` in `agewalk.model.protocols.base` says what each answer means).

    `entry`: one entry, or those that map `size` bytes of a large folio, where a kernel asks about them together.

    The last two take the place of `walk` and `neighbour` where MGLRU asks about many pages at once (`asks_by_bitmap`).
    """

    def walk(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """Aging reads a present leaf entry, or several, that map `size` bytes at `hva`."""

    def target(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[Verdict]:
        """Eviction reads the entries of the folio it wants to take."""

    def neighbour(self, mm: Mm, entry: Entry, hva: Hva, size: int = PAGE_SIZE) -> Step[bool]:
        """Look-around reads present PTEs near a young target."""

    def test_bitmap(self, mm: Mm, start: Hva, end: Hva) -> Step[int]:
        """Which of the small pages of [start, end) are young in secondary MMUs? Bit i is page i from `start` on."""

    def clear_bitmap(self, mm: Mm, start: Hva, end: Hva, bits: int) -> Step[None]:
        """Clears their accessed bits."""
