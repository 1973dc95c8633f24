"""Run one row of an experiment, or all of them side by side."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from agewalk.core.direct import Direct
from agewalk.core.errors import UsageError
from agewalk.core.process_pool import ProcessPool
from agewalk.core.userfile import users_code
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import protocol_of
from agewalk.timing.compiled import workers_are_faster
from agewalk.timing.experiment import MMUS, Experiment, ProtocolLike, Variant
from agewalk.timing.hardware.costs import CostTable
from agewalk.timing.machine import Machine
from agewalk.timing.recorder import Recorder
from agewalk.timing.threads import Thread
from agewalk.timing.workloads.arm64 import Arm64ReadLock
from agewalk.timing.workloads.host import Host, boot, build
from agewalk.timing.workloads.programs import HOST_PROGRAMS, VCPU_PROGRAMS, prepare

PS: Final = 10**12
BEGIN: Final = 2.0  # an ager begins up to so many times work.pass_overhead after the vCPUs, by seed
FULL_STAGGER: Final = 50_000_000  # ps: one vCPU thread after the other is let go, 50 us apart, before scaling

LEAST_CACHED: Final = 1024  # lines: what a CPU has touched in its last dozen faults is in its caches at any scale


@dataclass(frozen=True)
class Row:
    """The result of one variant with one number of vCPUs. Times of the whole run are those of full memory: measured * factor.

    factor: memory was divided by it. wall_s: time until the last vCPU ended. pass_whole_s: mean duration of the host threads'
    passes (aging, or eviction), as access_tracking_perf_test counts: the pass that is under way when the vCPUs end is finished
    and counts as one. pass_s: the same, but that pass counts in part, by its share before the vCPUs' end. So it does not jump
    when the number of passes changes. stall_s: a vCPU's time on lines and locks of others, mean over
    vCPUs; lock_wait_s: its part on each lock, by name. fault_ns: percentiles of one fault or touch, not scaled.
    """

    vcpus: int
    variant: str
    wall_s: float
    pass_s: float | None
    pass_whole_s: float | None
    stall_s: float
    lock_wait_s: dict[str, float]
    passes: int
    fault_p50_ns: int
    fault_p99_ns: int
    fault_max_ns: int
    mmu_lock_write_s: float
    mmu_lock_read_s: float
    mmu_lock_wait_s: float
    effects: int
    transfers: int
    seed: int
    factor: int
    counts: dict[str, int]

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def protocol_in_use(chosen: ProtocolLike) -> AgingProtocol:
    """A variant's protocol; arm64's posted one is known in this package alone."""
    return Arm64ReadLock() if chosen == Arm64ReadLock.name else protocol_of(chosen)


def scaled(costs: CostTable, experiment: Experiment, factor: int) -> CostTable:
    """The table for a run: with the experiment's own entries, and with costs of a whole pass divided by the factor."""
    own = costs.with_values(experiment.costs)
    return own.with_values(
        {
            "work.pass_overhead": own["work.pass_overhead"].value / factor,
            "work.rest_of_fault": own["work.rest_of_fault"].value / max(1, own.number("fault.other_visits")),
        }
    )


def start(
    experiment: Experiment,
    variant: Variant,
    vcpus: int,
    costs: CostTable,
    *,
    factor: int | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> tuple[Machine, Host]:
    """The machine with its threads, before it runs, and the host."""
    factor = experiment.factor_at(vcpus, factor)
    table = scaled(costs, experiment, factor)
    plan = experiment.plan
    if variant.nested_share is not None:
        plan = type(plan)(**{**asdict(plan), "nested_share": variant.nested_share})
    host = build(
        kernel=experiment.kernel,
        protocol=protocol_in_use(variant.protocol),
        vcpus=vcpus,
        pages_per_vcpu=experiment.pages(factor),
        config=MMUS[variant.mmu or experiment.mmu],
        other_lines=int(table.number("fault.other_lines")),
        other_visits=int(table.number("fault.other_visits")),
        vma_lookups=int(table.number("fault.vma_lookups")),
        plan=plan,
    )
    Direct().run(boot(host))
    if experiment.body == "touch":
        Direct().run(prepare(host))
    modified = max(1, int(table.number("cache.lines")) // factor)
    cached = max(LEAST_CACHED, modified)
    machine = Machine(
        vcpus + len(variant.host), costs=table, seed=seed, cached=cached, modified=modified, recorder=recorder
    )
    for n, vcpu in enumerate(host.kvm.vcpus):
        body = VCPU_PROGRAMS[experiment.body](host, vcpu)
        machine.spawn(f"vcpu{n}", body, cpu=n, runs=(host.kvm, host.mm), start=n * FULL_STAGGER // factor)
    for n, name in enumerate(variant.host):
        begin = int(random.Random(f"{seed} {name}").random() * BEGIN * table.ps("work.pass_overhead"))
        machine.spawn(name, HOST_PROGRAMS[name](host), cpu=vcpus + n, runs=(host.mm,), start=begin)
    return machine, host


@users_code()
def run_row(
    experiment: Experiment,
    variant: Variant,
    vcpus: int,
    costs: CostTable,
    *,
    factor: int | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
) -> Row:
    """Run a variant with a number of vCPUs."""
    machine, host = start(experiment, variant, vcpus, costs, factor=factor, seed=seed, recorder=recorder)
    machine.run()
    return measure(machine, host, variant, vcpus, experiment.factor_at(vcpus, factor), seed)


def measure(machine: Machine, host: Host, variant: Variant, vcpus: int, factor: int, seed: int) -> Row:
    """The row of a finished run."""
    guests, helpers = machine.threads[:vcpus], machine.threads[vcpus:]
    wall = max(th.ended for th in guests)
    kind = "eviction pass" if _durations(helpers, ("eviction pass",)) else "aging pass"
    passes = _durations(helpers, (kind,))
    faults = sorted(_durations(guests, ("fault", "touch")))
    lock = machine.locks.made.get(host.kvm.mmu_lock)
    waits = sum((Counter(th.waits) for th in guests), Counter[str]())

    def full(ps: float) -> float:
        return ps * factor / PS

    return Row(
        vcpus=vcpus,
        variant=variant.name,
        wall_s=full(wall),
        pass_s=full(mean_pass([(th.ended, th.durations[kind]) for th in helpers if kind in th.durations], wall))
        if passes
        else None,
        pass_whole_s=full(sum(passes) / len(passes)) if passes else None,
        stall_s=full(sum(th.stall + th.lock_wait for th in guests) / vcpus),
        lock_wait_s={name: full(waited / vcpus) for name, waited in sorted(waits.items())},
        passes=len(passes),
        fault_p50_ns=_percentile(faults, 50),
        fault_p99_ns=_percentile(faults, 99),
        fault_max_ns=_percentile(faults, 100),
        mmu_lock_write_s=full(lock.hold["write"]) if lock else 0.0,
        mmu_lock_read_s=full(lock.hold["read"]) if lock else 0.0,
        mmu_lock_wait_s=full(lock.wait) if lock else 0.0,
        effects=machine.effects,
        transfers=machine.transfers["core"] + machine.transfers["socket"],
        seed=seed,
        factor=factor,
        counts={name: n for name, n in sorted(machine.counters.items()) if n and name in COUNTED},
    )


#: Counters of a row: those in which protocols differ.
COUNTED: Final = frozenset(
    {
        "__mmu_notifier_clear_young", "__mmu_notifier_test_young", "indirect_calls", "indirect_calls_saved", "kvm_age_gfn",
        "kvm_rmap_age_gfn_range", "kvm_tdp_mmu_age_gfn_range", "lock:mmu_lock:read", "lock:mmu_lock:write",
        "lru_gen_look_around", "ptes_walked", "tlb_flushes", "tlb_ipis", "folio_referenced_one", "kvm_mmu_page_fault",
    }
)  # fmt: skip


def mean_pass(threads: list[tuple[int, list[int]]], end: int) -> float:
    """Mean pass, where the pass under way at `end` counts in part. threads: when each ended, and its passes in order. No pass
    starts after `end`, so only the last one of a thread can be under way then."""
    time = number = 0.0
    for ended, passes in threads:
        last = passes[-1]
        before = min(max(end - (ended - last), 0), last)
        time += sum(passes[:-1]) + before
        number += len(passes) - 1 + before / last
    return time / number if number else float(sum(p[-1] for _, p in threads)) / len(threads)


def _durations(threads: Iterable[Thread], names: tuple[str, ...]) -> list[int]:
    return [d for th in threads for name in names for d in th.durations.get(name, ())]


def _percentile(ordered: list[int], per_cent: int) -> int:
    return ordered[min(len(ordered) - 1, len(ordered) * per_cent // 100)] // 1000 if ordered else 0


def run_all(
    experiment: Experiment,
    costs: CostTable,
    *,
    vcpus: Iterable[int] | None = None,
    factor: int | None = None,
    seeds: Iterable[int] = (0,),
    workers: int = 1,
    done: Callable[[Row, int, int], None] | None = None,
) -> list[Row]:
    """All rows, in the file's order; the largest start first. done: called with each row, how many are done, and of how many."""
    counts = tuple(vcpus or experiment.vcpus)
    if any(n > 1023 for n in counts):
        raise UsageError("more than 1023 vCPUs", hint="such a run would take hours")
    bare = replace(experiment, variants=())  # a variant's class may be known in this process alone
    jobs = [(bare, v, n, costs, factor, seed) for n in counts for v in experiment.variants for seed in seeds]
    order = sorted(range(len(jobs)), key=lambda i: -jobs[i][2])
    rows: dict[int, Row] = {}
    for i, row in _results([jobs[i] for i in order], order, workers):
        rows[i] = row
        if done is not None:
            done(row, len(rows), len(jobs))
    return [rows[i] for i in range(len(jobs))]


def _one(job: tuple[Any, ...], _tell: Callable[[int], None] | None = None) -> Row:
    experiment, variant, vcpus, costs, factor, seed = job
    return run_row(experiment, variant, vcpus, costs, factor=factor, seed=seed)


def _results(jobs: list[tuple[Any, ...]], order: list[int], workers: int) -> Iterator[tuple[int, Row]]:
    numbered = list(zip(order, jobs, strict=True))
    movable = [(i, job) for i, job in numbered if isinstance(job[1].protocol, str)]
    if (workers <= 1 or len(movable) <= 1) and not workers_are_faster():
        movable = []
    moved = {i for i, _ in movable}
    for i, job in numbered:
        if i not in moved:
            yield i, _one(job)
    if not movable:
        return
    pool = ProcessPool(_one, movable, max(workers, 1), name=lambda job: f"{job[1].name} with {job[2]} vCPUs")
    with pool:
        yield from (result for result in pool.results() if result is not None)
