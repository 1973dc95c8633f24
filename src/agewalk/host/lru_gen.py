"""debugfs lru_gen and lru_gen_full, as lru_gen_seq_show() of mm/vmscan.c prints them (6.1 to 7.3).

The id after "memcg" is padded in 6.12, and equals the inode of the cgroup from 7.3 on. Sizes are pages, ages milliseconds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from agewalk.core.errors import InputError

_MEMCG: Final = re.compile(r"memcg +([0-9]{1,20}) (.*)", re.DOTALL)
_NODE: Final = re.compile(r" node +([0-9]{1,10})")
_VALUE: Final = re.compile(r"([0-9]{1,20})([A-Za-z]?)")


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation. seq: its number; age_ms: since it was made; anon, file: pages.

    tiers: rows of lru_gen_full, one a tier (refaulted, evicted, protected for anon, then file). walk: counts of its last line.
    """

    seq: int
    age_ms: int
    anon: int
    file: int
    tiers: tuple[tuple[int, ...], ...] = ()
    walk: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lruvec:
    """The generations of one cgroup on one node, oldest first. memcg: the id that a write to lru_gen takes."""

    memcg: int
    path: str
    node: int
    generations: tuple[Generation, ...] = field(default=())

    @property
    def max_seq(self) -> int:
        """The number of the youngest generation; -1 where there is none."""
        return self.generations[-1].seq if self.generations else -1

    def older_than(self, age_ms: int) -> tuple[int, int]:
        """Pages (anon, file) that stayed unused for at least `age_ms` up to the last aging.

        Aging moves a young page to the youngest generation n, then makes n+1. So a page of n was not seen used from the birth
        of n+1 to the last aging, which was when the youngest generation was made. After that nothing is known: age first.
        """
        known = zip(self.generations[:-2], self.generations[1:], strict=False)
        old = [gen for gen, following in known if following.age_ms - self.generations[-1].age_ms >= age_ms]
        return sum(gen.anon for gen in old), sum(gen.file for gen in old)


def lru_gen(text: str) -> list[Lruvec]:
    """Both files. Raises InputError, with the line, for text that no kernel prints; text that ends in a line is truncated."""
    if text and not text.endswith("\n"):
        raise InputError("lru_gen ends within a line", hint="the file was cut: read it again")
    return list(_lruvecs(text))


def _lruvecs(text: str) -> Iterator[Lruvec]:
    memcg: tuple[int, str] | None = None
    node: int | None = None
    generations: list[Generation] = []
    seen: set[tuple[int, int]] = set()
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if line.startswith(("memcg ", " node ")):
            if memcg and node is not None:
                yield Lruvec(*memcg, node, tuple(generations))
            generations, node = [], None
            if found := _MEMCG.fullmatch(line):
                memcg = int(found[1]), found[2]
            elif memcg and (at := _NODE.fullmatch(line)) and (memcg[0], int(at[1])) not in seen:
                node = int(at[1])
                seen.add((memcg[0], node))
            else:
                raise _bad(number)
            continue
        if node is None:
            raise _bad(number)
        _row(line, generations, number)
    if memcg and node is not None:
        yield Lruvec(*memcg, node, tuple(generations))


def _row(line: str, generations: list[Generation], number: int) -> None:
    """Add a row: a generation (4 columns, two of them bare), a tier (7), or a walk (4 with marks, 6 on 6.1)."""
    found = [_VALUE.fullmatch(word) for word in line.split()]
    if not found or not all(found):
        raise _bad(number)
    values = [int(x[1]) for x in found if x]
    marks = [x[2] for x in found if x]
    if len(values) == 4 and not marks[0] and not marks[1]:
        if generations and values[0] <= generations[-1].seq:
            raise _bad(number)
        generations.append(Generation(values[0], values[1], values[2], values[3]))
        return
    if not generations or not (len(values) in {6, 7} or (len(values) == 4 and all(marks))):
        raise _bad(number)
    last = generations[-1]
    if len(values) == 7:
        generations[-1] = replace(last, tiers=(*last.tiers, tuple(values[1:])))
    else:
        generations[-1] = replace(last, walk=tuple(values))


def _bad(number: int) -> InputError:
    return InputError(f"line {number} of lru_gen is none that a kernel prints", hint="the file was cut or is another's")
