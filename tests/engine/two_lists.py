"""The conformance kit for the classic lists: both readings of a host with MGLRU switched off."""

from typing import Any

import numpy as np
from tests.engine.conformance import Twin, members

from agewalk.engine.state import layout as at
from agewalk.model.machine.classic_host import TwoListMachine
from agewalk.model.mm.folio import PG_ACTIVE, PG_LRU


class ListTwin(Twin):
    """Compared are, of every page, its flags, its list and its accessed bits; the order of both lists; the clock of refault
    distances, the cost of reclaim, activations now and when reclaim last ended; free frames; and counts."""

    kind = TwoListMachine
    policy = "two-list"

    def theirs(self) -> dict[str, Any]:
        """The direct reading's state as plain values."""
        both = super().theirs()
        assert isinstance(self.machine, TwoListMachine)
        lists = self.machine.lists
        inactive, active = lists.lists[0]
        for page in both["pages"]:
            assert page.seq in (None, -1)
        folios: list[Any] = [*inactive.items, *active.items]
        flags = [folio.flags.value for folio in folios]
        assert all(flag & PG_LRU for flag in flags)
        return {
            **_shared(both),
            "inactive": [self._place(f) for f in inactive.items],
            "active": [self._place(f) for f in active.items],
            "flags": [bool(flag & PG_ACTIVE) for flag in flags],
            "sizes": [int(size.value) for size in lists.sizes[0]],
            "clock": int(lists.nonresident_age.value),
            "cost": int(lists.cost[0].value),
            "activations": (int(lists.activations[0].value), int(lists.refaults[0].value)),
        }

    def _place(self, folio: Any) -> Any:
        """(space, page) of a mapped folio."""
        for mm, hva in folio.mappings.value:
            for i, process in enumerate(self.processes):
                if process.mm is mm:
                    return i, process.page(hva)
        return "unmapped"

    def ours(self) -> dict[str, Any]:
        """The engine's."""
        s, word = self.engine.state, self.engine.state.word
        both = super().ours()
        both["pages"] = [page if page.seq in (None, -1) else page._replace(seq=-1) for page in both["pages"]]
        inactive = members(s, at.LIST_INACTIVE)
        active = members(s, at.LIST_ACTIVE)
        return {
            **_shared(both),
            "inactive": [self._folio(f) for f in inactive],
            "active": [self._folio(f) for f in active],
            "flags": [bool(s.folios[f, at.META] & at.ACTIVE) for f in inactive + active],
            "sizes": [int(word[at.NR_INACTIVE]), int(word[at.NR_ACTIVE])],
            "clock": int(word[at.T_AGE]),
            "cost": int(word[at.T_COST]),
            "activations": (int(word[at.T_ACTIVATIONS]), int(word[at.T_REFAULTS])),
        }

    def _folio(self, folio: int) -> Any:
        s = self.engine.state
        if not s.folios[folio, at.META] & at.MAPPED:
            return "unmapped"
        firsts = s.space[:, at.S_FIRST]
        space = int(np.searchsorted(firsts, folio, side="right")) - 1
        return space, folio - int(firsts[space])


def _shared(both: dict[str, Any]) -> dict[str, Any]:
    return {
        name: both[name]
        for name in (
            "pages",
            "young",
            "guest",
            "shadow_pages",
            "free",
            "faults",
            "ptes_walked",
            "notifier_calls",
            "kswapd_runs",
        )
    }
