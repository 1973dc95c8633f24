"""Effects of the timed executor alone: marks around what an experiment measures, and steps inside locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agewalk.core.cells import Cell
from agewalk.core.direct import Direct, means
from agewalk.core.effects import Effect, FetchAnd

if TYPE_CHECKING:
    from agewalk.timing.threads import Thread


class Begin(Effect):
    """The start of a measured span: a guest fault, an aging pass. Spans nest; the direct executor ignores them."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class End(Effect):
    """The end of the innermost span."""

    __slots__ = ()


class Gauge(Effect):
    """A value for a counter of the timeline: how many pages are young."""

    __slots__ = ("value", "what")

    def __init__(self, what: str, value: int) -> None:
        self.what = what
        self.value = value


class ClearBits(FetchAnd):
    """A plain store to part of a word (smp_store_release() of a lock's byte): clears `~operand`, costs a store."""

    __slots__ = ()


class StorePart(Effect):
    """A plain store to some bytes of a word (WRITE_ONCE() of a lock's byte or halfword): `bits` of it become `value`."""

    __slots__ = ("bits", "cell", "value")

    def __init__(self, cell: Cell, bits: int, value: int) -> None:
        self.cell = cell
        self.bits = bits
        self.value = value


class ExchangeTail(FetchAnd):
    """xchg_tail() of a queued spinlock: one xchg of the upper half of the word, which becomes `operand`."""

    __slots__ = ()

    def apply(self, found: int) -> int:
        return found & 0xFFFF | int(self.operand)


class LockWord(Cell):
    """A word inside a lock. Belongs to the lock's owner, so it is on the lock's line and dies with it."""

    __slots__ = ()


class Park(Effect):
    """schedule() until `Unpark`; returns at once if that has happened already."""

    __slots__ = ()


class Unpark(Effect):
    """wake_up_process()."""

    __slots__ = ("thread",)

    def __init__(self, thread: Thread) -> None:
        self.thread = thread


class WaitForChange(Effect):
    """Spin until the cell no longer holds `old`; answers its new value."""

    __slots__ = ("cell", "old")

    def __init__(self, cell: Cell, old: object) -> None:
        self.cell = cell
        self.old = old


@means(Begin, End, Gauge)
def _mark(_cpu: Direct, _: Effect) -> None:
    """Marks are of use to the timed executor alone."""


@means(StorePart)
def _store_part(_: Direct, effect: StorePart) -> None:
    effect.cell.value = effect.cell.value & ~effect.bits | effect.value
