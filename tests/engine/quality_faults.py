"""One-line faults in what tells the causes apart; each must fail the case it names. Run as a module, without the compiler:

NUMBA_DISABLE_JIT=1 python -m tests.engine.quality_faults
"""

import importlib
import sys
from typing import Any, NamedTuple

from tests.engine.faults import Fault, report, seeded


class Case(NamedTuple):
    """A fault and the test of `test_quality_causes` that catches it."""

    fault: Fault
    test: str


CASES = (
    Case(Fault("quality", "and not s.space[space, at.S_ASKED]:", "and False:"), "test_old_not_consulted"),
    Case(Fault("quality", "return i64(-1) if young else i64(_FAST_ONLY)", "return i64(-1)"), "test_old_fast_only"),
    Case(Fault("quality", "where % 4 == at.WALK_BLOOM", "where % 4 == at.WALK_READ"), "test_old_bloom"),
    Case(Fault("quality", "at.M_LOOK] > used", "at.M_LOOK] < used"), "test_old_look_around"),
    Case(Fault("aging.page_table_walk", "M_WALK] = seq * 4 + WALK_IDLE", "M_WALK] = seq * 4 + WALK_READ"), "test_old_idle_entry"),
    Case(Fault("quality", "where // 4 != word[at.WALK_SEQ]", "where // 4 != 0"), "test_old_not_walked"),
    Case(Fault("quality", "at.OPENED + (seq + 1)", "at.OPENED + seq"), "test_old_sank"),
    Case(Fault("quality", "and meta & at.REFERENCED:", "and not meta:"), "test_old_first_sight"),
    Case(Fault("quality", "range(word[at.Q_ACTIVATE])", "range(1)"), "test_old_batch"),
    Case(Fault("quality", "if word[at.FEATURES] & f.WORKINGSET_PROTECTION and", "if"), "test_old_lost"),
    Case(Fault("quality", "if used >= opened:", "if used > opened + 400:"), "test_young_window"),
    Case(Fault("quality", "survived[page] = (unread + 1 if", "survived[page] = (0 if"), "test_young_not_consulted"),
    Case(Fault("quality", "return _LEFT + survived - 1", "return _LEFT + survived"), "test_young_fast_only"),
    Case(Fault("aging.page_table_walk", "M_WALK] = seq * 4 + WALK_BLOOM", "M_WALK] = seq * 4 + WALK_IDLE"), "test_young_bloom"),
    Case(Fault("aging.look_around", "M_LOOK] = word[NOW]", "M_LOOK] = 0"), "test_young_look_around"),
    Case(Fault("quality", "else i64(_IDLE)", "else i64(_BLOOM)"), "test_young_idle_entry"),
    Case(Fault("quality", "return i64(_NOT_WALKED)", "return i64(_IDLE)"), "test_young_not_walked"),
    Case(Fault("quality", "else _NOT_CLEARED - _LEFT + 1)", "else 0)"), "test_young_not_cleared"),
    Case(Fault("aging.generations", "<< GEN_SHIFT | WORKINGSET | by", "<< GEN_SHIFT | WORKINGSET"), "test_young_stale_bit"),
    Case(Fault("quality", "if latest >= opened:", "if latest > 2 * opened:"), "test_young_huge"),
    Case(Fault("eviction.shrink_folio_list", "kept_flags(word, meta) | BY_KEPT", "kept_flags(word, meta)"), "test_young_kept"),
    Case(Fault("quality", "if by == at.BY_FAULT:", "if by == at.BY_BATCH:"), "test_young_batch"),
    Case(Fault("aging.generations", "word[OPENED + word[MAX_SEQ] % N_GENS] = word[NOW]", "word[OPENED] = word[NOW]"), "test_young_bloom"),
    Case(Fault("access.mm_fault", "c.BY_REFAULTS] += 1", "c.BY_REFAULTS] += 2"), "test_events_by_region"),
)  # fmt: skip


def catches(case: Case) -> str:
    """What the named test says with the fault in place; empty if it passes."""
    with seeded(case.fault):
        tests: Any = importlib.import_module("tests.engine.test_quality_causes")
        try:
            getattr(tests, case.test)()
        except AssertionError as difference:
            return str(difference) or "fails"
    return ""


if __name__ == "__main__":
    sys.exit(report((f"{case.test}: {case.fault.before}", catches(case)) for case in CASES))
