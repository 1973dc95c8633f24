"""Effects on lists, and what a thread says of itself: counts, work, choices, rounds of a loop, warnings."""

from __future__ import annotations

from collections.abc import Hashable

from agewalk.core.cells import ListHead, Object
from agewalk.core.effects.memory import Effect


class ListAdd(Effect):
    """list_add() to the head, or list_add_tail() if `tail`."""

    __slots__ = ("head", "member", "tail")

    def __init__(self, head: ListHead, member: Object, *, tail: bool = False) -> None:
        self.head = head
        self.member = member
        self.tail = tail


class ListDel(Effect):
    """list_del() from a list that it is on."""

    __slots__ = ("head", "member")

    def __init__(self, head: ListHead, member: Object) -> None:
        self.head = head
        self.member = member


class ListEnd(Effect):
    """The member at the tail (lru_to_folio), or at the head if `head_side`; None if the list is empty."""

    __slots__ = ("head", "head_side")

    def __init__(self, head: ListHead, *, head_side: bool = False) -> None:
        self.head = head
        self.head_side = head_side


class IndirectCall(Effect):
    """A call through a pointer (a retpoline where those are on), made just before the callee's first step."""

    __slots__ = ("target",)

    def __init__(self, target: str) -> None:
        self.target = target


class Count(Effect):
    """Adds to a counter: a kernel function was entered, a PTE was read. No other CPU can see it."""

    __slots__ = ("n", "what")

    def __init__(self, what: str, n: int = 1) -> None:
        self.what = what
        self.n = n


class Work(Effect):
    """Time spent on nothing that is shared: zeroing a page, a VM exit, a read from swap; `n` of them. No effect on cells."""

    __slots__ = ("n", "what")

    def __init__(self, what: str, n: int = 1) -> None:
        self.what = what
        self.n = n


class FlushTlb(Effect):
    """A TLB flush with IPIs to the CPUs that run `who` (an mm or a VM), waiting for them to answer."""

    __slots__ = ("who",)

    def __init__(self, who: Object) -> None:
        self.who = who


class Choose(Effect):
    """Anything from 0 to n - 1 may happen here; the exhaustive executor tries all, the others take 0."""

    __slots__ = ("n", "what")

    def __init__(self, n: int, what: str) -> None:
        self.n = n
        self.what = what


class Again(Effect):
    """Start of another round of a loop. All that the rest of this thread depends on is `state`, so that the exhaustive
    executor can recognise a round it has seen; the others ignore it."""

    __slots__ = ("state",)

    def __init__(self, *state: Hashable) -> None:
        self.state = state


class Warn(Effect):
    """A WARN_ON() or BUG_ON() of the kernel was hit, or a rule of the model broken: a violation under every executor."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what
