"""A run on the compiled engine: the same host as `study.direct` builds, a thousand times as fast."""

import numpy as np
from numpy.typing import NDArray

from agewalk.core.errors import ScenarioError, UsageError
from agewalk.core.units import format_time, pages_of
from agewalk.engine.engine import Engine, HostAccesses
from agewalk.engine.state import counters as c
from agewalk.engine.state.config import Host, Space
from agewalk.model.protocols.tables.table import ProtocolTable
from agewalk.study.costs import prices
from agewalk.study.job import HOT, TICK, Bands, Job
from agewalk.study.merge_traces import Accesses
from agewalk.study.quality import aging_numbers, trimmed
from agewalk.study.result import Measured, Member

ENTRIES_READ = ("ptes_walked", "pmds_walked", "look_around_ptes", "target_questions", "huge_target_questions")


class _Engine(Engine):
    """Also adds up, at each aging, pages of each space: int64[spaces, 2], those in the two youngest generations, which is what
    MGLRU holds for in use, and those truly used within the aging interval."""

    def __init__(self, host: Host, table: ProtocolTable) -> None:
        super().__init__(host, table)
        self.working_set = np.zeros((len(host.spaces), 2), np.int64)
        self.passes = 0

    def age(self, *, force_scan: bool = True) -> bool:
        """The '+' command."""
        done = super().age(force_scan=force_scan)
        self.working_set += self.by_space()[:, [c.YOUNG, c.USED]]
        self.passes += 1
        return done


class CompiledRunner:
    """`agewalk.engine.Engine`, fed with the merged stream."""

    def __init__(self, job: Job) -> None:
        self.job = job
        policy = job.policy
        assert policy.table is not None, "a policy that runs no kernel has a runner of its own"
        host = Host(
            spaces=[
                Space(
                    space.name,
                    space.pages,
                    kvm=bool(space.mmu),
                    tdp=space.mmu == "tdp",
                    shadow=space.mmu == "shadow",
                    ad_bits=space.ad_bits,
                    huge=space.huge,
                )
                for space in job.spaces
            ],
            memory_pages=pages_of(job.memory),
            features=policy.features,
            age_every_ns=job.scenario.aging.every or 0,
            hot_after_ns=HOT,
            cold_after_ns=job.interval_ns,
            tick_ns=TICK,
            folio_batch_size=policy.kernel.mm.folio_batch_size,
            policy="two-list" if policy.baseline else "mglru",
            regions=Bands(job.spaces).most,
        )
        self.engine = _Engine(host, policy.table)

    def feed(self, rows: Accesses) -> None:
        """Take the next accesses."""
        batch = HostAccesses(rows.time_ns, rows.space, rows.page.astype(np.uint32), rows.write, rows.context)
        before = int(self.engine.state.counts[c.ACCESSES])
        try:
            self.engine.feed(batch)
        except UsageError as error:
            raise self._refused(error, rows, int(self.engine.state.counts[c.ACCESSES]) - before) from None

    def _refused(self, error: UsageError, rows: Accesses, at: int) -> ScenarioError:
        """The engine names rows of a batch, which is of several traces: the member and its trace say more. at: the row."""
        member = self.job.scenario.members[int(rows.space[at])]
        what = str(error).partition(": ")[2] or str(error)
        moment = format_time(int(rows.time_ns[at]))
        return ScenarioError(f"{member.name} ({member.trace_name}), {moment} after the start: {what}", hint=error.hint)

    def bands(self) -> NDArray[np.int64]:
        """So far."""
        found: NDArray[np.int64] = self.engine.state.by_region[:, [c.BY_REFAULTS, c.BY_EVICTIONS, c.LISTED, c.YOUNG]]
        return found

    def finish(self) -> Measured:
        """The numbers of the whole run."""
        result = self.engine.result()
        counts, costs, quality = result.counts, result.costs, result.quality
        passes = self.engine.passes
        cost = prices(self.job.scenario.host.swap)
        return Measured(
            accesses=result.accesses,
            faults=result.faults,
            refaults=result.refaults,
            evictions=result.evictions,
            hot_evictions=result.hot_evictions,
            vms=[
                Member(s.name, s.resident_pages, s.refaults, s.evictions, *(int(n) // passes for n in sums if passes))
                for s, sums in zip(result.spaces, self.engine.working_set, strict=True)
            ],
            cold_recall=quality.recall if quality else None,
            cold_precision=quality.precision if quality else None,
            age_rank_correlation=quality.rank_correlation if quality else None,
            ptes_walked=sum(counts[name] for name in ENTRIES_READ),
            notifier_calls=costs["notifier_calls"],
            mmu_lock_write_ns=cost.mmu_lock_write(costs["mmu_lock_write"]),
            vcpu_stall_ns=cost.vcpu_stall(
                kvm_faults=counts["spte_faults"], refaults=result.refaults, swap_writes=counts["swap_writes"]
            ),
            aging=aging_numbers(quality),
            refault_intervals=trimmed(result.refault_intervals),
        )
