"""Footprints: all that a thread's next step and its later steps can read and write. They tell which steps are independent.

Sets of tokens as 62-bit masks (more tokens than bits share bits, which only makes steps look more dependent): one for
each variable, one for the grace periods of each RCU or SRCU domain, one for the life of each object that is ever freed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agewalk.checker.automata import lifetimes
from agewalk.checker.automata.semantics import READS
from agewalk.checker.automata.shared_state import MEMORY
from agewalk.checker.automata.unfolding import END, STEP, Automata, Node
from agewalk.checker.reduction.symmetry import Symmetry
from agewalk.checker.system import Property, Result
from agewalk.core.effects import Alloc, CallRcu, CallSrcu, RcuReadLock, RcuReadUnlock, SrcuReadLock, SrcuReadUnlock

_BITS: Final = 62
_ALL: Final = -1


class Footprints:
    """Masks for all nodes known now; a node found later counts as touching everything.

    symmetry: if pages are exchanged, what a property looks at on one page is looked at on all.
    """

    def __init__(self, automata: Automata, symmetry: Symmetry | None = None) -> None:
        self._symmetry = symmetry
        self._bit: dict[Any, int] = {}
        self._automata = automata
        nodes = automata.nodes
        self._deferred = {
            (lifetimes.domain_of(n.effect), id(n.target)) for n in nodes if isinstance(n.effect, (CallRcu, CallSrcu))
        }
        own = [self._own(n) for n in nodes]
        after = [sorted({t for t, _ in n.edges.values() if t >= 0 and t != n.id}) for n in nodes]
        self.reads = [r for r, _ in own]
        self.writes = [w for _, w in own]
        self.later_reads, self.later_writes = list(self.reads), list(self.writes)
        self._close(after)
        self.cyclic = _has_cycle(after)
        watched = self._watched()
        self.visible = [1] * len(nodes)
        for n in nodes:
            if n.kind == STEP:
                self._chain(n, after)
                ends = any(nodes[t].kind == END for t in after[n.id]) and self._results_watched
                self.visible[n.id] = int(bool(self.writes[n.id] & watched) or ends)

    def _token(self, name: Any) -> int:
        return 1 << (self._bit.setdefault(name, len(self._bit)) % _BITS)

    def _own(self, n: Node) -> tuple[int, int]:
        if n.kind != STEP:
            return 0, 0
        effect = n.effect
        if n.var != MEMORY:
            token = self._token(n.var)
            owner = self._automata.shared.owner_of(n.var)
            mortal = any(owner is m for m in self._automata.shared.mortals)
            return token | (self._token(("life", id(owner))) if mortal else 0), 0 if isinstance(
                effect, READS
            ) else token
        assert effect is not None
        domain = lifetimes.domain_of(effect)
        grace = self._token(("grace", domain))
        if isinstance(effect, (RcuReadLock, SrcuReadLock)):
            return grace, 0
        if isinstance(effect, (RcuReadUnlock, SrcuReadUnlock)):
            lives = 0
            for d, victim in self._deferred:
                lives |= self._token(("life", victim)) if d == domain else 0
            return grace | lives, lives
        if isinstance(effect, Alloc):  # may bring any freed object back
            lives = self._token(("slab", id(effect.slab)))
            for one in self._automata.shared.mortals:
                lives |= self._token(("life", id(one)))
            return lives, lives
        life = self._token(("life", id(n.target))) if n.target is not None else 0
        return grace | life, grace | life

    def _close(self, after: list[list[int]]) -> None:
        """Later masks: everything reachable."""
        changed = True
        while changed:
            changed = False
            for n in range(len(after) - 1, -1, -1):
                r, w = self.later_reads[n], self.later_writes[n]
                for t in after[n]:
                    r |= self.later_reads[t]
                    w |= self.later_writes[t]
                if (r, w) != (self.later_reads[n], self.later_writes[n]):
                    self.later_reads[n], self.later_writes[n] = r, w
                    changed = True

    def _chain(self, n: Node, after: list[list[int]]) -> None:
        """A step takes the ghost steps behind it along."""
        nodes = self._automata.nodes
        stack, seen = list(after[n.id]), set()
        while stack:
            t = stack.pop()
            if t in seen or not nodes[t].ghost or nodes[t].kind != STEP:
                continue
            seen.add(t)
            r, w = self._own(nodes[t])
            self.reads[n.id] |= r
            self.writes[n.id] |= w
            stack += after[t]

    def _watched(self) -> int:
        """Tokens that properties of single states look at."""
        seen = 0
        self._results_watched = False
        properties: tuple[Property, ...] = self._automata.system.properties
        for p in properties:
            if p.kind in {"always", "sometimes", "eventually"}:
                for o in p.over:
                    if isinstance(o, Result):
                        self._results_watched = True
                    else:
                        var = self._automata.shared.var_of(o)
                        seen |= self._token(var)
                        for order in range(len(self._symmetry.orders) if self._symmetry is not None else 0):
                            seen |= self._token(self._symmetry.var(order, var)) if self._symmetry is not None else 0
        return seen

    def arrays(self, size: int) -> tuple[Any, ...]:
        """The masks of `size` nodes, for the compiled search."""

        def filled(masks: list[int]) -> Any:
            a = np.full(size, _ALL, np.int64)
            a[: len(masks)] = masks
            return a

        visible = np.ones(size, np.uint8)
        visible[: len(self.visible)] = self.visible
        return filled(self.reads), filled(self.writes), filled(self.later_reads), filled(self.later_writes), visible

    def differs(self, other: Footprints) -> bool:
        """Would another search with these decide anything differently?"""
        names = ("reads", "writes", "later_reads", "later_writes", "visible", "cyclic", "_bit")
        return any(getattr(self, n) != getattr(other, n) for n in names)


def _has_cycle(after: list[list[int]]) -> bool:
    """Can a thread come back to a node?"""
    state = [0] * len(after)
    for root in range(len(after)):
        stack = [(root, iter(after[root]))] if not state[root] else []
        state[root] = state[root] or 1
        while stack:
            node, targets = stack[-1]
            for t in targets:
                if state[t] == 1:
                    return True
                if not state[t]:
                    state[t] = 1
                    stack.append((t, iter(after[t])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return False
