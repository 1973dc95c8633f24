"""Lifetimes: who is inside which read section, what waits for a grace period, what has been freed.

All of it is one variable of a global state, so that a use after free is a look at one value. RCU and SRCU follow the
definition (Documentation/RCU/Design/Requirements): a grace period waits for the readers that were inside when it began,
and for no others. The checker lets it end at the earliest moment, which is the worst one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agewalk.core.cells import Slab
from agewalk.core.effects import (
    Alloc,
    CallRcu,
    CallSrcu,
    Effect,
    Free,
    RcuReadLock,
    RcuReadUnlock,
    Reuse,
    SrcuReadLock,
    SrcuReadUnlock,
    SynchronizeRcu,
    SynchronizeSrcu,
)

LIFETIME = (
    RcuReadLock, RcuReadUnlock, CallRcu, SynchronizeRcu, SrcuReadLock, SrcuReadUnlock, CallSrcu, SynchronizeSrcu, Free,
    Reuse, Alloc,
)  # fmt: skip
RCU = "rcu"  # the domain of plain RCU; an SRCU domain is named by its variable


class Memory(NamedTuple):
    """freed: objects; readers: (domain, thread); pending: (object, domain, threads waited for);
    syncing: (thread, domain, threads waited for); taken: (slab, how many objects it ever gave out), if any."""

    freed: frozenset[Any] = frozenset()
    readers: frozenset[tuple[Any, int]] = frozenset()
    pending: frozenset[tuple[Any, Any, frozenset[int]]] = frozenset()
    syncing: frozenset[tuple[int, Any, frozenset[int]]] = frozenset()
    taken: frozenset[tuple[Any, int]] = frozenset()

    def inside(self, domain: Any) -> frozenset[int]:
        """Threads inside a read section of `domain`."""
        return frozenset(t for d, t in self.readers if d == domain)

    def renamed(self, to: Sequence[int], one: Callable[[Any], Any] = lambda o: o) -> Memory:
        """The same with thread i called to[i], and object o called one(o)."""
        return Memory(
            frozenset(one(o) for o in self.freed),
            frozenset((d, to[t]) for d, t in self.readers),
            frozenset((one(o), d, frozenset(to[w] for w in ws)) for o, d, ws in self.pending),
            frozenset((to[t], d, frozenset(to[w] for w in ws)) for t, d, ws in self.syncing),
            self.taken,
        )

    def text(self) -> str:
        """For people: what waits and what is gone (who reads is plain from the effects themselves)."""
        parts = [f"{o} waits for {sorted(ws)}" for o, _, ws in sorted(self.pending, key=repr)]
        parts += [f"thread {t} synchronizes with {sorted(ws)}" for t, _, ws in sorted(self.syncing, key=repr)]
        parts += [f"{o} freed" for o in sorted(self.freed, key=repr)]
        return ", ".join(parts) or "quiet"


class DoubleFreeError(Exception):
    """An object was freed, or handed to a grace period, a second time."""


def domain_of(effect: Effect) -> Any:
    """The RCU or SRCU domain an effect speaks of."""
    return effect.domain if isinstance(effect, (SrcuReadLock, SrcuReadUnlock, CallSrcu, SynchronizeSrcu)) else RCU


def _freed(m: Memory, victim: Any) -> Memory:
    if victim in m.freed:
        raise DoubleFreeError(f"{victim!r} freed twice")
    return m._replace(freed=m.freed | {victim})


def step(m: Memory, effect: Effect, thread: int, victim: Any, base: int = 0) -> tuple[Memory, bool, Any]:
    """Perform one lifetime effect of `thread` on `m`: the memory after it, whether the thread goes on or waits, and the answer.

    victim: the canonical object, for effects that name one; base: how many objects of its slab the world was built with.
    Raises DoubleFreeError.
    """
    if isinstance(effect, Alloc):
        return _allocated(m, effect.slab, base)
    if isinstance(effect, Reuse):
        return m._replace(freed=m.freed - {victim}), True, victim
    after, goes_on = _step(m, effect, thread, victim)
    return after, goes_on, None


def _step(m: Memory, effect: Effect, thread: int, victim: Any) -> tuple[Memory, bool]:
    domain = domain_of(effect)
    if isinstance(effect, (RcuReadLock, SrcuReadLock)):
        return m._replace(readers=m.readers | {(domain, thread)}), True
    if isinstance(effect, (RcuReadUnlock, SrcuReadUnlock)):
        return _left(m, domain, thread), True
    if isinstance(effect, (CallRcu, CallSrcu)):
        if any(o is victim for o, _, _ in m.pending):
            raise DoubleFreeError(f"{victim!r} handed to a grace period twice")
        waiters = m.inside(domain)
        return (m._replace(pending=m.pending | {(victim, domain, waiters)}) if waiters else _freed(m, victim)), True
    if isinstance(effect, (SynchronizeRcu, SynchronizeSrcu)):
        mine = next((s for s in m.syncing if s[0] == thread), None)
        if mine is None:
            waiters = m.inside(domain)
            return (m, True) if not waiters else (m._replace(syncing=m.syncing | {(thread, domain, waiters)}), False)
        return (m, False) if mine[2] else (m._replace(syncing=m.syncing - {mine}), True)
    return _freed(m, victim), True


def _allocated(m: Memory, slab: Slab, base: int) -> tuple[Memory, bool, Any]:
    """An object of the slab: freed memory first where it is reused (the first made of it), else a new one."""
    back = [o for o in slab.objects if o in m.freed] if slab.reuse else []
    if back:
        return m._replace(freed=m.freed - {back[0]}), True, back[0]
    given = next((n for s, n in m.taken if s is slab), base)
    taken = frozenset(t for t in m.taken if t[0] is not slab) | {(slab, given + 1)}
    return m._replace(taken=taken), True, slab.object(given)


def _left(m: Memory, domain: Any, thread: int) -> Memory:
    """`thread` leaves its read section; what waited for it alone ends its grace period."""
    syncing = frozenset((t, d, ws - {thread} if d == domain else ws) for t, d, ws in m.syncing)
    after = m._replace(readers=m.readers - {(domain, thread)}, syncing=syncing, pending=frozenset())
    kept = []
    for victim, d, waiters in m.pending:
        left = waiters - {thread} if d == domain else waiters
        if left:
            kept.append((victim, d, left))
        else:
            after = _freed(after, victim)
    return after._replace(pending=frozenset(kept))
