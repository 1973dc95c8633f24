"""The checker: states per second on the largest shipped system, SPIN's verifier on the same, and the whole matrix."""

from __future__ import annotations

import resource
import shutil
import sys
from typing import Any

from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import LARGEST, get_system
from agewalk.checker.matrix import run as run_matrix
from agewalk.checker.promela import promela, run_spin
from agewalk.checker.search.bfs import Search
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly

SMALL = "age-vs-nested-end/linux-7.3/nested"


def _speed(name: str, rounds: int) -> dict[str, Any]:
    automata = Automata(get_system(name))
    unfolded = Search(OnTheFly(automata)).run()
    source = Minimal(automata)
    Search(source).run()  # compiled, or read from the cache, before the clock runs
    graphs = [Search(source, expect=unfolded.count).run() for _ in range(rounds)]
    best = min(graphs, key=lambda g: g.cpu_seconds)
    row: dict[str, Any] = {
        "system": name, "states": best.count, "transitions": best.transitions, "learn_seconds": round(unfolded.seconds, 2),
        "seconds": round(best.seconds, 3), "states_per_second": round(best.count / best.seconds),
        "states_per_cpu_second": round(best.count / best.cpu_seconds), "bytes_per_state": best.bytes // best.count,
    }  # fmt: skip
    if shutil.which("spin") and shutil.which("gcc"):
        spin = [run_spin(promela(source)) for _ in range(rounds)]
        pan = min(spin, key=lambda s: s.cpu_seconds)
        row["spin_states"] = pan.states
        row["spin_states_per_cpu_second"] = round(pan.states / pan.cpu_seconds)
        row["times_spin"] = round(row["states_per_cpu_second"] / row["spin_states_per_cpu_second"], 1)
    else:
        sys.stderr.write("spin or gcc is missing: no comparison (apt-get install spin gcc)\n")
    return row


def run(smoke: bool) -> dict[str, Any]:
    """Print the table, return its numbers. smoke: a smaller system, one round, no matrix."""
    row = _speed(SMALL if smoke else LARGEST, 1 if smoke else 5)
    for key, value in row.items():
        print(f"  {key:<24}{value:>14,}" if isinstance(value, int) else f"  {key:<24}{value:>14}")
    result: dict[str, Any] = {"check": row}
    if not smoke:
        matrix = run_matrix()
        seconds, slowest = matrix.slowest
        violated = sorted({(c.system, c.mmu, c.protocol, c.property) for c in matrix.violated})
        print(f"  matrix: {len(matrix.cells)} cells in {matrix.seconds:.0f} s, slowest {slowest} {seconds:.1f} s")
        for v in violated:
            print("  violated:", *v)
        result["matrix"] = {"cells": len(matrix.cells), "seconds": round(matrix.seconds, 1), "violated": violated}
    result["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


if __name__ == "__main__":
    run("--smoke" in sys.argv)
