"""The checker: from the command to the verdict for the three largest systems, SPIN on the same, and the whole matrix."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from typing import Any

from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import LARGEST, get_system
from agewalk.checker.matrix import run as run_matrix
from agewalk.checker.promela import promela, run_spin
from agewalk.checker.search.bfs import Search
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly

SMALL = ("age-vs-guest/linux-7.3/tdp",)
_HEAD = ("system", "states", "minimal", "command s", "search s", "M states/s", "SPIN s", "pan s")


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _command(name: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of `agewalk check NAME`, interpreter and imports included."""
    began, used = time.perf_counter(), _children()
    done = subprocess.run([sys.executable, "-m", "agewalk", "check", name, "--json"], capture_output=True, check=False)
    if done.returncode not in {0, 1} or json.loads(done.stdout)["verdict"] == "bounded":
        raise RuntimeError(done.stderr.decode())
    return time.perf_counter() - began, _children() - used


def _search(name: str) -> tuple[float, int, Automata]:
    """CPU seconds of the search that decides, from an unread system to all its states; how many; the automata."""
    system = get_system(name)
    began = time.process_time()
    automata = Automata(system)
    graph = Search(OnTheFly(automata)).run()
    return time.process_time() - began, graph.count, automata


def _row(name: str, rounds: int) -> dict[str, Any]:
    _command(name)  # compiled, or read from the cache, before the clock runs
    commands = [_command(name) for _ in range(rounds)]
    searches = [_search(name) for _ in range(rounds + 1)]
    seconds, states, automata = min(searches, key=lambda s: s[0])
    source = Minimal(automata)
    row: dict[str, Any] = {
        "system": name, "states": states, "minimal_states": Search(source).run().count,
        "command_seconds": round(min(c[0] for c in commands), 2), "command_cpu_seconds": round(min(c[1] for c in commands), 2),
        "search_cpu_seconds": round(seconds, 3), "states_per_cpu_second": round(states / seconds),
    }  # fmt: skip
    if shutil.which("spin") and shutil.which("gcc"):
        spin = min((run_spin(promela(source)) for _ in range(rounds)), key=lambda s: s.cpu_seconds)
        row |= {
            "spin_states": spin.states, "spin_seconds": round(spin.seconds, 2), "spin_cpu_seconds": round(spin.cpu_seconds, 2),
            "pan_cpu_seconds": round(spin.verifier_cpu, 2),
        }  # fmt: skip
    else:
        sys.stderr.write("spin or gcc is missing: no comparison (apt-get install spin gcc)\n")
    return row


def run(smoke: bool) -> dict[str, Any]:
    """Print the table, return its numbers. smoke: a small system, one round, no matrix. All seconds are of CPU.

    SPIN gets the minimal automata, which `agewalk check` had to find first; "SPIN s" is spin -a, gcc -O2 and pan.
    """
    rows = [_row(name, 1 if smoke else 3) for name in (SMALL if smoke else LARGEST)]
    print(f"  {_HEAD[0]:<40}" + "".join(f"{h:>12}" for h in _HEAD[1:]))
    for r in rows:
        spin = [f"{r[k]:12.2f}" if k in r else f"{'-':>12}" for k in ("spin_cpu_seconds", "pan_cpu_seconds")]
        print(
            f"  {r['system']:<40}{r['states']:>12,}{r['minimal_states']:>12,}{r['command_cpu_seconds']:>12.2f}"
            f"{r['search_cpu_seconds']:>12.3f}{r['states_per_cpu_second'] / 1e6:>12.2f}" + "".join(spin)
        )
    result: dict[str, Any] = {"check": rows}
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
