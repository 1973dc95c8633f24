"""Counts of the shipped systems, and the table in which they are pinned.

Refresh it after a change to the model that is meant to change them: `python -m tests.checker.counts`, from the top of the
project, and look at the difference before it is committed.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from agewalk.checker.automata.unfolding import Automata
from agewalk.checker.catalog import SYSTEMS, get_system
from agewalk.checker.promela import promela, run_spin
from agewalk.checker.search.bfs import Search
from agewalk.checker.search.minimal import Minimal
from agewalk.checker.search.on_the_fly import OnTheFly
from agewalk.checker.system import System

PINNED = Path(__file__).with_name("pinned_counts.toml")
SPIN = (  # SPIN counts these too: test_promela.py asks it, live
    "age-vs-guest/linux-7.3/tdp",
    "age-vs-guest/v7/nested-noad",
    "questions-vs-guest/v5/tdp",
    "two-agers/linux-6.13/legacy",
    "age-vs-zap/linux-7.3/nested",
    "age-vs-nested-end/v7/nested",
    "age-vs-nested-count/linux-6.18/nested",
    "invalidate-vs-fault/linux-6.9/legacy",
    "walk-vs-register/christopherson/tdp",
    "max-seq-vs-walkers/linux-6.13/tdp",
    "update-gen-vs-isolation/linux-7.3/tdp",
    "agers-of-pages/linux-7.3/legacy",
    "fault-of-pages/v7/nested",
    "age-vs-refault/v7/tdp",
    "agers-vs-refault/v7/tdp",
    "look-around-decision/v7/tdp",
    "age-vs-memslot/v7/tdp",
    "age-vs-nested-storm/linux-6.13/nested",
    "age-vs-fault/v7/tdp",
    "subscribers/v7/tdp",
    "neighbours/v7/tdp",
    "young-in-tdp-mmu/v7/nested",
    "young-in-shadow-mmu/christopherson/nested",
    "stranger/v7/tdp",
    "look-around-vs-eviction/v7/tdp",
    "kvm-access-vs-aging/v7/tdp",
)  # one of each system at least


STORM = "age-vs-nested-storm/linux-6.13/nested"  # the largest system; with linux-7.3 it takes seconds to learn


def names() -> list[str]:
    """What is pinned: every system for the newest kernel and for v7, with its first kind of MMU, and all that SPIN counts."""
    chosen = {
        f"{name}/{protocol}/{shipped.mmus[0]}"
        for name, shipped in SYSTEMS.items()
        for protocol in ("linux-7.3", "v7")
        if not STORM.startswith(name + "/")
    }
    return sorted({*chosen, *SPIN, STORM})


def count(system: System) -> dict[str, int]:
    """States and transitions of the minimal automata; states with partial-order reduction (reduced); and where identical threads
    or pages can be exchanged, with these exchanged (symmetric), and both (both). A system whose pages turn out not to be
    interchangeable has no count."""
    automata = Automata(system)
    Search(OnTheFly(automata)).run()
    source = Minimal(automata)
    plain = Search(source).run()
    found = {
        "states": plain.count,
        "transitions": plain.transitions,
        "reduced": Search(source, reduce=True).run().count,
    }
    if any(t.n > 1 for t in system.threads) or system.exchange:
        folded = Minimal(automata, symmetric=True)
        assert not folded.refused, folded.refused
        found["symmetric"] = Search(folded).run().count
        found["both"] = Search(folded, reduce=True).run().count
    return found


def spin_agrees(name: str) -> bool:
    """Does SPIN count the same states and transitions of the minimal automata, and find no error either?"""
    automata = Automata(get_system(name))
    Search(OnTheFly(automata)).run()
    source = Minimal(automata)
    graph = Search(source).run()
    found = run_spin(promela(source), optimise=0)
    return not found.errors and (found.states, found.transitions) == (graph.count, graph.transitions + 1)


def pinned() -> dict[str, dict[str, int]]:
    """The counts of the table, without the names of their witnesses."""
    table: dict[str, dict[str, Any]] = tomllib.loads(PINNED.read_text())
    return {name: {k: v for k, v in row.items() if k != "witness"} for name, row in table.items()}


def vouched_for() -> set[str]:
    """Rows whose states and transitions SPIN counted when the table was written."""
    table: dict[str, dict[str, Any]] = tomllib.loads(PINNED.read_text())
    return {name for name, row in table.items() if row["witness"] == "SPIN"}


def main() -> None:
    """Write the table anew, under the comment that it begins with. It needs spin and gcc."""
    head = [line for line in PINNED.read_text().splitlines() if line.startswith("#")]
    rows = []
    for n in names():
        counts = ", ".join(f"{k} = {v}" for k, v in count(get_system(n)).items())
        witness = "SPIN" if spin_agrees(n) else "none"
        rows.append(f'"{n}" = {{ {counts}, witness = "{witness}" }}')
    PINNED.write_text("\n".join([*head, *rows]) + "\n")


if __name__ == "__main__":
    main()
