"""A protocol as the engine sees it: its truth table (`agewalk.model.protocols.tables.table`) packed for look-ups.

What is asked about one page depends on a handful of bits, so 5 questions x 64 modes x 8 patterns of accessed bits hold any
protocol, shipped or a user's own. The engine counts how often each row was used, and costs follow by one product.
"""

from dataclasses import fields
from typing import Final

import numpy as np

from agewalk.engine.compiler.jit import Array
from agewalk.engine.state.layout import A_PRIMARY, A_SHADOW, A_TDP, LOOK_AROUND, N_ASKS, YOUNG
from agewalk.model.protocols.tables.table import HUGE_QUESTIONS, QUESTIONS, Costs, ProtocolTable, QuestionRow, State

MODES: Final = 64
COSTS: Final = tuple(f.name for f in fields(Costs))
ASKS: Final = (*QUESTIONS, *(f"huge_{question}" for question in HUGE_QUESTIONS))  # in the order of ASK_*

# Bits of a mode: which MMUs there are.
M_NOTIFIERS: Final = 1 << 0
M_SUBSCRIBED: Final = 1 << 1
M_AD: Final = 1 << 2
M_TDP: Final = 1 << 3
M_RMAPS: Final = 1 << 4
M_SHADOW_PAGES: Final = 1 << 5


def row_of(state: State) -> int:
    """Row of a state: its mode times eight, plus the accessed bits as `pte_bits` has them."""
    mode = (
        state.has_notifiers * M_NOTIFIERS
        | state.subscribed * M_SUBSCRIBED
        | state.ad_bits * M_AD
        | state.tdp * M_TDP
        | state.rmaps * M_RMAPS
        | state.shadow_pages * M_SHADOW_PAGES
    )
    return mode * 8 + (state.fast * A_TDP | state.slow * A_SHADOW | state.primary * A_PRIMARY)


def encode(table: ProtocolTable) -> tuple[Array, Array]:
    """(answers uint8[N_ASKS, 512], costs int64[N_ASKS, 512, COSTS]). States that cannot occur answer "old" and clear nothing."""
    ask = np.zeros((N_ASKS, MODES * 8), np.uint8)
    costs = np.zeros((N_ASKS, MODES * 8, len(COSTS)), np.int64)
    rows: list[tuple[str, QuestionRow]] = [(row.question, row) for row in table.rows]
    rows += [(f"huge_{row.question}", row) for row in table.huge]
    for question, row in rows:
        state = row.state
        alone = state.subscribed and not state.tdp  # A_TDP is the nested guest's then: one more SPTE of the shadow MMU
        patterns = {A_SHADOW, A_TDP, A_SHADOW | A_TDP} if alone and state.slow else {row_of(state) & (A_SHADOW | A_TDP)}
        for bits in patterns:
            place = ASKS.index(question), row_of(state) & ~(A_SHADOW | A_TDP) | bits
            ask[place] = (
                row.fast_cleared * A_TDP
                | row.slow_cleared * (A_SHADOW | alone * A_TDP)
                | row.primary_cleared * A_PRIMARY
                | row.young * YOUNG
                | row.look_around * LOOK_AROUND
            )
            costs[place] = [getattr(row.costs, name) for name in COSTS]
    return ask, costs
