"""Automata and states as arrays: the input of the compiled search. They grow while the search runs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agewalk.checker.reduction.canonical_numba import Fields
from agewalk.checker.search.bfs_numba import UNKNOWN, Nodes

_WORD: Final = 64
_FIRST: Final = np.uint64(1 << 63)  # always set, in word 0


def _bits(n: int) -> int:
    """Bits that tell n values apart; at least one."""
    return max(1, (n - 1).bit_length())


def _places(widths: list[int]) -> list[tuple[int, int]]:
    """(word, shift) of each field: from the top of each word down, with no field in two words."""
    word, used = 0, 1  # the top bit of word 0 is taken
    places: list[tuple[int, int]] = []
    for width in widths:
        if used + width > _WORD:
            word, used = word + 1, 0
        used += width
        places.append((word, _WORD - used))
    return places


def widened(widths: list[int], wanted: list[int]) -> list[int]:
    """`widths` with one bit more for each field that has none to spare, as long as this costs no word."""
    words = _places(widths)[-1][0]
    widths = list(widths)
    for f, width in enumerate(wanted):
        if widths[f] == width:
            widths[f] += 1
            if _places(widths)[-1][0] > words:
                widths[f] -= 1
    return widths


class Layout:
    """The place of each field in a packed state: `words` 64-bit words, the top bit of the
    first always set; `fields` says where each one is."""

    def __init__(self, widths: list[int]) -> None:
        self.widths = widths
        place = _places(widths)
        self.words = place[-1][0] + 1
        self.fields = Fields(
            np.array([w for w, _ in place], np.int64),
            np.array([s for _, s in place], np.uint64),
            np.array([(1 << b) - 1 for b in widths], np.uint64),
        )

    def column(self, states: NDArray[np.uint64], f: int) -> NDArray[np.int64]:
        """Field f of many states."""
        word, shift, mask = (a[f] for a in self.fields)
        column: NDArray[np.int64] = ((states[:, word] >> shift) & mask).astype(np.int64)
        return column

    def pack(self, columns: list[NDArray[np.int64]], n: int) -> NDArray[np.uint64]:
        """States from their fields; missing columns are zero."""
        states = np.zeros((n, self.words), np.uint64)
        states[:, 0] = _FIRST
        for f, column in enumerate(columns):
            states[:, self.fields.word[f]] |= column.astype(np.uint64) << self.fields.shift[f]
        return states


class Tables:
    """Nodes, edges and sizes. `threads` threads; thread t's field holds (node - offset[t])."""

    def __init__(self, threads: int, cpus: int, offset: list[int], *, memory_size: int = 2) -> None:
        self.threads = threads
        self.cpus = cpus
        self.offset = np.array(offset, np.int64)
        self.count = 0
        self.size = [memory_size]  # per variable: how many values its edges have room for
        self._on_var: dict[int, list[int]] = {}
        self.kind = np.zeros(64, np.uint8)
        self.var = np.full(64, -1, np.int64)
        self.base = np.zeros(64, np.int64)
        self.stride = np.zeros(64, np.int64)
        self.choices = np.ones(64, np.int64)
        self.ghost = np.zeros(64, np.uint8)
        self.warned = np.zeros(64, np.uint8)
        self.mortal = np.full(64, -1, np.int64)
        self.uaf = np.zeros(64, np.int64)
        self.firm = np.zeros(64, np.uint8)
        self.edge_next = np.full(1024, UNKNOWN, np.int32)
        self.edge_value = np.zeros(1024, np.int32)
        self._edges = 0
        self.freed = np.zeros(memory_size, np.uint64)

    @property
    def first_var(self) -> int:
        """The field of variable 0."""
        return self.threads + self.cpus

    def add_node(self, *, kind: int, var: int, ghost: bool, firm: int, warned: bool = False, choices: int = 0) -> int:
        """A node; its edges are unknown."""
        if self.count == len(self.kind):
            fill = {"var": -1, "mortal": -1, "choices": 1}
            for name in ("kind", "var", "base", "stride", "choices", "ghost", "warned", "mortal", "uaf", "firm"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.full_like(old, fill.get(name, 0))]))
        n = self.count
        self.count += 1
        self.kind[n], self.ghost[n], self.warned[n], self.firm[n] = kind, ghost, warned, firm
        if choices:
            self.choices[n] = choices
            self.base[n] = self._room(choices)
        elif var >= 0:
            self.var[n] = self.first_var + var
            self._on_var.setdefault(var, []).append(n)
            self._place(n, var)
        return n

    def _place(self, n: int, var: int) -> None:
        self.stride[n] = self.size[var] if var == 0 else 0
        self.base[n] = self._room(self.size[var] * (self.threads if var == 0 else 1))

    def _room(self, n: int) -> int:
        while self._edges + n > len(self.edge_next):
            self.edge_next = np.concatenate([self.edge_next, np.full_like(self.edge_next, UNKNOWN)])
            self.edge_value = np.concatenate([self.edge_value, np.zeros_like(self.edge_value)])
        start = self._edges
        self._edges += n
        return start

    def set_edge(self, node: int, thread: int, value: int, target: int, left: int) -> None:
        """Make an edge known."""
        stride = self.stride[node]
        edge = self.base[node] + value + thread * stride
        self.edge_next[edge] = target
        self.edge_value[edge] = left

    def fit(self, var: int, values: int) -> None:
        """Make room for `values` values of a variable."""
        while len(self.size) <= var:
            self.size.append(2)
        old = self.size[var]
        if values <= old:
            return
        self.size[var] = 1 << _bits(values)
        for n in self._on_var.get(var, []):
            start = self.base[n]
            self._place(n, var)
            for t in range(self.threads if var == 0 else 1):
                to, of = self.base[n] + t * self.size[var], start + t * old
                self.edge_next[to : to + old] = self.edge_next[of : of + old]
                self.edge_value[to : to + old] = self.edge_value[of : of + old]
        if var == 0:
            self.freed = np.concatenate([self.freed, np.zeros(self.size[0] - len(self.freed), np.uint64)])

    def widths(self, node_width: list[int]) -> list[int]:
        """Bits of each field, with room for every value that the edges have room for."""
        cpus = [_bits(self.threads + 1)] * self.cpus
        return [*node_width, *cpus, *(_bits(s) for s in self.size)]

    def nodes(self) -> Nodes:
        """For the compiled search."""
        return Nodes(
            self.kind, self.var, self.base, self.stride, self.choices, self.ghost, self.warned, self.mortal, self.uaf,
            self.edge_next, self.edge_value, self.freed, self.offset, self.first_var,
        )  # fmt: skip
