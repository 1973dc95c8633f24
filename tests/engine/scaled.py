"""Reclaim on hosts of a few hundred pages as it is on hosts of a few hundred thousand. Run without the compiler:

    NUMBA_DISABLE_JIT=1 python -m tests.engine.scaled

Reclaim begins with 1/2^12 of all pages (DEF_PRIORITY) and moves 4,096 at a time from one generation to the next (MAX_LRU_BATCH):
what it does with its first share, or when a batch is full, takes more pages than the direct reading has time for. Here both
readings are given smaller numbers, and then told the stories of the conformance kit.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.engine.stories import CROWDED, chance_of, pressure_of
from tests.engine.test_conformance import KERNELS, tell
from tests.engine.test_two_list import OWN
from tests.engine.two_lists import ListTwin

from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.profiles import profile

SMALLER = {"DEF_PRIORITY": 3, "MAX_LRU_BATCH": 96, "MAX_BATCH": 96}


@contextmanager
def scaled() -> Iterator[None]:
    """Both readings, whatever of them is loaded, have the smaller numbers."""
    begins: Any = ScanControl.__init__
    usual = begins.__defaults__
    before = [
        (vars(module), name, vars(module)[name])
        for module in list(sys.modules.values())
        for name in SMALLER
        if module.__name__.startswith("agewalk.") and name in vars(module)
    ]
    for where, name, _ in before:
        where[name] = SMALLER[name]
    begins.__defaults__ = tuple(SMALLER["DEF_PRIORITY"] if value == 12 else value for value in usual)
    try:
        yield
    finally:
        for where, name, value in before:
            where[name] = value
        begins.__defaults__ = usual


def alike() -> None:
    """Raise AssertionError if the readings differ."""
    with scaled():
        for number, kernel in enumerate(KERNELS):
            host: dict[str, Any] = {"kernel": kernel, "protocol": profile(kernel).protocol}
            crowd = CROWDED[number % 4]
            pressure = pressure_of(number, 900)[:20]
            tell({**host, **crowd, "spaces": [(900, "tdp")]}, pressure)
            chance = chance_of(number, 600)[:25]
            tell({**host, "memory": 420, "spaces": [(600, "tdp")]}, chance)
        for kernel in OWN:
            for swappiness in (60, 200):
                twin = ListTwin(kernel, OWN[kernel], [(900, "tdp")], 600, swappiness=swappiness)
                for what, rows in (event for event in pressure_of(1, 900)[:16] if event[0] == "touch"):
                    twin.touch(rows)
                    twin.check(what)


if __name__ == "__main__":
    alike()
