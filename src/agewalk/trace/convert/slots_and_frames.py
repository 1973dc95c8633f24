"""From raw accesses to rows of a trace: time from 0, slots, and dense guest frame numbers.

Readers yield `Batch`es whose `gfn` is a *page key*. Where there are addresses of several spaces (damon, perf): bits 0..51
the page number, address >> 12, and bits 52..63 which space. Elsewhere a number of 64 bits: the file's page or object number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import TraceError
from agewalk.core.units import PAGE_SIZE
from agewalk.trace.facts import PageSet
from agewalk.trace.format import Batch
from agewalk.trace.meta import MAX_PHYSICAL

SPACE_SHIFT: Final = 52  # a page key's address space starts here
MAX_SPACES: Final = 1 << 12
REGION_SHIFT: Final = 9  # 512 pages: 2 MiB
MERGE: Final = 1 << 16  # new keys that wait at least, before they join the sorted ones
KEEP_PAGES: Final = 1 << 24  # 64 GiB: up to here page numbers are kept as they are

Numbering = Literal["auto", "keep", "regions", "pages"]
DESCRIPTION: Final = {
    "keep": "gfn = page number of the source",
    "regions": "2 MiB regions of the source's address space(s), renumbered in the order of first touch; place in a region kept",
    "pages": "pages of the source, renumbered in the order of first touch",
}


class Slots:
    """Time from 0 on, cut into slots: in a slot each (vCPU, page, context) occurs once, in the order of first touch.

    slot_ns: length of a slot; 0 keeps every access. Holds one open slot, so memory is bounded by the pages of a slot.
    """

    def __init__(self, slot_ns: int) -> None:
        self._slot = slot_ns
        self._origin: int | None = None
        self._held: Batch | None = None

    def feed(self, batch: Batch) -> Iterator[Batch]:
        """Rows that are complete after these accesses, which go on where the last ones ended (ascending in time)."""
        if not len(batch):
            return
        if self._origin is None:
            self._origin = int(batch.time_ns[0])
        time = batch.time_ns - np.uint64(self._origin)
        if not self._slot:
            yield Batch(time, batch.vcpu, batch.gfn, batch.write, batch.context)
            return
        time = time // np.uint64(self._slot) * np.uint64(self._slot)
        fresh = _without_repeats(Batch(time, batch.vcpu, batch.gfn, batch.write, batch.context))
        rows = _once_each(fresh if self._held is None else Batch.concatenate([self._held, fresh]))
        open_from = int(np.searchsorted(rows.time_ns, rows.time_ns[-1]))
        self._held = rows[open_from:]
        if open_from:
            yield rows[:open_from]

    def finish(self) -> Iterator[Batch]:
        """The last, open slot."""
        if self._held is not None:
            yield self._held
            self._held = None


def _without_repeats(rows: Batch) -> Batch:
    """Drop rows equal to the one before: the bulk of instruction fetches, at a fraction of a sort's cost."""
    new = np.ones(len(rows), np.bool_)
    columns = (rows.time_ns, rows.vcpu, rows.gfn, rows.write, rows.context)
    new[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns])
    return rows.take(new)


def _once_each(rows: Batch) -> Batch:
    """One row for each (slot, page, vCPU, context), where the first was; a write if any was."""
    slot = np.zeros(len(rows), np.uint64)
    slot[1:] = np.cumsum(rows.time_ns[1:] != rows.time_ns[:-1], dtype=np.uint64)
    pages, page = np.unique(rows.gfn, return_inverse=True)
    who = (rows.vcpu.astype(np.uint64) << np.uint64(8)) | rows.context
    key = ((slot * np.uint64(len(pages)) + page.astype(np.uint64)) << np.uint64(16)) | who
    _, at, group = np.unique(key, return_index=True, return_inverse=True)
    if len(at) == len(rows):
        return rows
    wrote = np.zeros(len(at), np.bool_)
    np.logical_or.at(wrote, group[rows.write], True)
    order = np.argsort(at)
    kept = rows.take(at[order])
    return Batch(kept.time_ns, kept.vcpu, kept.gfn, wrote[order], kept.context)


class FirstSeen:
    """Numbers keys in the order of first sight; 16 bytes a key, but for the latest ones."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.uint64)  # sorted
        self._numbers = np.zeros(0, np.uint64)
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._recent)

    def number(self, keys: NDArray[np.uint64], at: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Numbers of distinct, sorted keys; `at` says in which order those that are new were seen."""
        numbers = np.zeros(len(keys), np.uint64)
        old = np.zeros(len(keys), np.bool_)
        if len(self._keys):
            place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            old = self._keys[place] == keys
            numbers[old] = self._numbers[place[old]]
        for i in np.argsort(at).tolist():
            if not old[i]:
                numbers[i] = self._recent.setdefault(int(keys[i]), len(self))
        if len(self._recent) > max(MERGE, len(self._keys)):
            self._merge()
        return numbers

    def in_order(self) -> list[int]:
        """All keys in the order of their numbers."""
        self._merge()
        ordered: list[int] = self._keys[np.argsort(self._numbers)].tolist()
        return ordered

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, np.fromiter(self._recent.keys(), np.uint64, len(self._recent))])
        numbers = np.concatenate([self._numbers, np.fromiter(self._recent.values(), np.uint64, len(self._recent))])
        order = np.argsort(keys)
        self._keys, self._numbers, self._recent = keys[order], numbers[order], {}


@dataclass
class Renumber:
    """Page keys to guest frame numbers; `how` is any Numbering but auto."""

    how: Numbering
    name: str  # of the source, for messages
    _known: FirstSeen = field(default_factory=FirstSeen)
    _top: int = 0

    def apply(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Gfns of page keys."""
        if self.how == "keep":
            top = int(keys.max())
            if top >= MAX_PHYSICAL // PAGE_SIZE:
                raise TraceError(
                    f"{self.name}: page number {top:#x} is no guest frame number (past {MAX_PHYSICAL >> 50} PiB)",
                    hint="use '--numbering regions' for virtual addresses or several processes",
                )
            self._top = max(self._top, top)
            return keys
        shift = np.uint64(REGION_SHIFT if self.how == "regions" else 0)
        units, at, inverse = np.unique(keys >> shift, return_index=True, return_inverse=True)
        numbers = self._known.number(units, at)
        low = keys & np.uint64((1 << int(shift)) - 1)
        gfns: NDArray[np.uint64] = (numbers[inverse] << shift) | low
        return gfns

    @property
    def pages(self) -> int:
        """Guest pages that hold all gfns so far."""
        return {"keep": self._top + 1, "regions": len(self._known) << REGION_SHIFT}.get(self.how, len(self._known))

    @property
    def memory_bytes(self) -> int:
        """`pages` in bytes, rounded up to 2 MiB."""
        region = 1 << REGION_SHIFT
        return -(-self.pages // region) * region * PAGE_SIZE

    def table(self) -> list[int]:
        """For regions: the page key that each region of guest memory stands for, in order."""
        return [key << REGION_SHIFT for key in self._known.in_order()] if self.how == "regions" else []


class Span:
    """What a first pass learns for `auto`: are the page numbers those of a plausible guest?"""

    def __init__(self) -> None:
        self._regions = PageSet()
        self._top = 0

    def feed(self, batch: Batch) -> None:
        """Look at page keys."""
        if len(batch):
            self._top = max(self._top, int(batch.gfn.max()))
            self._regions.add(np.unique(batch.gfn >> np.uint64(REGION_SHIFT)))

    def choose(self) -> Numbering:
        """`keep` if the highest page lies below 64 GiB or within eight times the regions touched, else `regions`."""
        touched = len(self._regions) << REGION_SHIFT
        plausible = self._top < KEEP_PAGES or (self._top < 8 * touched and self._top < MAX_PHYSICAL // PAGE_SIZE)
        return "keep" if plausible else "regions"
