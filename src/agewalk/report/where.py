"""Maps of what a policy did: bands of neighbouring pages from top to bottom, time from left to right. They fit on a page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BUDGET: Final = 420_000  # bytes of all maps on a page, before base64
MEMBERS: Final = 8  # drawn at most
NONE: Final = 255  # the shade of "no page is on a list"
KINDS: Final = ("young", "refaults", "evictions")


@dataclass(frozen=True, slots=True)
class Where:
    """One policy on one memory size.

    refaults[m][row][i]: refaults of the pages of member m from `row * pages_per_row[m]` on, in bin i of `bin_ns` nanoseconds;
    evictions alike. young[m][row][i]: per mille of the pages on lists that are in the two youngest generations, -1 where no page
    is on a list; empty for a policy without generations.
    """

    policy: str
    memory_bytes: int
    bin_ns: int
    names: Sequence[str]
    pages_per_row: Sequence[int]
    refaults: Sequence[Sequence[Sequence[int]]]
    evictions: Sequence[Sequence[Sequence[int]]]
    young: Sequence[Sequence[Sequence[int]]]


def folded(counts: NDArray[np.int64], fold: int, *, young: bool) -> NDArray[np.int64]:
    """Counts[row, column] with `fold` columns made one: the sum of events, or with `young` the last share that is known."""
    rows, columns = counts.shape
    whole = -(-columns // fold) * fold
    padded = np.full((rows, whole), -1 if young else 0, np.int64)
    padded[:, :columns] = counts
    parts = padded.reshape(rows, -1, fold)
    if not young:
        return np.asarray(parts.sum(axis=2))
    last = parts[:, :, 0]
    for i in range(1, fold):
        last = np.where(parts[:, :, i] >= 0, parts[:, :, i], last)
    return last


def shades(counts: NDArray[np.int64], kind: str, top: int) -> bytes:
    """One byte a cell. A share: 0 to 254, linear, NONE where there is no page. Events: 0 to 255, logarithmic up to `top`."""
    if kind == "young":
        return bytes(np.where(counts < 0, NONE, counts * 254 // 1000).astype(np.uint8))
    scale = np.log1p(counts) * (255 / np.log1p(max(top, 1)))
    return bytes(np.ceil(np.minimum(scale, 255)).astype(np.uint8))


def packed(maps: Sequence[Where]) -> dict[str, Any]:
    """`maps` as data of the page. All policies share one scale for each kind and member; equal maps are held once, in base64."""
    drawn = list(maps)
    fold = 1
    while _size(drawn, fold) > BUDGET:
        if fold < 4:
            fold *= 2
        elif len({m.memory_bytes for m in drawn}) > 1:
            smallest = min(m.memory_bytes for m in drawn)
            drawn = [m for m in drawn if m.memory_bytes == smallest]
        elif len(drawn) > 1:
            drawn = drawn[:-1]
        else:
            break
    longest = max((m.bin_ns for m in drawn), default=1)
    store: dict[bytes, int] = {}
    arrays = {
        (i, kind): [
            folded(np.array(part, np.int64), fold * longest // one.bin_ns, young=kind == "young")
            for part in getattr(one, kind)[:MEMBERS]
        ]
        for i, one in enumerate(drawn)
        for kind in KINDS
    }
    tops: dict[tuple[str, int], int] = {}
    for (_, kind), parts in arrays.items():
        for m, part in enumerate(parts):
            tops[kind, m] = max(tops.get((kind, m), 0), int(part.max(initial=0)))
    out = []
    for i, one in enumerate(drawn):
        places = {}
        for kind in KINDS:
            texts = [shades(part, kind, tops[kind, m]) for m, part in enumerate(arrays[i, kind])]
            places[kind] = [store.setdefault(text, len(store)) for text in texts]
        columns = [part.shape[1] for part in arrays[i, "evictions"]]
        out.append({"policy": one.policy, "memory": one.memory_bytes, "columns": columns, **places})
    names = list(drawn[0].names[:MEMBERS]) if drawn else []
    return {
        "maps": out,
        "bin": longest * fold,
        "names": names,
        "rows": [len(part) for part in drawn[0].evictions[:MEMBERS]] if drawn else [],
        "pagesPerRow": list(drawn[0].pages_per_row[:MEMBERS]) if drawn else [],
        "tops": {kind: [tops.get((kind, m), 0) for m in range(len(names))] for kind in KINDS},
        "shades": [base64.b64encode(text).decode() for text in store],
        "leftOut": len(maps) - len(drawn),
    }


def _size(maps: Sequence[Where], fold: int) -> int:
    return sum(
        len(part) * -(-len(part[0]) // fold)
        for one in maps
        for kind in KINDS
        for part in getattr(one, kind)[:MEMBERS]
        if part
    )
