"""A run on the compiled engine: the same host as `study.direct` builds, a thousand times as fast."""

from dataclasses import asdict

import numpy as np

from agewalk.core.units import pages_of
from agewalk.engine.config import Host, Space
from agewalk.engine.host import Batch, Engine
from agewalk.model.protocols.enumerate import protocol_table
from agewalk.study.costs import prices
from agewalk.study.merge import Accesses
from agewalk.study.outcome import Measured, Member
from agewalk.study.policies import kernel_of
from agewalk.study.setup import TICK, Job


class CompiledRunner:
    """`agewalk.engine.Engine`, fed with the merged stream."""

    def __init__(self, job: Job) -> None:
        self.job = job
        profile, protocol = kernel_of(job)
        features = {**asdict(profile.mm), **asdict(protocol.kvm_features(profile.kvm)), **asdict(profile.mglru)}
        host = Host(
            spaces=[
                Space(
                    space.name,
                    space.pages,
                    kvm=bool(space.mmu),
                    tdp=space.mmu == "tdp",
                    shadow=space.mmu == "shadow",
                    ad_bits=space.ad_bits,
                )
                for space in job.spaces
            ],
            memory_pages=pages_of(job.memory),
            features=features,
            age_every_ns=job.scenario.aging.every or 0,
            hot_after_ns=job.interval_ns,
            cold_after_ns=job.interval_ns,
            tick_ns=TICK,
            folio_batch_size=profile.mm.folio_batch_size,
        )
        self.engine = Engine(host, protocol_table(protocol))

    def feed(self, rows: Accesses) -> None:
        """Take the next accesses."""
        self.engine.feed(Batch(rows.time_ns, rows.space, rows.page.astype(np.uint32), rows.write, rows.context))

    def refaults(self) -> list[int]:
        """So far, of each member."""
        from agewalk.engine.counters import BY_REFAULTS

        return [int(n) for n in self.engine.state.by_space[:, BY_REFAULTS]]

    def finish(self) -> Measured:
        """The numbers of the whole run."""
        result = self.engine.result()
        counts, costs, quality = result.counts, result.costs, result.quality
        cost = prices(self.job.scenario.host.swap)
        return Measured(
            accesses=result.accesses,
            faults=result.faults,
            refaults=result.refaults,
            evictions=result.evictions,
            hot_evictions=result.hot_evictions,
            vms=[Member(s.name, s.resident_pages, s.refaults, s.evictions) for s in result.spaces],
            cold_recall=quality.recall if quality else None,
            cold_precision=quality.precision if quality else None,
            age_rank_correlation=quality.rank_correlation if quality else None,
            ptes_walked=counts["ptes_walked"] + counts["look_around_ptes"] + counts["target_questions"],
            notifier_calls=costs["notifier_calls"],
            mmu_lock_write_ns=cost.mmu_lock_write(costs["mmu_lock_write"]),
            vcpu_stall_ns=cost.vcpu_stall(
                kvm_faults=counts["spte_faults"], refaults=result.refaults, swap_writes=counts["swap_writes"]
            ),
        )
