"""Faults in arm64's stage 2."""

from __future__ import annotations

from typing import Any

from tests.checker.faults.base import Fault, drop

from agewalk.checker.system import BALANCED, NO_USE_AFTER_FREE
from agewalk.checker.systems.stage2 import AF_SEEN
from agewalk.core.effects import Acquire, Effect, FetchAnd, Release, Step
from agewalk.model.kvm.stage2 import AF


def keeps_the_lock(effect: Effect) -> Effect | None:
    """An access flag fault that returns with mmu_lock held for read."""
    return None if isinstance(effect, Release) else effect


def tells_nothing(pgt: Any, first: int, _end: int, *, mkold: bool, shared: bool) -> Step[bool]:
    """The access flag is cleared, the answer is old."""
    yield FetchAnd(pgt.ptes[first], ~AF)
    return False


FAULTS = (
    Fault(
        "an access flag fault that keeps mmu_lock",
        "stage2-vs-guest/linux-7.3/arm64-noaf",
        BALANCED,
        changes=(("vcpu", keeps_the_lock),),
    ),
    Fault(
        "stage 2 aged without an answer",
        "stage2-vs-guest/v4/arm64",
        AF_SEEN,
        (("kvm.stage2.kvm_pgtable_stage2_test_clear_young", tells_nothing),),
    ),
    Fault(
        "stage 2 aged without mmu_lock",
        "stage2-vs-exit/linux-7.3/arm64",
        NO_USE_AFTER_FREE,
        changes=(("ager", drop(Acquire, Release)),),
    ),
)
