"""Verdicts of a reduced search against those of an unreduced one.

A sample is part of the tests. All shipped systems, or those named, for every protocol and MMU kind, takes minutes:
`python -m tests.checker.both_ways [SYSTEM ...]`.
"""

from __future__ import annotations

import sys

from agewalk.checker.catalog import all_names, built
from agewalk.checker.explore import Outcome, check
from agewalk.checker.search.simulate import Simulator
from agewalk.checker.system import System
from agewalk.checker.verdicts import BOUNDED, VIOLATED
from agewalk.model.protocols.registry import get_protocol

WAYS = ({"reduce": True}, {"symmetric": True}, {"reduce": True, "symmetric": True})


def verdicts(outcome: Outcome) -> dict[str, tuple[str, bool, int | None]]:
    """Of each property: the verdict, whether it was witnessed, the worst case of a tolerated one."""
    return {v.name: (v.verdict, v.witnessed, v.worst) for v in outcome.verdicts}


def differences(system: System, whole: Outcome, **way: bool) -> list[str]:
    """What a reduced search says otherwise than a whole one; liveness may be left open. Every path must really run."""
    outcome = check(system, minimise=False, **way)  # type: ignore[arg-type]
    found = []
    expected, name = verdicts(whole), f"{system.name} {'+'.join(way)}"
    for v in outcome.verdicts:
        here = verdicts(outcome)[v.name]
        if v.verdict == BOUNDED and "liveness" in v.why:
            continue
        if here != expected[v.name]:
            found.append(f"{name}: {v.name}: {here}, not {expected[v.name]}")
        if v.verdict == VIOLATED and v.state is not None:
            length = whole.verdict_on(v.name).length
            if v.length is None or length is None or v.length < length or ("reduce" not in way and v.length > length):
                found.append(f"{name}: {v.name}: path of {v.length} steps, not {length}")
            path = outcome.path_to(v)
            assert path is not None
            moves = [(s.thread, s.choice) for s in path.steps]
            if Simulator(whole.automata).path(moves, path.outcome) != path:
                found.append(f"{name}: {v.name}: the path does not replay")
    if outcome.graph.count > whole.graph.count:
        found.append(f"{name}: {outcome.graph.count} states, more than {whole.graph.count}")
    if not outcome.graph.complete or outcome.note:
        found.append(f"{name}: {outcome.note or 'bounded'}")
    return found


def main() -> None:
    """All systems, or those named; exit code 1 if any differs."""
    wrong, count = 0, 0
    for system, protocol, mmu in all_names():
        if sys.argv[1:] and system not in sys.argv[1:]:
            continue
        made = built(system, get_protocol(protocol), mmu)
        whole = check(made, minimise=False)
        for way in WAYS:
            for line in differences(made, whole, **way):
                print(line, flush=True)
                wrong += 1
        count += 1
    print(f"{count} systems, {wrong} differences")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
