"""What a run says of itself beside the state of its host: who came back and after how long, who left, and when each page was last
used. Kept by hand beside the direct reading, which knows what it freed."""

import numpy as np

from agewalk.engine.engine import Engine
from agewalk.engine.state import layout as at
from agewalk.model.machine import Machine, Process

HOT = 3  # ticks: an eviction of a page that was used less than this before is a hot one


class Ledger:
    """Per space unless said otherwise. used: tick of the last use of each page that was ever used, by (space, page)."""

    def __init__(self, spaces: int) -> None:
        self.refaults, self.evictions, self.hot = ([0] * spaces for _ in range(3))
        self.intervals = [0] * 64  # of the host, by the bit length of the ticks that a page was away
        self.used: dict[tuple[int, int], int] = {}
        self._left: dict[tuple[int, int], int] = {}

    def use(self, space: int, page: int, now: int) -> None:
        """An access, whose fault brings the page if it was away."""
        since = self._left.pop((space, page), None)
        if since is not None:
            self.refaults[space] += 1
            self.intervals[(now - since).bit_length()] += 1
        self.used[space, page] = now

    def book(self, machine: Machine, processes: list[Process], now: int) -> None:
        """What reclaim has freed since it was last asked."""
        machine.taken()
        for process, page in machine.freed():
            space = processes.index(process)
            self._left[space, page] = now
            self.evictions[space] += 1
            self.hot[space] += now - self.used.get((space, page), -HOT) < HOT

    def as_said(self) -> dict[str, list[int]]:
        """For a comparison with `of`."""
        return {
            "refaults": self.refaults,
            "evictions": self.evictions,
            "hot_evictions": self.hot,
            "intervals": self.intervals,
            "used": [self.used[key] for key in sorted(self.used)],
        }

    def of(self, engine: Engine) -> dict[str, list[int]]:
        """The same as the engine says it."""
        result, s = engine.result(), engine.state
        numbers = [int(s.space[space, at.S_FIRST]) + page for space, page in sorted(self.used)]
        used = np.where(s.pte_bits & at.USED_NOW, s.word[at.NOW], s.used_at)
        return {
            "refaults": [space.refaults for space in result.spaces],
            "evictions": [space.evictions for space in result.spaces],
            "hot_evictions": [space.hot_evictions for space in result.spaces],
            "intervals": result.refault_intervals,
            "used": [int(n) for n in used[numbers]],
        }
