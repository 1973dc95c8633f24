"""The vocabulary in which the model is written.

A kernel function becomes a generator that yields effects and is sent their answers:

    def kvm_may_have_shadow_mmu_sptes(kvm: Kvm) -> Step[bool]:
        return not kvm.tdp_mmu_enabled or bool((yield Load(kvm.indirect_shadow_pages)))

The convention:

* whatever two CPUs can touch at once is a `Cell`, `Lock`, `Srcu` or `ListHead`, and is touched by yielding an effect;
* between two yields a function only computes: on its locals, on values it was sent, on facts fixed when the world was
  built. It never looks into a cell, keeps no state elsewhere, and is deterministic in what it is sent;
* decisions are plain functions on values; one function calls another by `yield from`;
* a loop that another CPU may keep alive for ever begins each round with `Again(...)`, naming all it still depends on.

Effects are data: what one means is in the table of each executor, the direct one (`agewalk.core.direct`), the exhaustive one
(`agewalk.checker`) and the timed one (`agewalk.timing`).
"""

from agewalk.core.effects.locking import (
    Acquire,
    CallRcu,
    CallSrcu,
    IsContended,
    PreemptDisable,
    PreemptEnable,
    RcuReadLock,
    RcuReadUnlock,
    Release,
    SrcuReadLock,
    SrcuReadUnlock,
    SynchronizeRcu,
    SynchronizeSrcu,
    TryAcquire,
)
from agewalk.core.effects.marks import (
    Again,
    Choose,
    Count,
    FlushTlb,
    IndirectCall,
    ListAdd,
    ListDel,
    ListEnd,
    Warn,
    Work,
)
from agewalk.core.effects.memory import (
    ACQUIRE,
    FULL,
    ONCE,
    PLAIN,
    READ,
    RELEASE,
    WRITE,
    Alloc,
    CompareExchange,
    Effect,
    Exchange,
    FetchAdd,
    FetchAnd,
    FetchOr,
    Free,
    Load,
    Reuse,
    Step,
    Store,
    WaitFor,
)

__all__ = [
    "ACQUIRE",
    "FULL",
    "ONCE",
    "PLAIN",
    "READ",
    "RELEASE",
    "WRITE",
    "Acquire",
    "Again",
    "Alloc",
    "CallRcu",
    "CallSrcu",
    "Choose",
    "CompareExchange",
    "Count",
    "Effect",
    "Exchange",
    "FetchAdd",
    "FetchAnd",
    "FetchOr",
    "FlushTlb",
    "Free",
    "IndirectCall",
    "IsContended",
    "ListAdd",
    "ListDel",
    "ListEnd",
    "Load",
    "PreemptDisable",
    "PreemptEnable",
    "RcuReadLock",
    "RcuReadUnlock",
    "Release",
    "Reuse",
    "SrcuReadLock",
    "SrcuReadUnlock",
    "Step",
    "Store",
    "SynchronizeRcu",
    "SynchronizeSrcu",
    "TryAcquire",
    "WaitFor",
    "Warn",
    "Work",
]
