"""Where a search gets its automata from: unfolded on demand (`Learner`), or known already (`agewalk.check.minimal`)."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agewalk.check.automaton import BLOCKED, CHOICE, END, ERROR, STEP, Automata, Node
from agewalk.check.footprint import Footprints
from agewalk.check.memory import Memory
from agewalk.check.system import System
from agewalk.check.tables import Layout, Tables
from agewalk.check.world import MEMORY, World
from agewalk.core.effects import Acquire


class Source(ABC):
    """Automata as tables, and the little that a search asks besides.

    symmetric: exchange identical threads? Thread t runs automaton automaton_of[t].
    """

    system: System
    world: World
    tables: Tables
    automaton_of: list[int]
    cyclic: bool = True  # may a thread come round to a node again?

    def __init__(self, system: System, *, symmetric: bool) -> None:
        threads = system.flat()
        self.daemons = np.array([t.daemon for t in threads], np.uint8)
        cpus = sorted({t.cpu for t in threads if t.cpu is not None})
        self._cpu_of = np.array([-1 if t.cpu is None else cpus.index(t.cpu) for t in threads], np.int64)
        self.cpus = len(cpus)
        self.perms = _permutations(system) if symmetric and not cpus else np.zeros((0, len(threads)), np.int64)
        self._memory_of = np.zeros((len(self.perms), 1), np.int64)
        self._memory_of[:] = 0

    @abstractmethod
    def learn(self, missing: list[tuple[int, ...]]) -> None:
        """Make the edges (node, thread, value id) known; (-1, permutation, memory id) asks for a renamed memory."""

    @abstractmethod
    def layout(self) -> Layout:
        """A layout that fits what is known."""

    @abstractmethod
    def roots(self) -> list[int]:
        """The node that each thread starts at."""

    def initial(self) -> list[int]:
        """The fields of the first state: nodes, CPUs, variables (all at value 0)."""
        nodes = [root - int(self.tables.offset[t]) for t, root in enumerate(self.roots())]
        return nodes + [0] * self.cpus

    def initial_errors(self) -> list[int]:
        """Threads that break a rule before their first step."""
        return [n for n in self.roots() if self.tables.kind[n] == ERROR]

    def cpu(self) -> tuple[Any, ...]:
        """The kernel's `cpu` argument."""
        return self._cpu_of, self.tables.firm, len(self._cpu_of)

    def symmetry(self) -> tuple[Any, ...]:
        """The kernel's `sym` argument."""
        size = self.tables.size[MEMORY]
        if self._memory_of.shape[1] < size:
            more = np.full((len(self.perms), size - self._memory_of.shape[1]), -1, np.int64)
            self._memory_of = np.concatenate([self._memory_of, more], axis=1)
        return self.perms, self._memory_of

    def fan(self) -> int:
        """How many successors a state can have."""
        wide = int(-self.tables.stride.min(initial=-1))
        return len(self.daemons) * max(1, wide)

    def footprints(self) -> tuple[Any, ...]:
        """The kernel's `foot` argument; without any knowledge, nothing is independent."""
        n = len(self.tables.kind)
        ones = np.full(n, -1, np.int64)
        return ones, ones, ones, ones, np.ones(n, np.uint8)

    def _rename_memory(self, p: int, memory_id: int) -> None:
        m: Memory = self.world.values[MEMORY][memory_id]
        self._memory_of[p, memory_id] = self.world.value_id(MEMORY, m.renamed(tuple(int(x) for x in self.perms[p])))


def firmness(node: Node) -> int:
    """Can the thread be preempted here? 0 yes, 1 no, 2 unless it spins (it waits for a spinlock)."""
    if node.context.atomic:
        return 1
    return 2 if isinstance(node.effect, Acquire) and not node.effect.lock.sleeps else 0


def _permutations(system: System) -> NDArray[np.int64]:
    """All ways to exchange identical threads, but the one that changes nothing: row p sends thread t to p[t]."""
    groups, start = [], 0
    for t in system.threads:
        groups.append(list(itertools.permutations(range(start, start + t.n))))
        start += t.n
    rows = [list(itertools.chain(*choice)) for choice in itertools.product(*groups)]
    return np.array(rows[1:], np.int64).reshape(len(rows) - 1, start)


class Learner(Source):
    """Automata that are unfolded while the search asks for their edges."""

    def __init__(self, automata: Automata, *, symmetric: bool = False) -> None:
        super().__init__(automata.system, symmetric=symmetric)
        self.automata = automata
        self.system = automata.system
        self.world = automata.world
        self.automaton_of = automata.automaton_of
        self.tables = Tables(len(automata.threads), self.cpus, [0] * len(automata.threads))
        self._node_bits = 6
        self._foot: Footprints | None = None
        self._mortals = 0
        self._sync()

    def roots(self) -> list[int]:
        return [self.automata.roots[a] for a in self.automaton_of]

    def layout(self) -> Layout:
        return self.tables.layout([self._node_bits] * len(self.automaton_of))

    def learn(self, missing: list[tuple[int, ...]]) -> None:
        nodes = self.automata.nodes
        for node, thread, value in missing:
            if node < 0:
                self._rename_memory(thread, value)
            else:
                self.automata.extend(node, thread, value)
        self._sync()
        for node, thread, value in missing:
            if node >= 0:
                at = nodes[node]
                target, left = at.edges[(thread if at.var == MEMORY else 0, value)]
                self.tables.set_edge(node, thread, value, target, left)

    def _sync(self) -> None:
        """Bring the tables up to what has been unfolded."""
        world, tables, automata = self.world, self.tables, self.automata
        for var, values in enumerate(world.values):
            tables.fit(var, len(values))
        for m, value in enumerate(world.values[MEMORY]):
            bits = sum(1 << i for i, o in enumerate(world.mortals) if o in value.freed)
            tables.freed[m] = bits
        while tables.count < len(automata.nodes):
            node = automata.nodes[tables.count]
            choices = automata.choices(node) if node.kind == CHOICE else 0
            tables.add_node(kind=node.kind, var=node.var, ghost=node.ghost, firm=firmness(node), choices=choices)
            self._mark_mortal(node)
        if len(world.mortals) > self._mortals:
            self._mortals = len(world.mortals)
            for node in list(automata.nodes):
                self._mark_mortal(node)
            self._sync()
        self._node_bits = max(
            self._node_bits, (2 * len(automata.nodes)).bit_length() if len(automata.nodes) >> self._node_bits else 0
        )

    def _mark_mortal(self, node: Node) -> None:
        if node.kind != STEP or node.var == MEMORY or self.tables.mortal[node.id] >= 0:
            return
        owner = self.world.owner_of(node.var)
        for i, mortal in enumerate(self.world.mortals):
            if owner is mortal:
                self.tables.mortal[node.id] = i
                self.tables.uaf[node.id] = self.automata.used_after_free(node.id)

    def study(self) -> bool:
        """Work out footprints from what is known now; did they change?"""
        new = Footprints(self.automata)
        changed = self._foot is None or new.differs(self._foot)
        self._foot = new
        self.cyclic = new.cyclic
        return changed

    def footprints(self) -> tuple[Any, ...]:
        if self._foot is None:
            return super().footprints()
        return self._foot.arrays(len(self.tables.kind))


__all__ = ["BLOCKED", "END", "Learner", "Source", "firmness"]
