"""`report.html`: one page that needs nothing else, no network and no other file.

Data travels as JSON inside the page; page.js draws it. Both themes come from page.css.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.core import text
from agewalk.report.where import Where, packed

SCRIPTS: Final = ("page.js", "aging.js", "draw.js")
#: Why aging was wrong about a page, in the words of docs/quality-of-aging.md.
CAUSES: Final = {
    "not_consulted": "its accessed bit is in a table that the walk does not ask",
    "fast_only": "the walk asked, and the answer left its accessed bit out",
    "look_around": "no walk read it; a look-around did, and missed it",
    "bloom": "the Bloom filter ruled its page table out",
    "idle_entry": "the accessed bit above its page table was clear",
    "not_walked": "no walk of its address space took place",
    "sank": "seen in time, and two generations were opened since",
    "first_sight": "seen once, which since 6.14 only marks it",
    "batch": "it waited in a CPU's batch",
    "lost": "its accessed bit went away unseen",
    "window": "used since its generation opened: it had no time to sink",
    "huge": "another page of its 2 MiB mapping was used",
    "not_cleared": "an earlier pass read its accessed bit and left it set",
    "stale_bit": "an accessed bit from before the last pass",
    "kept": "eviction put it back",
}
#: What each number means, in a sentence; docs/metrics.md has the formulas.
MEANINGS: Final = {
    "refaults": "Faults on pages that reclaim had taken: the guest still needed them.",
    "evictions": "Pages that reclaim took.",
    "hot_evictions": "Evictions of pages used less than 2 s before, whatever the aging interval.",
    "cold_recall": "Of the pages truly idle for an interval, the share that aging calls old.",
    "cold_precision": "Of the pages that aging calls old, the share that truly is idle.",
    "age_rank_correlation": "Kendall's tau-b of generation and true age; 1 is the right order.",
    "ptes_walked": "Entries of the primary page tables that walks, look-around and eviction read.",
    "notifier_calls": "Young questions to secondary MMUs.",
    "mmu_lock_write_ns": "Time that aging holds mmu_lock for write, by the cost table.",
    "vcpu_stall_ns": "Time that vCPUs wait for the host: exits, swap reads, swap writes.",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A heat map of one VM: counts[row of pages, column of time], phases as (nanoseconds, text)."""

    name: str
    bin_ns: int
    pages_per_row: int
    counts: NDArray[np.uint32]
    phases: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """Refaults of one policy on one memory size: `refaults[m][i]` of VM m in bin i."""

    policy: str
    memory_bytes: int
    bin_ns: int
    refaults: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Misses:
    """Misses per access against memory in bytes, of LRU, OPT and of a sample's estimate (memory, ratio, error)."""

    lru: Sequence[tuple[int, float]]
    opt: Sequence[tuple[int, float]]
    sample: Sequence[tuple[int, float, float]]
    rate: float


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page.

    facts: what was compared, (name, value) for people. results: as in `compare --json`; tick_ns: the unit of their refault
    intervals. host_bytes: the memory size that the page opens on; None: the smallest.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    results: Sequence[Mapping[str, Any]]
    lines: Sequence[Lines] = ()
    pictures: Sequence[Picture] = field(default=())
    misses: Misses | None = None
    maps: Sequence[Where] = ()
    tick_ns: int = 20_000_000
    host_bytes: int | None = None


def _shades(counts: NDArray[np.uint32]) -> str:
    """Counts on a logarithmic scale, one byte each, base64."""
    scale = np.log1p(counts)
    top = float(scale.max()) or 1.0
    return base64.b64encode(np.ceil(scale * (255 / top)).astype(np.uint8).tobytes()).decode()


def _data(page: Page) -> dict[str, Any]:
    return {
        "results": page.results,
        "meanings": MEANINGS,
        "causes": CAUSES,
        "tick": page.tick_ns,
        "host": page.host_bytes,
        "misses": asdict(page.misses) if page.misses else None,
        "where": packed(page.maps),
        "lines": [
            {
                "policy": one.policy,
                "memory": one.memory_bytes,
                "bin": one.bin_ns,
                "sum": [sum(bins) for bins in zip(*one.refaults, strict=True)],
            }
            for one in page.lines
        ],
        "pictures": [
            {
                "name": one.name,
                "bin": one.bin_ns,
                "pagesPerRow": one.pages_per_row,
                "rows": one.counts.shape[0],
                "columns": one.counts.shape[1],
                "top": int(one.counts.max()),
                "shades": _shades(one.counts),
                "phases": [{"at": at, "text": text} for at, text in one.phases],
            }
            for one in page.pictures
        ],
    }


def render(page: Page) -> str:
    """The page as HTML text. It may load nothing, and run and style itself by nothing but its own files."""
    here = resources.files("agewalk.report")
    style = here.joinpath("page.css").read_text(encoding="utf-8")
    script = "".join(here.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    facts = (f"<div><dt>{text.html(name)}</dt><dd>{text.html(value)}</dd></div>" for name, value in page.facts)
    parts = {
        "TITLE": text.html(page.title),
        "FACTS": "".join(facts),
        "VERSION": text.html(version("agewalk")),
        "POLICY": f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {text.csp_hash(script)}; "
        f"style-src {text.csp_hash(style)}",
        "STYLE": style,
        "SCRIPT": script,
        "DATA": text.script_json(_data(page)),
    }
    return text.filled(here.joinpath("page.html").read_text(encoding="utf-8"), parts)
