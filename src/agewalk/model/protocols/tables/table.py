"""A protocol as a truth table: what it answers, clears and costs, for every state that a page can be in.

`enumerate.py` fills these in by running the protocol; the compiled engine looks them up. Core alone is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

from agewalk.core.errors import InputError

SCHEMA: Final = 1
QUESTIONS: Final = ("walk", "target", "neighbour")
HUGE_QUESTIONS: Final = ("walk", "target")  # a look-around sees small entries alone
Question = Literal["walk", "target", "neighbour"]


class State(NamedTuple):
    """What a question about one 4 KiB page depends on.

    has_notifiers: mm_has_notifiers(), true for ever once a VM has subscribed. subscribed: a VM is subscribed now; the
    rest is about it and False without. ad_bits: its SPTEs have hardware A/D bits. tdp: tdp_mmu_enabled. rmaps:
    shadow_root_allocated. shadow_pages: indirect_shadow_pages > 0. primary: the process's entry is young. fast: a TDP MMU
    SPTE is young. slow: a shadow MMU SPTE is young.
    """

    has_notifiers: bool
    subscribed: bool
    ad_bits: bool
    tdp: bool
    rmaps: bool
    shadow_pages: bool
    primary: bool
    fast: bool
    slow: bool

    @property
    def code(self) -> int:
        """The state as an index: field i is bit i."""
        return sum(bit << i for i, bit in enumerate(self))


STATE_CODES: Final = 1 << len(State._fields)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one question did, in counts.

    notifier_calls: calls of a __mmu_notifier_* young function. indirect_calls: subscribers called through a pointer.
    indirect_calls_saved: subscribers left out because they did not opt in. mmu_lock_write, mmu_lock_read: acquisitions.
    rmap_locks: non-empty rmap chains taken by their bit lock. age_gfn: kvm_age_gfn() and kvm_test_age_gfn().
    tdp_walks, rmap_walks: calls into the TDP MMU and the shadow MMU. tlb_flushes: remote flushes.
    """

    notifier_calls: int = 0
    indirect_calls: int = 0
    indirect_calls_saved: int = 0
    mmu_lock_write: int = 0
    mmu_lock_read: int = 0
    rmap_locks: int = 0
    age_gfn: int = 0
    tdp_walks: int = 0
    rmap_walks: int = 0
    tlb_flushes: int = 0


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """One question in one state. young: used since it was last asked (`referenced` for a target). look_around: are the
    neighbours looked at (target only). *_cleared: the bit was set before and is clear after."""

    question: Question
    state: State
    young: bool
    look_around: bool
    primary_cleared: bool
    fast_cleared: bool
    slow_cleared: bool
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        """As a plain dictionary; costs of nothing are left out."""
        return {
            **asdict(self), "state": self.state._asdict(), "costs": {k: v for k, v in asdict(self.costs).items() if v}
        }  # fmt: skip

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> QuestionRow:
        """What `to_json` wrote."""
        return cls(**{**row, "state": State(**row["state"]), "costs": Costs(**row["costs"])})


@dataclass(frozen=True, slots=True, order=True)
class AgeRow:
    """One call of a young operation of the mmu notifiers: `agewalk protocol table` (docs/protocols.md).

    op: "test" or "clear". young: bit 0 of the answer. flags: the protocol's own words in it. locked: mmu_lock was taken
    for write. skipped: the subscriber was not called.
    """

    tdp: bool
    rmaps: bool
    shadow_pages: bool
    fast: bool
    slow: bool
    op: str
    fast_only: bool
    young: bool
    flags: tuple[str, ...]
    locked: bool
    fast_cleared: bool
    slow_cleared: bool
    skipped: bool

    @property
    def key(self) -> tuple[bool | str, ...]:
        """The asked part of the row."""
        return (self.tdp, self.rmaps, self.shadow_pages, self.fast, self.slow, self.op, self.fast_only)

    def to_json(self) -> dict[str, Any]:
        """As in the JSON of `agewalk protocol table`."""
        return {**asdict(self), "flags": list(self.flags)}


@dataclass(frozen=True)
class ProtocolTable:
    """Everything about a protocol that does not depend on who runs when.

    name: with options. age: rows of the notifier operations, for SPTEs with A/D bits. rows: all questions in all states.
    features: MGLRU features that the protocol brings along. huge: "walk" and "target" about an entry that maps 2 MiB, of
    which fast and slow SPTEs are young if any in the range is; some protocols answer otherwise there (v5).
    """

    name: str
    age: tuple[AgeRow, ...]
    rows: tuple[QuestionRow, ...]
    features: tuple[tuple[str, Any], ...] = ()
    huge: tuple[QuestionRow, ...] = ()

    def lookup(self, question: Question) -> list[QuestionRow | None]:
        """Rows of one question by `State.code`; None where a state cannot occur."""
        table: list[QuestionRow | None] = [None] * STATE_CODES
        for row in self.rows:
            if row.question == question:
                table[row.state.code] = row
        return table

    def lookaround(self) -> list[dict[str, bool]]:
        """Rows of `agewalk protocol lookaround`: the target of an eviction, a VM subscribed, A/D bits."""
        names = ("tdp", "rmaps", "shadow_pages", "primary", "fast", "slow")
        return [
            {**{n: getattr(r.state, n) for n in names}, "referenced": r.young, "look_around": r.look_around}
            for r in self.rows
            if r.question == "target" and r.state.subscribed and r.state.ad_bits
        ]

    def to_json(self) -> dict[str, Any]:
        """The whole table as one JSON document, read back by `from_json`."""
        return {
            "schema": SCHEMA,
            "protocol": self.name,
            "features": dict(self.features),
            "rows": [r.to_json() for r in self.age],
            "questions": [r.to_json() for r in self.rows],
            "huge_questions": [r.to_json() for r in self.huge],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ProtocolTable:
        """The table that `to_json` wrote. Raises InputError for another schema or a document that is none."""
        if document.get("schema") != SCHEMA:
            raise InputError(
                f"protocol table has schema {document.get('schema')!r}, this agewalk reads {SCHEMA}",
                hint="write it again with `agewalk protocol table NAME --engine --json`",
            )
        try:
            return cls(
                document["protocol"],
                tuple(AgeRow(**{**r, "flags": tuple(r["flags"])}) for r in document["rows"]),
                tuple(QuestionRow.from_json(r) for r in document["questions"]),
                tuple(document["features"].items()),
                tuple(QuestionRow.from_json(r) for r in document["huge_questions"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"not a protocol table: {error}", hint="was it written by `agewalk protocol table --engine --json`?"
            ) from error


def states(*, ad_bits: Iterable[bool] = (True, False)) -> list[State]:
    """Every state that can occur, in order.

    Left out, because they cannot be: a VM that is subscribed to an mm without notifiers; anything about a VM where none
    is; shadow_pages without rmaps (the first shadow root allocates rmaps before it has a page); fast without tdp; slow
    with tdp but without shadow_pages (with the TDP MMU on, shadow SPTEs live only in tables that shadow guest tables, and
    those are counted). Without tdp, slow occurs in all three: a guest's direct shadow pages are not counted.
    """
    found = []
    for primary in (False, True):
        found += [State(n, False, False, False, False, False, primary, False, False) for n in (False, True)]
        for ad in ad_bits:
            for tdp in (False, True):
                for rmaps, shadow_pages in ((False, False), (True, False), (True, True)):
                    for fast in (False, True) if tdp else (False,):
                        for slow in (False, True) if shadow_pages or not tdp else (False,):
                            found.append(State(True, True, ad, tdp, rmaps, shadow_pages, primary, fast, slow))
    return sorted(found)
