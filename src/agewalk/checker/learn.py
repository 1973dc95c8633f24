"""Where a search gets its automata from: unfolded on demand (`Learner`), or known already (`agewalk.checker.minimal`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.automaton import BLOCKED, CHOICE, END, ERROR, STEP, Automata, Node
from agewalk.checker.footprint import Footprints
from agewalk.checker.mirror import Element, Mirror
from agewalk.checker.system import System
from agewalk.checker.tables import Layout, Tables
from agewalk.checker.world import MEMORY, World
from agewalk.core.effects import Acquire


class Source(ABC):
    """Automata as tables, and the little that a search asks besides.

    symmetric: let one state stand for all that exchanging identical threads, and pages where the system says that they are
    interchangeable, makes of it? Thread t runs automaton automaton_of[t]. Threads that share a CPU are never exchanged.
    mirror: the images of what the automata hold, if anything is exchanged.
    """

    system: System
    world: World
    tables: Tables
    automaton_of: list[int]
    cyclic: bool = True  # may a thread come round to a node again?
    mirror: Mirror | None = None

    def __init__(self, system: System) -> None:
        threads = system.flat()
        self.daemons = np.array([t.daemon for t in threads], np.uint8)
        cpus = sorted({t.cpu for t in threads if t.cpu is not None})
        self._cpu_of = np.array([-1 if t.cpu is None else cpus.index(t.cpu) for t in threads], np.int64)
        self.cpus = len(cpus)
        self.elements: list[Element] = []
        self._memory_of = np.zeros((0, 0), np.int64)
        self._images: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None
        self._images_of = 0  # values, when they were looked at last

    def _exchange(self, mirror: Mirror) -> None:
        """States are folded by the group of `mirror` from now on."""
        self.mirror = mirror
        self.elements = mirror.elements
        self._memory_of = np.zeros((len(self.elements), 0), np.int64)

    @abstractmethod
    def learn(self, missing: list[tuple[int, ...]]) -> None:
        """Make the edges (node, thread, value id) known."""

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

    def node_images(self) -> NDArray[np.int64]:
        """[s, n]: the node that n becomes under the s-th order of the pages."""
        return np.zeros((0, 1), np.int64)

    def symmetry(self) -> tuple[Any, ...]:
        """The kernel's `sym` argument (`agewalk.checker.fold`)."""
        n = len(self.elements)
        values = len(self.world.values[MEMORY]) if self.mirror is not None else 0
        known = self._memory_of.shape[1]
        if known < values:
            more = [[self.mirror.memory(p, m) for m in range(known, values)] for p in range(n)] if self.mirror else []
            self._memory_of = np.concatenate(
                [self._memory_of, np.array(more, np.int64).reshape(n, values - known)], axis=1
            )
        perms = np.array([threads for _, threads in self.elements], np.int64).reshape(n, len(self.daemons))
        which = np.array([s for s, _ in self.elements], np.int64)
        back = np.argsort(perms, axis=1)
        return perms, which, self._memory_of, self.node_images(), *self._value_images(), back

    def _value_images(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        orders = self.mirror.orders if self.mirror is not None and any(s >= 0 for s, _ in self.elements) else []
        fields = len(self.tables.size)
        size = sum(map(len, self.world.values))
        if size == self._images_of and self._images is not None:
            return self._images
        self._images_of = size
        moved = np.full((len(orders), fields, 2), -1, np.int64)
        start = np.zeros((len(orders), fields), np.int64)
        flat: list[int] = []
        for s in range(len(orders)):
            assert self.mirror is not None
            i = 0
            for var in range(1, fields):
                values = range(len(self.world.values[var]))
                images = [self.mirror.value(s, var, v) for v in values]
                to = self.mirror.var(s, var)
                if to == var and images == list(values):
                    continue
                moved[s, i] = self.tables.first_var + var, self.tables.first_var + to
                start[s, i] = len(flat)
                flat += images
                i += 1
        self._images = moved, start, np.array(flat or [0], np.int64)
        return self._images

    def fan(self) -> int:
        """How many successors a state can have."""
        wide = int(-self.tables.stride.min(initial=-1))
        return len(self.daemons) * max(1, wide)

    def footprints(self) -> tuple[Any, ...]:
        """The kernel's `foot` argument; without any knowledge, nothing is independent."""
        n = len(self.tables.kind)
        ones = np.full(n, -1, np.int64)
        return ones, ones, ones, ones, np.ones(n, np.uint8)


def firmness(node: Node) -> int:
    """Can the thread be preempted here? 0 yes, 1 no, 2 unless it spins (it waits for a spinlock)."""
    if node.context.atomic:
        return 1
    return 2 if isinstance(node.effect, Acquire) and not node.effect.lock.sleeps else 0


class Learner(Source):
    """Automata that are unfolded while the search asks for their edges; with `symmetric`, together with their images.

    Raises Asymmetric (also while it learns) where pages are not as interchangeable as the system says.
    """

    def __init__(self, automata: Automata, *, symmetric: bool = False) -> None:
        super().__init__(automata.system)
        if symmetric and not self.cpus:
            self._exchange(Mirror(automata, threads=True))
        self.automata = automata
        self.system = automata.system
        self.world = automata.world
        self.automaton_of = automata.automaton_of
        self.tables = Tables(len(automata.threads), self.cpus, [0] * len(automata.threads))
        self._node_bits = 6
        self._foot: Footprints | None = None
        self._mortals = 0
        self._edges = 0  # of automata.learnt, that the tables have
        self._sync()

    def roots(self) -> list[int]:
        return [self.automata.roots[a] for a in self.automaton_of]

    def layout(self) -> Layout:
        return self.tables.layout([self._node_bits] * len(self.automaton_of))

    def learn(self, missing: list[tuple[int, ...]]) -> None:
        for node, thread, value in missing:
            self.automata.extend(node, thread, value)
        self._sync()

    def node_images(self) -> NDArray[np.int64]:
        if self.mirror is None:
            return super().node_images()
        images = np.full((len(self.mirror.orders), len(self.tables.kind)), -1, np.int64)
        for s, row in enumerate(self.mirror.nodes):
            images[s, : len(row)] = row
        return images

    def _sync(self) -> None:
        """Bring the tables up to what has been unfolded."""
        if self.mirror is not None:
            self.mirror.close()
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
        for ident, (thread, value) in automata.learnt[self._edges :]:
            target, left = automata.nodes[ident].edges[(thread, value)]
            tables.set_edge(ident, thread, value, target, left)
        self._edges = len(automata.learnt)
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
        new = Footprints(self.automata, self.mirror)
        changed = self._foot is None or new.differs(self._foot)
        self._foot = new
        self.cyclic = new.cyclic
        return changed

    def footprints(self) -> tuple[Any, ...]:
        if self._foot is None:
            return super().footprints()
        return self._foot.arrays(len(self.tables.kind))


__all__ = ["BLOCKED", "END", "Learner", "Source", "firmness"]
