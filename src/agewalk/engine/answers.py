"""A protocol as the engine sees it: for each question and each state of one page, an answer and what asking costs.

Three questions about one present entry of the primary page tables: `walk` (aging), `target` (the page that eviction wants),
`neighbour` (a page in the window around a young target). What the answer may depend on is a handful of bits, so a table of
3 x 256 rows holds any protocol, shipped or a user's own; the engine counts how often each row was used, and costs follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np

from agewalk.core.errors import UsageError
from agewalk.engine.jit import Array
from agewalk.engine.layout import A_PRIMARY, A_SHADOW, A_TDP, LOOK_AROUND, N_ASKS, YOUNG

Ask = Literal["walk", "target", "neighbour"]
ASKS: Final[tuple[Ask, ...]] = ("walk", "target", "neighbour")
MODES: Final = 32


class Key(NamedTuple):
    """A question and the state of the page and its host.

    tdp: the VM uses the TDP MMU; rmaps: a shadow root was ever allocated; shadow_pages: indirect_shadow_pages > 0; kvm: a VM
    maps this mm (mm_has_notifiers()); ad: SPTEs have accessed bits; primary, fast, slow: the accessed bits of the PTE, of the
    TDP MMU's SPTE and of the shadow MMU's.
    """

    ask: Ask
    tdp: bool
    rmaps: bool
    shadow_pages: bool
    kvm: bool
    ad: bool
    primary: bool
    fast: bool
    slow: bool


@dataclass(frozen=True)
class Answer:
    """What is concluded, which accessed bits are cleared, and what was counted on the way."""

    young: bool
    look_around: bool = False
    clears_primary: bool = False
    clears_fast: bool = False
    clears_slow: bool = False
    costs: Mapping[str, int] = field(default_factory=dict)


def mode_of(*, tdp: bool, rmaps: bool, shadow_pages: bool, kvm: bool, ad: bool) -> int:
    """Number of a row of eight answers."""
    return tdp | rmaps << 1 | shadow_pages << 2 | kvm << 3 | ad << 4


def encode(table: Mapping[Key, Answer]) -> tuple[Array, list[str], Array]:
    """(answers uint8[3, 256], names of costs, costs int64[3, 256, names]). Rows that the table lacks answer "old"."""
    names = sorted({name for answer in table.values() for name in answer.costs})
    ask = np.zeros((N_ASKS, MODES * 8), np.uint8)
    costs = np.zeros((N_ASKS, MODES * 8, len(names)), np.int64)
    for key, answer in table.items():
        if key.ask not in ASKS:
            raise UsageError(f"a protocol is not asked {key.ask!r}", hint=f"one of {', '.join(ASKS)}")
        mode = mode_of(tdp=key.tdp, rmaps=key.rmaps, shadow_pages=key.shadow_pages, kvm=key.kvm, ad=key.ad)
        row = mode * 8 + key.fast * A_TDP + key.slow * A_SHADOW + key.primary * A_PRIMARY
        ask[ASKS.index(key.ask), row] = (
            answer.clears_fast * A_TDP
            | answer.clears_slow * A_SHADOW
            | answer.clears_primary * A_PRIMARY
            | answer.young * YOUNG
            | answer.look_around * LOOK_AROUND
        )
        for place, name in enumerate(names):
            costs[ASKS.index(key.ask), row, place] = answer.costs.get(name, 0)
    return ask, names, costs
