"""Is the model's story the kernel's story? Three readings of "the same", from the core outward (docs/witness.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agewalk.study.witness.file import Observation, Recording, Step, Witness
from agewalk.study.witness.replay import Shown, replay

EQUAL_FIELDS: Final = ("seq", "swapped", "referenced", "workingset", "refs")
EQUAL_CALLS: Final = (
    "__mmu_notifier_clear_young",
    "__mmu_notifier_clear_flush_young",
    "kvm_mmu_notifier_clear_young",
    "kvm_mmu_notifier_clear_flush_young",
    "kvm_mmu_notifier_test_young",
    "kvm_age_gfn",
    "kvm_tdp_mmu_age_gfn_range",
    "kvm_rmap_age_gfn_range",
    "lru_gen_look_around",
    "folio_referenced_one",
)
SHOWN: Final = 20


@dataclass(frozen=True)
class Mismatch:
    """One place where the model says `got` and the kernel said `expected`. page: None for what is not a page's."""

    step: int
    field: str
    page: int | None
    expected: Any
    got: Any


@dataclass(frozen=True)
class FileVerdict:
    """The three verdicts on one file, and where they fail. steps: compared; pages: per step."""

    file: str
    equal: bool
    counts_equal: bool
    calls_equal: bool
    steps: int
    pages: int
    mismatches: list[Mismatch] = field(default_factory=list)
    call_mismatches: list[Mismatch] = field(default_factory=list)
    count_mismatches: list[Mismatch] = field(default_factory=list)


def verify(witness: Witness) -> FileVerdict:
    """Run the model through a witness.

    First reclaim decides for itself. Only where it settles for other numbers than the kernel did is there a second run, in
    which the recording gives the numbers: where they agree, the two runs are one.
    """
    decided = list(replay(witness, given=False))
    own = _best(witness, decided, compare_state)
    given = decided
    if any(m.field == "reclaimed_pages" for m in own):
        given = list(replay(witness, given=True))
    state = own if given is decided else _best(witness, given, compare_state)
    calls = _best(witness, given, compare_calls)
    return FileVerdict(
        file=str(witness.path),
        equal=not state,
        counts_equal=not own,
        calls_equal=not calls,
        steps=len(witness.steps),
        pages=witness.pages,
        mismatches=state,
        call_mismatches=calls,
        count_mismatches=own,
    )


def verify_job(witness: Witness, _tell: Callable[[int], None]) -> FileVerdict:
    """`verify`, as a process pool calls it."""
    return verify(witness)


def _best(witness: Witness, shown: list[Shown], compare: Any) -> list[Mismatch]:
    """Mismatches with the recording that fits best: an unstable file is met by either of its two."""
    found: list[list[Mismatch]] = [compare(witness, recording, shown) for recording in witness.recordings]
    return min(found, key=len)


def compare_state(witness: Witness, recording: Recording, shown: list[Shown]) -> list[Mismatch]:
    """Pages, generations, order of eviction and answers of commands."""
    out: list[Mismatch] = []
    for number, (step, seen, model) in enumerate(zip(witness.steps, recording, shown, strict=True)):
        if "ret" in step and step["ret"] != model.ret:
            out.append(Mismatch(number, "ret", None, step["ret"], model.ret))
        if seen is not None:
            out.extend(_compare_step(number, step, seen, model))
    return out


def _compare_step(number: int, step: Step, seen: Observation, model: Shown) -> Iterable[Mismatch]:
    if seen.max_seq != model.max_seq:
        yield Mismatch(number, "max_seq", None, seen.max_seq, model.max_seq)
    if seen.min_seq != model.min_seq:
        yield Mismatch(number, "min_seq", None, list(seen.min_seq), list(model.min_seq))
    for name in EQUAL_FIELDS:
        for page, (expected, view) in enumerate(zip(seen.pages[name], model.pages, strict=True)):
            got = getattr(view, name)
            if expected != got:
                yield Mismatch(number, name, page, expected, got)
    if step["op"] in {"reclaim", "evict_cmd"}:
        order = seen.order.get("unmap_order", [])
        if len(order) != len(model.taken):
            yield Mismatch(number, "reclaimed_pages", None, len(order), len(model.taken))
        for expected, got in zip(order, model.taken, strict=False):
            if expected != got:
                yield Mismatch(number, "unmap_order", expected, expected, got)
                break


def compare_calls(witness: Witness, recording: Recording, shown: list[Shown]) -> list[Mismatch]:
    """How often the functions that matter ran in each step, where they were counted."""
    names = [name for name in EQUAL_CALLS if name in witness.counted]
    return [
        Mismatch(number, name, None, seen.calls.get(name, 0), model.calls[name])
        for number, (seen, model) in enumerate(zip(recording, shown, strict=True))
        if seen is not None
        for name in names
        if seen.calls.get(name, 0) != model.calls[name]
    ]


def as_json(verdict: FileVerdict) -> dict[str, Any]:
    """One element of `files`, as docs/witness.md has it."""
    failed = verdict.mismatches or verdict.call_mismatches or verdict.count_mismatches
    return {
        "file": verdict.file,
        "equal": verdict.equal,
        "counts_equal": verdict.counts_equal,
        "calls_equal": verdict.calls_equal,
        "steps": verdict.steps,
        "pages": verdict.pages,
        "mismatches": [
            {"step": m.step, "field": m.field, "page": m.page, "expected": m.expected, "got": m.got}
            for m in failed[:SHOWN]
        ],
    }
