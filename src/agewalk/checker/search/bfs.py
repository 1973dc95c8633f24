"""Breadth-first search over all interleavings, which has the automata unfolded while it runs.

The first violation met is a shortest one. A run ends when every state is known, when a violation was
asked to end it, or at a bound (states, seconds, bytes), which the outcome then says.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.search import bfs_numba
from agewalk.checker.search.bfs_numba import (
    CODE,
    COUNT,
    GROW,
    MISSING,
    POS,
    STOP,
    TRANSITIONS,
    UNFOLD,
    States,
    SuccessorBuffer,
)
from agewalk.checker.search.source import Source
from agewalk.checker.search.tables import Layout, widened

_BATCH: Final = 1 << 11  # successors
_MISSING: Final = 1 << 10
_CHUNK: Final = 1 << 18  # states between checks of the clock


@dataclass(frozen=True)
class Bounds:
    """Bounds that end a search early: states, seconds, bytes of memory. None: no bound."""

    states: int | None = None
    seconds: float | None = None
    memory: int | None = None


UNBOUNDED: Final = Bounds()


@dataclass(frozen=True)
class Progress:
    """The progress of a search."""

    states: int
    transitions: int
    depth: int
    queue: int
    bytes: int
    seconds: float


@dataclass
class Graph:
    """The result of a search. `complete` is False when a bound ended it; `bound` then names it.

    States are rows of `states[:count]` in the order in which they were found; `parents` and `moves` (thread * 16 +
    choice) lead back to state 0.
    """

    source: Source
    layout: Layout
    states: NDArray[np.uint64]
    parents: NDArray[np.int32]
    moves: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    first_error: NDArray[np.int64]
    table: NDArray[np.uint64]
    count: int
    expanded: int
    transitions: int
    depth: int
    seconds: float
    cpu_seconds: float
    bytes: int
    complete: bool = True
    bound: str = ""
    levels: list[int] = field(default_factory=list)

    def errors(self) -> dict[int, int]:
        """Node of a broken rule -> first state in which a thread stands there."""
        return {int(n): int(self.first_error[n]) for n in np.flatnonzero(self.first_error >= 0)}

    def flagged(self, flag: int) -> NDArray[np.int64]:
        """States that carry a flag, in order."""
        return np.flatnonzero(self.flags[: self.count] & flag)

    def column(self, f: int) -> NDArray[np.int64]:
        """Field f of all states."""
        return self.layout.column(self.states[: self.count], f)

    def path(self, state: int) -> list[tuple[int, int]]:
        """(thread, choice) of each step from the start to a state."""
        steps = []
        while state:
            move = int(self.moves[state])
            steps.append((move >> 4, move & 15))
            state = int(self.parents[state])
        return steps[::-1]


class Search:
    """One search over a source of automata. `reduce`: leave out interleavings that provably add nothing. `expect`: make room
    for so many states at once."""

    def __init__(self, source: Source, *, reduce: bool = False, expect: int = 0) -> None:
        self.source = source
        self.reduce = reduce
        self.layout = source.layout()
        self._ctl = np.zeros(8, np.int64)
        self._missing = np.empty((_MISSING, 3), np.int64)
        self._allocate(1 << max(15, (expect + 4 * _BATCH).bit_length()))
        self.states[0] = self.layout.pack([np.array([v]) for v in source.initial()], 1)[0]
        self._ctl[COUNT] = 1
        bfs_numba.fill_table(self.states, 1, self.table)
        self.levels = [0]
        for node in source.initial_errors():
            self.first_error[node] = 0
            if source.tables.kind[node] == bfs_numba.ERROR:
                self.flags[0] = bfs_numba.F_ERROR

    def _allocate(self, n: int) -> None:
        self.states = np.zeros((n, self.layout.words), np.uint64)
        self.parents = np.zeros(n, np.int32)
        self.moves = np.zeros(n, np.uint8)
        self.flags = np.zeros(n, np.uint8)
        self.table = np.zeros(2 * n, np.uint64)
        self.first_error = np.full(max(64, len(self.source.tables.kind)), -1, np.int64)

    @property
    def count(self) -> int:
        """States known."""
        return int(self._ctl[COUNT])

    @property
    def bytes(self) -> int:
        """Memory of the arrays."""
        return sum(a.nbytes for a in (self.states, self.parents, self.moves, self.flags, self.table))

    def run(
        self,
        bounds: Bounds = Bounds(),
        *,
        stop: Callable[[Search], bool] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Graph:
        """Search until done, bounded, or `stop(self)` answers True after a level."""
        collects = gc.isenabled()
        gc.disable()  # unfolding makes hardly any cycles, and a collection would visit the whole world
        try:
            return self._run(bounds, stop, progress)
        finally:
            if collects:
                gc.enable()

    def _run(
        self, bounds: Bounds, stop: Callable[[Search], bool] | None, progress: Callable[[Progress], None] | None
    ) -> Graph:
        began, cpu_began = time.perf_counter(), time.process_time()
        ctl = self._ctl
        bound = ""
        level_end, last = 1, began
        while not bound:
            ctl[STOP] = min(level_end, ctl[POS] + _CHUNK)
            self._call()
            now = time.perf_counter()
            if ctl[CODE] == UNFOLD:
                self._unfold()
            elif ctl[CODE] == GROW:
                self._grow()
            if progress and now - last > 0.25:
                last = now
                progress(self._progress(now - began))
            bound = self._exceeded(bounds, now - began)
            if ctl[POS] == level_end:
                if stop is not None and stop(self):
                    bound = bound or "a violation"
                if level_end == ctl[COUNT]:
                    break
                self.levels.append(level_end)
                level_end = int(ctl[COUNT])
        complete = bool(ctl[POS] == ctl[COUNT])
        return Graph(
            self.source, self.layout, self.states, self.parents, self.moves, self.flags, self.first_error, self.table,
            int(ctl[COUNT]), int(ctl[POS]), int(ctl[TRANSITIONS]), len(self.levels), time.perf_counter() - began,
            time.process_time() - cpu_began, self.bytes, complete=complete, bound="" if complete else bound, levels=self.levels,
        )  # fmt: skip

    def _progress(self, seconds: float) -> Progress:
        ctl = self._ctl
        return Progress(
            int(ctl[COUNT]), int(ctl[TRANSITIONS]), len(self.levels), int(ctl[COUNT] - ctl[POS]), self.bytes, seconds
        )

    def _exceeded(self, bounds: Bounds, seconds: float) -> str:
        if bounds.states is not None and self._ctl[COUNT] >= bounds.states:
            return f"{bounds.states} states"
        if bounds.seconds is not None and seconds >= bounds.seconds:
            return f"{bounds.seconds:g} s"
        if bounds.memory is not None and self.bytes >= bounds.memory:
            return f"{bounds.memory} bytes"
        return ""

    def _call(self) -> None:
        source = self.source
        model = source.model(self.layout)
        size = max(_BATCH, 2 * model.fan)
        if len(self.states) <= 2 * size:
            self._grow()
        batch = SuccessorBuffer(
            np.empty((size, self.layout.words), np.uint64), np.empty(size, np.uint8), np.empty(size, np.int64),
            np.empty(size, np.uint64),
        )  # fmt: skip
        states = States(self.states, self.parents, self.moves, self.flags, self.first_error, self.table)
        bfs_numba.search(
            model, states, batch, source.dependence(), self.reduce, source.cyclic, self._missing, self._ctl
        )

    def _unfold(self) -> None:
        """Unfold the edges that the search asked for; re-pack the states if the new values do not fit."""
        missing = {tuple(int(x) for x in row) for row in self._missing[: self._ctl[MISSING]]}
        self.source.unfold(sorted(missing))
        kinds = len(self.source.tables.kind)
        if kinds > len(self.first_error):
            more = np.full(kinds - len(self.first_error), -1, np.int64)
            self.first_error = np.concatenate([self.first_error, more])
        self._fit(self.source.widths())

    def _fit(self, wanted: list[int]) -> None:
        """Make room for wider and for new fields; with a bit to spare, so that states are seldom packed anew."""
        now = self.layout.widths
        grown = any(w > c for w, c in zip(wanted, now, strict=False))
        if not grown and len(wanted) == len(now):
            return
        kept = [c if w <= c else w + 1 for w, c in zip(wanted, now, strict=False)]
        widths = kept + [w + 1 for w in wanted[len(now) :]]
        layout = Layout(widths)
        if not grown and layout.words == self.layout.words:
            self.layout = layout  # fields keep their places, and a new one starts at zero, the value it was built with
            return
        layout = Layout(widened(widths, wanted))
        n = self.count
        states = np.zeros((len(self.states), layout.words), np.uint64)
        bfs_numba.repack(self.states, n, self.layout.fields, states, layout.fields)
        self.layout, self.states = layout, states
        self.table[:] = 0
        bfs_numba.fill_table(states, n, self.table)

    def _grow(self) -> None:
        n = self.count
        for name in ("states", "parents", "moves", "flags"):
            old = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), old.dtype)
            new[:n] = old[:n]
            setattr(self, name, new)
        self.table = np.zeros(2 * len(self.states), np.uint64)
        bfs_numba.fill_table(self.states, n, self.table)
