"""What a host of the engine is made of: plain numbers, no types of the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: What a touch goes through, as `context` in a trace.
GUEST, NESTED, HOST = 0, 1, 2


@dataclass(frozen=True)
class Space:
    """One address space with one VMA: a VM's memory or an ordinary process.

    pages: its size in 4 KiB pages. hva: its first byte, page aligned. kvm: a VM maps it (its mm has a subscriber).
    tdp: the VM uses the TDP MMU, else the shadow MMU alone. ad_bits: its SPTEs have accessed bits of their own.
    huge: backed by 2 MiB pages.
    """

    name: str
    pages: int
    kvm: bool = True
    tdp: bool = True
    ad_bits: bool = True
    huge: bool = False
    hva: int = 1 << 30


@dataclass(frozen=True)
class Host:
    """A host. memory_pages: room for guest and process pages; tick_ns: resolution of the truth about last uses.

    age_every_ns: proactive aging ('+' with force_scan) on a clock, 0 for none. swappiness: 0 .. 201.
    hot_after_ns: an eviction of a page that was used less than this before is a hot one.
    """

    spaces: Sequence[Space]
    memory_pages: int
    features: Mapping[str, object]
    swappiness: int = 60
    age_every_ns: int = 0
    hot_after_ns: int = 2_000_000_000
    tick_ns: int = 20_000_000
    swap_read_ns: int = 80_000
    swap_write_ns: int = 60_000
    extra: Mapping[str, int] = field(default_factory=dict)
