"""The lines that a CPU fetched last, against a dictionary in the order of fetching."""

from __future__ import annotations

import random

import pytest

from agewalk.timing.threads import KEPT, CpuState


class Forgetful(CpuState):
    """Seeded fault: a line that comes again stays as old as it was."""

    def keep(self, line: object, since: int, until: int, exclusive: bool) -> None:
        before = next((kept.nth for kept in self.kept if kept.line is line), 0)
        super().keep(line, since, until, exclusive)
        for kept in self.kept:
            if kept.line is line and before:
                kept.nth = before


def differs(cpu: CpuState, seed: int) -> bool:
    """Do its answers differ from those of a dictionary that keeps the last few?"""
    draw = random.Random(seed)
    lines = [object() for _ in range(KEPT + 3)]
    kept: dict[object, tuple[int, int, bool]] = {}
    for now in range(500):
        line, until, exclusive = draw.choice(lines), now + draw.randrange(9), draw.random() < 0.5
        kept.pop(line, None)
        if len(kept) == KEPT:
            del kept[next(iter(kept))]
        kept[line] = now, until, exclusive
        cpu.keep(line, now, until, exclusive)
        for line in lines:
            at, for_writing = now + draw.randrange(9), draw.random() < 0.5
            since, until, exclusive = kept.get(line, (0, -1, False))
            expected = since if at <= until and (exclusive or not for_writing) else None
            found = cpu.keeps(line, at, for_writing)
            if (None if found is None else found.since) != expected:
                return True
    return False


@pytest.mark.parametrize("seed", range(10))
def test_a_cpu_keeps_the_lines_it_fetched_last(seed: int) -> None:
    assert not differs(CpuState(0, 0), seed)
    assert differs(Forgetful(0, 0), seed)
