"""Runs of the timed machine in a process of their own, compiled or interpreted."""

import json
import os
import subprocess
import sys

from agewalk.model.mglru.aging.generations import MAX_LRU_BATCH
from agewalk.timing.run import Row

_AGERS = """
import json, sys
from agewalk.timing.compiled import compile_once
compile_once()
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.experiment import load_experiment
from agewalk.timing.run import run_row
from agewalk.model.mglru.aging import inc_max_seq
name, vcpus, factor, seed, batch = json.loads(sys.argv[1])
inc_max_seq.MAX_LRU_BATCH = batch
plan = load_experiment(name)
rows = [run_row(plan, v, vcpus, load_costs(), factor=factor, seed=seed) for v in plan.variants if v.host]
print(json.dumps([row.json() for row in rows]))
"""


def run(how: str, *command: str) -> str:
    """What `python *command` prints with AGEWALK_TIMING=how; it must exit with 0."""
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"AGEWALK_TIMING": how},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def agers(name: str, vcpus: int, factor: int | None = None, seed: int = 0, batch: int = MAX_LRU_BATCH) -> list[Row]:
    """The variants of a shipped experiment that age, compiled where that can be: for millions of effects.

    batch: how many folios inc_min_seq() moves before it gives lru_lock up."""
    asked = json.dumps([name, vcpus, factor, seed, batch])
    return [Row(**row) for row in json.loads(run("compiled", "-c", _AGERS, asked).splitlines()[-1])]
