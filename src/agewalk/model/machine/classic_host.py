"""The same host with MGLRU switched off (mm/vmscan.c, lru_gen disabled), on the direct executor: the baseline "two-list"."""

from agewalk.core.effects import Again, Count, Load, Step
from agewalk.model.classic_lru.lists import TwoListLruvec
from agewalk.model.classic_lru.reclaim import (
    do_try_to_free_pages,
    inactive_is_low,
    prepare_scan_control,
    shrink_active_list,
    shrink_lruvec,
)
from agewalk.model.machine import Machine
from agewalk.model.mglru.aging.generations import DEF_PRIORITY, SWAP_CLUSTER_MAX
from agewalk.model.mglru.eviction.scan_control import ScanControl
from agewalk.model.mm.folio import ANON
from agewalk.model.mm.mm_types import Lruvec


class TwoListMachine(Machine):
    """A host whose pages are on an active and an inactive list. Nothing ages them but reclaim."""

    lists: TwoListLruvec

    def _lru(self) -> Lruvec:
        self.lists = TwoListLruvec("lruvec", protocol=self.protocol)
        return self.lists

    def _direct_reclaim(self, pages: int) -> Step[int]:
        """try_to_free_pages()."""
        yield Count("try_to_free_pages")
        sc = ScanControl(
            self.ops, swappiness=self.swappiness, nr_to_reclaim=max(pages, SWAP_CLUSTER_MAX), target_memcg=False
        )
        return (yield from do_try_to_free_pages(self.lists, sc))

    def _reclaim_memcg(self, pages: int) -> Step[int]:
        """try_to_free_mem_cgroup_pages()."""
        yield Count("try_to_free_mem_cgroup_pages")
        sc = ScanControl(self.ops, swappiness=self.swappiness, nr_to_reclaim=max(pages, SWAP_CLUSTER_MAX))
        return (yield from do_try_to_free_pages(self.lists, sc))

    def _after(self) -> None:
        if self.memory.kswapd_woken.value:
            self.memory.kswapd_woken.value = False
            self.cpu.run(self._balance())

    def _balance(self) -> Step[None]:
        """balance_pgdat(), as agewalk.model.machine.pressure does it for MGLRU."""
        yield Count("balance_pgdat")
        memory = self.memory
        sc = ScanControl(self.ops, swappiness=self.swappiness, target_memcg=False, kswapd=True)
        while sc.priority > 0 and (yield Load(memory.free)) <= memory.high:
            sc.nr_to_reclaim = max(memory.high, SWAP_CLUSTER_MAX)
            sc.nr_scanned = 0
            before = sc.nr_reclaimed
            if (yield from inactive_is_low(self.lists, ANON)):  # kswapd_age_node()
                yield from shrink_active_list(self.lists, sc, ANON, SWAP_CLUSTER_MAX)
            balance = yield from prepare_scan_control(self.lists, sc, force_deactivate=False)
            yield from shrink_lruvec(self.lists, sc, balance)
            if sc.nr_scanned < sc.nr_to_reclaim or sc.nr_reclaimed == before:
                sc.priority -= 1
            if sc.priority < 1 and sc.nr_reclaimed and (yield Load(memory.free)) <= memory.high:
                sc.priority, sc.nr_reclaimed = DEF_PRIORITY, 0
            yield Again("balance_pgdat", sc.priority, sc.nr_reclaimed)
