"""The compiled rewrite of the model, for traces of billions of accesses and hosts of terabytes.

It shares no code with `agewalk.model` and gives equal answers, event by event (tests/engine/conformance.py). It takes plain
numbers and dataclasses of its own:

    from agewalk.engine import Engine, Host, HostAccesses, Space, compile_once

    compile_once(print)                          # says so, once per change of sources; seconds later, loads in a moment
    host = Host(
        spaces=[Space("sqlite", pages=262_144)], # one a VM or process: kvm, tdp, ad_bits, huge, hva
        memory_pages=180_000,
        features={**asdict(profile.mm), **asdict(profile.kvm), **asdict(profile.mglru)},  # by name
        folio_batch_size=profile.mm.folio_batch_size,
        age_every_ns=2_000_000_000,              # '+' on a clock; 0 = under pressure only
    )
    engine = Engine(host, table)                 # table: model.protocols.table.ProtocolTable; its features win
    for batch in batches:                        # any cut; times ascend over all of them
        engine.feed(batch)
    result = engine.result()                     # counters by name, per space, costs, quality
    engine.samples                               # one `quality.Sample` per aging pass

HostAccesses(time_ns int64[n], space uint16[n], page uint32[n], write bool[n], context uint8[n]): `page` counts 4 KiB pages from
the start of its space (a gfn of a VM with one slot), `context` is 0 guest, 1 nested guest, 2 host process.

Events between batches: `engine.age(force_scan)`, `engine.reclaim(pages)`, `engine.evict(seq, pages)`,
`engine.nested(space, alive)`. Interrupting between two feeds loses nothing: `result()` may be asked at any time.

`Host(policy="two-list")` is the same host with MGLRU switched off: no agings, no commands, the classic lists; what only it
needs is compiled at its first access.

Policies that see every access, and the bounds: `agewalk.engine.baselines` (lru, fifo, clock, random, opt, LRU's whole miss
curve, SHARDS). Not here, ask the direct reading: file pages, several VMs in one process. What a page costs and where its bits
live: docs/engine.md. Importing this package loads neither numba nor NumPy; the first use of a name does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agewalk.engine.engine import Engine as Engine
    from agewalk.engine.engine import HostAccesses as HostAccesses
    from agewalk.engine.engine import Result as Result
    from agewalk.engine.engine import compile_once as compile_once
    from agewalk.engine.state.config import Host as Host
    from agewalk.engine.state.config import Space as Space

_HOMES = {
    "Host": "state.config",
    "Space": "state.config",
    "HostAccesses": "engine",
    "Engine": "engine",
    "Result": "engine",
    "compile_once": "engine",
}

__all__ = ["Engine", "Host", "HostAccesses", "Result", "Space", "compile_once"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
