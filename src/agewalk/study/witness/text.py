"""A witness for people: its steps in words, and where the pages are after each: `512@0 + 1536@2` = 512 pages in the youngest
generation, 1536 two generations older; `out` = in swap, `off` = on no list, `none` = never touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agewalk.core.units import format_size
from agewalk.study.witness.file import Observation, Step
from agewalk.study.witness.replay import Shown

_WHO = {"host": "the process", "guest": "the guest", "guest_b": "the second guest"}


def describe(step: Step) -> str:
    """One step."""
    op = step["op"]
    if op == "populate":
        what = {True: "writes", False: "reads", "rmw": "increments"}[step["write"]]
        return f"{_WHO[step['by']]} {what} every page"
    if op == "touch":
        what = "writes" if step["write"] else "reads"
        return f"{_WHO[step['by']]} {what} pages {', '.join(step['pages'])}"
    if op == "age":
        return "age" + (" (force_scan)" if step["force_scan"] else "") + (" -> refused" if step["ret"] else "")
    if op == "reclaim":
        return f"memory.reclaim {format_size(step['bytes'])}"
    if op == "evict_cmd":
        return f"evict up to generation {step['seq']}, {step['nr_to_reclaim']} pages"
    if op == "close_vm":
        return f"close {_WHO[step['vm']].removeprefix('the ')}"
    return "flush the TLB"


def _outcome(seqs: Sequence[int | None], swapped: Sequence[int | None], max_seq: int) -> str:
    where: Counter[str] = Counter()
    for seq, out in zip(seqs, swapped, strict=True):
        if seq is not None:
            where["off" if seq < 0 else f"@{max_seq - seq}"] += 1
        else:
            where["out" if out else "none"] += 1
    return " + ".join(f"{n}{place if place[0] == '@' else ' ' + place}" for place, n in sorted(where.items()))


def recorded(seen: Observation) -> str:
    """Where the kernel had the pages."""
    return _outcome(seen.pages["seq"], seen.pages["swapped"], seen.max_seq)


def modelled(shown: Shown) -> str:
    """Where the model has them."""
    return _outcome([v.seq for v in shown.pages], [v.swapped for v in shown.pages], shown.max_seq)
