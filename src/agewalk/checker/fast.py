"""Runs `sprint` over minimal automata: the tables it wants, and room for its states."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from agewalk.checker import sprint
from agewalk.checker.automaton import CHOICE, END, ERROR, STEP
from agewalk.checker.minimal import Minimal
from agewalk.checker.search import UNBOUNDED, Bounds, Graph, Progress
from agewalk.checker.world import MEMORY

_CANDIDATES: Final = 1 << 9
_CHUNK: Final = 1 << 20


def fits(source: Minimal) -> bool:
    """Can `sprint` take it: two words at most, no symmetry, no shared CPUs?"""
    return source.layout().words <= 2 and not source.elements and not source.cpus


class Fast:
    """One unreduced search over minimal automata. Raises nothing; use it where `fits` says so."""

    def __init__(self, source: Minimal, *, expect: int = 0) -> None:
        self.source = source
        self.layout = source.layout()
        self._tables()
        self._ctl = np.zeros(6, np.int64)
        self._ctl[sprint.COUNT] = 1
        self._fan = source.fan()
        self._size = max(_CANDIDATES, 2 * self._fan)
        room = 1 << max(12, (expect + 4 * self._size).bit_length())
        self.states = np.zeros((room, 2), np.uint64)
        self.parents, self.moves, self.flags = (
            np.zeros(room, np.int32),
            np.zeros(room, np.uint8),
            np.zeros(room, np.uint8),
        )
        self.table = np.zeros((2 * room, 2), np.uint64)
        self.first_error = np.full(max(64, len(source.blocks)), -1, np.int64)
        start = self.layout.pack([np.array([v]) for v in source.initial()], 1)[0]
        self.states[0, : self.layout.words] = start
        sprint.refill(self.states, 1, self.table)
        for node in source.initial_errors():
            self.first_error[node] = 0
            self.flags[0] = sprint.F_ERROR

    def _tables(self) -> None:
        source, t = self.source, self.source.tables
        word, shift, mask = self.layout.arrays
        threads = len(source.automaton_of)
        rows: list[list[int]] = []
        effects: list[int] = []
        adds: list[tuple[int, int]] = []
        self._first_row = np.zeros(threads, np.int64)
        for i in range(threads):
            self._first_row[i] = len(rows)
            a = source.automaton_of[i]
            for b in range(source.first[a], source.first[a + 1]):
                self._row(i, b, rows, effects, adds)
        self._info = np.array(rows, np.int64).reshape(-1, 8)
        self._effect = np.array(effects or [0], np.uint8)
        self._add = np.array(adds or [(0, 0)], np.uint64)
        self._node = (
            word[:threads].copy(), shift[:threads].copy(), mask[:threads].copy(),
        )  # fmt: skip
        f = t.first_var + MEMORY
        self._memory = np.array([word[f], shift[f], mask[f]], np.int64)

    def _row(
        self, thread: int, block: int, rows: list[list[int]], effects: list[int], adds: list[tuple[int, int]]
    ) -> None:
        source, t = self.source, self.source.tables
        word, shift, mask = (a.tolist() for a in self.layout.arrays)
        node = source.node(block)
        kind = node.kind
        field = t.first_var + node.var if kind == STEP else 0
        choices = source.automata.choices(node) if kind == CHOICE else int(kind == STEP)
        mortal = int(t.mortal[block])
        uaf = int(t.uaf[block]) - block if mortal >= 0 else 0
        rows.append([word[field], shift[field], mask[field], len(effects), kind, choices, mortal, uaf])
        if kind in {END, ERROR}:
            return
        size = choices if kind == CHOICE else t.size[node.var]
        who = thread if node.var == MEMORY else 0
        for value in range(size):
            target, left = source.edges[block].get((who, value), (-1, value))
            effects.append(self._edge_kind(target))
            delta = [0, 0]
            if target >= 0:
                delta[word[thread]] += (target - block) << shift[thread]
                if kind == STEP:
                    delta[word[field]] += (left - value) << shift[field]
            adds.append((delta[0] % (1 << 64), delta[1] % (1 << 64)))

    def _edge_kind(self, target: int) -> int:
        if target < 0:
            return sprint.WAITS
        node = self.source.node(target)
        if node.kind == ERROR:
            return sprint.FAILS
        return sprint.GHOST_FOLLOWS if node.ghost and node.kind == STEP else sprint.GOES

    @property
    def bytes(self) -> int:
        """Memory of the arrays."""
        return sum(a.nbytes for a in (self.states, self.parents, self.moves, self.flags, self.table))

    def run(
        self,
        bounds: Bounds = UNBOUNDED,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Graph:
        """Search until done or bounded."""
        began, cpu_began = time.perf_counter(), time.process_time()
        ctl = self._ctl
        size = self._size
        buffers: tuple[Any, ...] = (
            np.empty((size, 2), np.uint64), np.empty(size, np.uint64), np.empty(size, np.int32), np.empty(size, np.uint8),
            np.empty(size, np.uint8),
        )  # fmt: skip
        levels, level_end, bound = [0], 1, ""
        compiled: Any = sprint.sprint
        while not bound:
            ctl[sprint.STOP] = min(level_end, ctl[sprint.POS] + _CHUNK)
            arguments = (
                self.states, self.parents, self.moves, self.flags, self.first_error, self.table, *self._node,
                self._first_row, self.source.tables.offset, self.source.daemons, self._info, self._effect, self._add,
                self.source.tables.freed, self._memory, *buffers, self._fan, ctl,
            )  # fmt: skip
            compiled(*arguments)
            if ctl[sprint.CODE] == sprint.GROW:
                self._grow()
            now = time.perf_counter() - began
            count, pos = int(ctl[sprint.COUNT]), int(ctl[sprint.POS])
            if progress:
                progress(Progress(count, int(ctl[sprint.TRANSITIONS]), len(levels), count - pos, self.bytes, now))
            if bounds.states is not None and count >= bounds.states:
                bound = f"{bounds.states} states"
            elif bounds.seconds is not None and now >= bounds.seconds:
                bound = f"{bounds.seconds:g} s"
            elif bounds.memory is not None and self.bytes >= bounds.memory:
                bound = f"{bounds.memory} bytes"
            if pos == level_end:
                if level_end == count:
                    break
                levels.append(level_end)
                level_end = count
        complete = bool(ctl[sprint.POS] == ctl[sprint.COUNT])
        return Graph(
            self.source, self.layout, self.states, self.parents, self.moves, self.flags, self.first_error,
            int(ctl[sprint.COUNT]), int(ctl[sprint.POS]), int(ctl[sprint.TRANSITIONS]), len(levels),
            time.perf_counter() - began, time.process_time() - cpu_began, self.bytes, complete=complete,
            bound="" if complete else bound, levels=levels,
        )  # fmt: skip

    def _grow(self) -> None:
        n = int(self._ctl[sprint.COUNT])
        for name in ("states", "parents", "moves", "flags"):
            old = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), old.dtype)
            new[:n] = old[:n]
            setattr(self, name, new)
        self.table = np.zeros((2 * len(self.table), 2), np.uint64)
        sprint.refill(self.states, n, self.table)
