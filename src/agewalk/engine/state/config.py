"""What a host of the engine is made of: plain numbers, no types of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: What a touch goes through, as `context` in a trace.
GUEST, NESTED, HOST = 0, 1, 2

#: Fewer pages than this make a host (7.9 TiB): each has a place on a list, and a place is a number of 31 bits.
TOO_MANY_PAGES: Final = (1 << 31) - (1 << 25)


@dataclass(frozen=True)
class Space:
    """One address space with one VMA: a VM's memory or an ordinary process.

    pages: its size in 4 KiB pages. hva: its first byte, page aligned. kvm: a VM maps it (its mm has a subscriber).
    tdp: the VM uses the TDP MMU; else the legacy MMU, or, with shadow, KVM shadows
    the guest's own tables. ad_bits: its SPTEs have accessed bits of their own.
    huge: THP "always": 2 MiB at once, where they fit and are free.
    """

    name: str
    pages: int
    kvm: bool = True
    tdp: bool = True
    shadow: bool = False
    ad_bits: bool = True
    huge: bool = False
    hva: int = 1 << 30


@dataclass(frozen=True)
class Host:
    """A host. memory_pages: room for guest and process pages; tick_ns: resolution of the truth about last uses.

    age_every_ns: proactive aging ('+' with force_scan) on a clock, 0 for none. swappiness: 0 .. 201.
    cold_after_ns: a page idle for this long is truly cold.
    hot_after_ns: an eviction of a page that was used less than this before is a hot one. folio_batch_size: new folios that a
    CPU keeps off the lists until it has so many (15 or 31; at most 31). regions: bands of neighbouring pages, a power of two
    of pages each, that events of one space are told apart by; at most so many.
    """

    spaces: Sequence[Space]
    memory_pages: int
    features: Mapping[str, object]
    swappiness: int = 60
    age_every_ns: int = 0
    hot_after_ns: int = 2_000_000_000
    cold_after_ns: int = 10_000_000_000
    tick_ns: int = 20_000_000
    regions: int = 1
    folio_batch_size: int = 31
    policy: str = "mglru"


def region_shift(pages: int, regions: int) -> int:
    """Pages of a region, as a power of two: the smallest that divides `pages` into at most `regions`."""
    return max(0, (-(-pages // regions) - 1).bit_length())
