"""Faults in arm64's stage 2."""

from __future__ import annotations

from typing import Any

from tests.checker.faults.base import Fault, drop

from agewalk.checker.system import NO_USE_AFTER_FREE
from agewalk.checker.systems.stage2 import AF_SEEN, FOUND_YOUNG
from agewalk.core.effects import Acquire, FetchAnd, Release, Step
from agewalk.model.kvm.stage2 import AF


def old_for_ever(_vm: Any, _gfn: int) -> Step[None]:
    """An access flag fault that makes nothing young."""
    yield from ()


def tells_nothing(pgt: Any, first: int, _end: int, *, mkold: bool, shared: bool) -> Step[bool]:
    """The access flag is cleared, the answer is old."""
    yield FetchAnd(pgt.ptes[first], ~AF)
    return False


FAULTS = (
    Fault(
        "an access flag fault that sets nothing",
        "stage2-vs-guest/linux-7.3/arm64-noaf",
        FOUND_YOUNG,
        (("kvm.stage2.handle_access_fault", old_for_ever),),
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
