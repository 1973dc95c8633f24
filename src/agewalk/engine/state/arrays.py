"""The arrays of one host."""

from typing import NamedTuple

from agewalk.engine.compiler.jit import Array
from agewalk.engine.compiler.state_types import one_argument


@one_argument
class State(NamedTuple):
    """Everything that a run changes. Shapes and columns: `agewalk.engine.state.layout`."""

    pte_bits: Array  # uint8[pages]
    folios: Array  # int32[pages, 2]
    used_at: Array  # int32[pages]: tick of the last access
    evicted_at: Array  # int32[pages]: tick of the eviction, if EVICTED
    shadow_rest: Array  # uint16[pages]: of the classic lists' shadow entries, what SHADOW has no room for (else [1])
    queue: Array  # int32[segments * SEGMENT + SPARE]: lists
    after: Array  # int32[segments]: which segment follows in a list
    word: Array  # int64[N_WORDS]
    space: Array  # int64[spaces, S_COLUMNS]
    pmd: Array  # int32[pmds, M_COLUMNS]
    ask: Array  # uint8[N_ASKS, modes * 8]: the protocol
    asked: Array  # int64[N_ASKS, modes * 8]: how often each answer was given; costs follow from it
    bloom: Array  # uint8[2, 32768]
    counts: Array  # int64[counters]
    by_region: Array  # int64[regions, N_BY_REGION]: regions of the first space, of the second ...
    listed: Array  # uint64[2]: 64 pages each, which are mapped and on a list; which 64, is in LISTED
    intervals: Array  # int64[64]: refaults by the bit length of the ticks that the page was away
