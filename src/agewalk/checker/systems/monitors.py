"""Rules that are watched in a thread's own effects: the invariants of the mail ZmjtEBH42u7NUWRc@google.com, and KVM's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from agewalk.checker.ghost import watch
from agewalk.checker.system import Property, monitor
from agewalk.core.cells import Cell, Lock
from agewalk.core.effects import (
    Acquire,
    CompareExchange,
    Effect,
    Exchange,
    FetchAnd,
    FetchOr,
    Load,
    Step,
    Store,
    Warn,
)
from agewalk.model.kvm.kvm_host import Kvm, MmuPage
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.kvm.mmu.rmap import KVM_RMAP_LOCKED
from agewalk.model.kvm.mmu.spte import SpteFormat, is_accessed_spte, is_shadow_present_pte
from agewalk.model.mm import pte as p
from agewalk.model.protocols.base import AgingProtocol

T = TypeVar("T")

COVERED: Final = "an answer is young if it cleared a young bit"
PURE: Final = "a test changes no SPTE and no chain"
NO_LOCK: Final = "fast_only never takes mmu_lock"
NO_WAIT: Final = "a fast_only question waits for no lock"
STAYS_GONE: Final = "aging makes no SPTE present"
WAS_FAST_SOUND: Final = "WAS_FAST only if a fast MMU was young"
TEST_SEES: Final = "a test finds a young TDP SPTE"
OPTED_IN: Final = "no subscriber is asked fast_only without opting in"

# Words of answers (`AgingProtocol.flags`) that say that a fast MMU was young: the seed mail, v5, v3, v2.
FAST_WORDS: Final = ("WAS_FAST", "FAST_YOUNG", "YOUNG_FAST", "RANGE_LOCKLESS")

_FINDS: Final = (Load, FetchAnd, FetchOr, Exchange, CompareExchange)  # answer with the value found
_WRITES: Final = (Store, FetchAnd, FetchOr, Exchange, CompareExchange)


def written(effect: Effect, answer: Any, before: Any) -> tuple[Any, Any] | None:
    """(old, new) of a write that took place; `before` stands in for the old value of a plain store."""
    if isinstance(effect, Store):
        return before, effect.value
    if isinstance(effect, CompareExchange):
        return (answer, effect.new) if answer == effect.expected else None
    if isinstance(effect, (FetchAnd, FetchOr, Exchange)):
        return answer, effect.apply(answer)
    return None


def _in_table(cell: Cell) -> bool:
    return isinstance(cell.owner, MmuPage) and isinstance(cell.field, int)


def _cleared(f: SpteFormat, entry: Cell | None) -> Callable[[Any, Effect, Any], Any]:
    """Memory: (value last loaded from each entry, was a young entry made old)."""

    def seen(memory: tuple[tuple[tuple[Cell, int], ...], bool], effect: Effect, answer: Any) -> Any:
        loaded, cleared = memory
        cell = getattr(effect, "cell", None)
        if cell is None or cleared or not (_in_table(cell) or cell is entry):
            return memory
        if isinstance(effect, Load):
            return (*(x for x in loaded if x[0] is not cell), (cell, answer)), cleared
        change = written(effect, answer, dict(loaded).get(cell, 0))
        if change is not None:
            old, new = change
            if cell is entry:
                cleared = p.pte_young(old) and not p.pte_young(new)
            elif is_shadow_present_pte(old) and is_shadow_present_pte(new):
                cleared = is_accessed_spte(f, old) and not is_accessed_spte(f, new)
        return loaded, cleared

    return seen


def covers(inner: Step[T], kvm: Kvm, young: Callable[[T], bool], entry: Cell | None = None) -> Step[T]:
    """Warn COVERED if `inner` made a young entry old and its answer does not say so."""
    result, (_, cleared) = yield from watch(inner, _cleared(kvm.format, entry), ((), False))
    if cleared and not young(result):
        yield Warn(COVERED)
    return result


def pure(inner: Step[T]) -> Step[T]:
    """Warn PURE if `inner` changes an SPTE, or a chain beyond its lock bit."""

    def seen(memory: tuple[int, bool], effect: Effect, answer: Any) -> tuple[int, bool]:
        head, dirty = memory
        cell = getattr(effect, "cell", None)
        if cell is None or not isinstance(effect, _WRITES):
            return memory
        if str(cell.field).startswith("rmap"):
            if isinstance(effect, CompareExchange):
                return (effect.expected if answer == effect.expected else head), dirty
            return head, dirty or not isinstance(effect, Store) or effect.value & ~KVM_RMAP_LOCKED != head
        return head, dirty or _in_table(cell)

    result, (_, dirty) = yield from watch(inner, seen, (0, False))
    if dirty:
        yield Warn(PURE)
    return result


def lockless(inner: Step[T], kvm: Kvm) -> Step[T]:
    """Warn NO_LOCK if `inner` takes mmu_lock."""
    return _without(inner, NO_LOCK, lambda lock: lock is kvm.mmu_lock)


def patient(inner: Step[T]) -> Step[T]:
    """Warn NO_WAIT if `inner` takes any lock that a thread waits for: a spinlock, or one that it sleeps on."""
    return _without(inner, NO_WAIT, lambda _: True)


def _without(inner: Step[T], rule: str, forbidden: Callable[[Lock], bool]) -> Step[T]:
    def seen(taken: bool, effect: Effect, _: Any) -> bool:
        return taken or (isinstance(effect, Acquire) and forbidden(effect.lock))

    result, taken = yield from watch(inner, seen, False)
    if taken:
        yield Warn(rule)
    return result


def stays_gone(inner: Step[T]) -> Step[T]:
    """Warn STAYS_GONE if `inner` writes a present value where a non-present one was."""

    def seen(memory: tuple[tuple[tuple[Cell, int], ...], bool], effect: Effect, answer: Any) -> Any:
        loaded, bad = memory
        cell = getattr(effect, "cell", None)
        if cell is None or bad or not _in_table(cell):
            return memory
        if isinstance(effect, Load):
            return (*(x for x in loaded if x[0] is not cell), (cell, answer)), bad
        change = written(effect, answer, dict(loaded).get(cell, 0))
        if change is not None:
            bad = not is_shadow_present_pte(change[0]) and is_shadow_present_pte(change[1])
        return loaded, bad

    result, (_, bad) = yield from watch(inner, seen, ((), False))
    if bad:
        yield Warn(STAYS_GONE)
    return result


def says_fast(protocol: AgingProtocol, bits: int, *, fast_only: bool) -> bool:
    """Does an answer say, in the protocol's own words, that a fast MMU was young?"""
    return any(word in FAST_WORDS for word in protocol.flags(bits, fast_only=fast_only))


def has_fast_word(protocol: AgingProtocol) -> bool:
    """Can an answer say so?"""
    return any(says_fast(protocol, bits, fast_only=fast) for bits in range(16) for fast in (False, True))


def word_rules(protocol: AgingProtocol) -> list[Property]:
    """WAS_FAST_SOUND, if an answer can say so; `as_kvm_asks` watches it."""
    return [monitor(WAS_FAST_SOUND)] if has_fast_word(protocol) else []


class WatchedAnswers:
    """A protocol, as KVM asks it. Each answer of a VM is watched for WAS_FAST_SOUND."""

    def __init__(self, protocol: AgingProtocol) -> None:
        self.protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self.protocol, name)

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        """The protocol's own."""
        inner = self.protocol.age_gfn(kvm, rng, clear=clear, fast_only=fast_only)
        return fast_word(inner, kvm, lambda bits: says_fast(self.protocol, bits, fast_only=fast_only))


def as_kvm_asks(protocol: AgingProtocol) -> Any:
    """The protocol, watched if it has a word for a fast MMU that was young."""
    return WatchedAnswers(protocol) if has_fast_word(protocol) else protocol


def fast_word(inner: Step[int], kvm: Kvm, says: Callable[[int], bool]) -> Step[int]:
    """Warn WAS_FAST_SOUND if the answer `says` that a fast MMU was young, and no young SPTE of the TDP MMU was found."""

    def seen(found: bool, effect: Effect, answer: Any) -> bool:
        cell = getattr(effect, "cell", None)
        if found or cell is None or not isinstance(effect, _FINDS) or not _in_table(cell):
            return found
        fast = kvm.tdp_mmu_enabled and cell.owner.tables is None
        return fast and is_shadow_present_pte(answer) and is_accessed_spte(kvm.format, answer)

    result, found = yield from watch(inner, seen, False)
    if says(result) and not found:
        yield Warn(WAS_FAST_SOUND)
    return result
