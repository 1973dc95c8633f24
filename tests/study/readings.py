"""One scenario on both readings, and what they say differently."""

import json
from pathlib import Path
from typing import Any

from agewalk.study.job import plan
from agewalk.study.quality import rows
from agewalk.study.replay import replay
from agewalk.study.scenarios.scenario import Scenario, checked
from agewalk.trace import write_trace
from agewalk.trace.synth import Synthesis, SyntheticTrace

COMPILED_ALONE = ("false_old_by", "false_young_by")  # causes: the direct reading does not know them


def synthesised(folder: Path, name: str, **what: Any) -> str:
    """Write a synthetic trace; its path."""
    path = folder / f"{name}.parquet"
    write_trace(path, SyntheticTrace(Synthesis(**what)))
    return str(path)


def scenario(members: list[dict[str, Any]], **how: Any) -> Scenario:
    """A scenario of VMs and, without `mmu`, of processes. how: memory (one size or several), kernel, every, protocols,
    baselines."""
    memory = how["memory"] if isinstance(how["memory"], list) else [how["memory"]]
    raw = {
        "schema": 1,
        "host": {"memory": memory[0], "kernel": how.get("kernel", "6.18")},
        "aging": {"every": how["every"]} if how.get("every") else {},
        "vm": [one for one in members if "mmu" in one],
        "process": [one for one in members if "mmu" not in one],
        "compare": {"protocols": how.get("protocols", []), "baselines": how.get("baselines", []), "memory": memory},
    }
    return checked("test", raw)


def differences(what: Scenario) -> list[str]:
    """Where the two readings disagree: each number of the JSON but `seconds`, and the pictures of the report."""
    found = []
    for job, reference in zip(plan(what, "compiled"), plan(what, "direct"), strict=True):
        compiled, direct = replay(job), replay(reference)
        (ours,), (theirs,) = rows([compiled]), rows([direct])
        for row in (ours, theirs):
            del row["seconds"]
            for name in COMPILED_ALONE:
                row.get("aging", {}).pop(name, None)
        names = sorted(set(ours) | set(theirs))
        wrong = {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}
        for name in ("timeline", "maps"):
            if getattr(compiled, name) != getattr(direct, name):
                wrong[name] = ("", "")
        if wrong:
            found.append(f"{job.policy.label} {job.memory >> 10} KiB: compiled, direct: {json.dumps(wrong)}")
    return found
