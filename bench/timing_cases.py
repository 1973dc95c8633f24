"""Effects a second of the timed executor, in this process: the scheduler alone, and the scheduler with the model. Prints JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import agewalk.timing.operations  # before the cells: a process that has imported those interpreted interprets the machine
from agewalk.core.cells import Cell, Lock, Object
from agewalk.core.direct import Direct, perform
from agewalk.core.effects import READ, Acquire, FetchAdd, Load, Release, Step, Store, Work
from agewalk.timing.experiment import load_experiment
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.machine import Machine
from agewalk.timing.run import start
from agewalk.timing.workloads.programs import populate


def _shallow(lock: Lock, own: list[Cell], shared: Cell, n: int) -> Step[None]:
    """A shallow thread: mostly memory of its own, now and then a lock and a shared word."""
    for _ in range(n):
        for cell in own:
            value = yield Load(cell)
            yield Store(cell, value + 1)
        yield Work("vm_exit")
        yield Acquire(lock, READ)
        yield Load(shared)
        yield Release(lock, READ)
        yield FetchAdd(shared, 1)


def _scheduler(cpus: int, rounds: int) -> Machine:
    machine = Machine(cpus)
    lock = Lock(Object("kvm"), "mmu_lock")
    shared = Cell(Object("shared"), "count", 0)
    for n in range(cpus):
        own = [Cell(Object(f"own{n}"), i, 0) for i in range(8)]
        machine.spawn(f"t{n}", _shallow(lock, own, shared, rounds), cpu=n)
    return machine


def _model(vcpus: int, factor: int) -> Machine:
    experiment = load_experiment("access-tracking")
    machine, _ = start(experiment, experiment.variants[-1], vcpus, load_costs(), factor=factor)
    return machine


def _direct(factor: int) -> tuple[int, float]:
    """The direct executor on the same vCPU thread: what the model's generators cost by themselves. Effects, CPU seconds."""
    experiment = load_experiment("access-tracking")
    _, host = start(experiment, experiment.variants[0], 1, load_costs(), factor=factor)
    cpu = Direct()
    send = populate(host, host.kvm.vcpus[0]).send
    done = 0
    began = time.process_time()
    try:
        effect = send(None)
        while True:
            done += 1
            effect = send(perform(cpu, effect))
    except StopIteration:
        return done, time.process_time() - began


def measure(smoke: bool) -> dict[str, float]:
    """Million effects a CPU second, each the best of three (one if `smoke`)."""
    tries = 1 if smoke else 3
    rounds, factor = (300, 4096) if smoke else (3000, 1024)
    many = 16384 if smoke else 8192  # factor for the widest cases
    cases: dict[str, Any] = {
        "scheduler alone, 1 CPU": lambda: _scheduler(1, rounds * 8),
        "scheduler alone, 16 CPUs": lambda: _scheduler(16, rounds),
        "model, 1 vCPU and ager": lambda: _model(1, factor),
        "model, 16 vCPUs and ager": lambda: _model(16, factor * 2),
        "model, 64 vCPUs and ager": lambda: _model(64, many),
        "model, 112 vCPUs and ager": lambda: _model(112, many),
    }
    results: dict[str, float] = {}
    for name, make in cases.items():
        best = 0.0
        for _ in range(tries):
            machine = make()
            began = time.process_time()
            machine.run()
            best = max(best, machine.effects / (time.process_time() - began))
        results[name] = best / 1e6
    results["direct executor"] = max(done / took for done, took in (_direct(factor) for _ in range(tries))) / 1e6
    return results


if __name__ == "__main__":
    if os.environ.get("AGEWALK_TIMING") == "compiled" and agewalk.timing.operations.__file__.endswith(".py"):
        sys.exit("the machine is interpreted in this process")
    print(json.dumps(measure("--smoke" in sys.argv)))
