"""Where two protocols disagree, and what that means for the page. Works on tables alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from agewalk.model.protocols.tables.table import AgeRow, Costs, ProtocolTable, QuestionRow, State

_ASKER: Final = {
    "walk": "A page-table walk (aging)",
    "target": "Eviction",
    "neighbour": "Look-around at a neighbour",
}
_ANSWERS: Final = ("young", "look_around", "primary_cleared", "fast_cleared", "slow_cleared")
_COSTS: Final = ("mmu_lock_write", "notifier_calls", "indirect_calls", "tlb_flushes")


@dataclass(frozen=True)
class Difference:
    """One state of one question in which two protocols part ways. asked: what was the same; a, b: what was not."""

    question: str
    asked: dict[str, bool | str]
    a: dict[str, Any]
    b: dict[str, Any]
    meaning: str

    def to_json(self) -> dict[str, Any]:
        """For `agewalk protocol diff --json`."""
        return {"question": self.question, **self.asked, "a": self.a, "b": self.b, "meaning": self.meaning}


def who_used(*, primary: bool, fast: bool, slow: bool, tdp: bool) -> str:
    """Whose access the bits are about, as the start of a sentence."""
    nested = "a nested guest" if tdp else "the guest"
    users = [name for name, used in (("the process", primary), ("the guest", fast), (nested, slow)) if used]
    if not users:
        return "Nobody"
    text = " and ".join(users) if len(users) < 3 else f"{users[0]}, {users[1]} and {users[2]}"
    return text[0].upper() + text[1:]


def question_differences(a: ProtocolTable, b: ProtocolTable) -> list[Difference]:
    """Disagreements over the three questions of MGLRU, with A/D bits: the ones that decide a page's fate."""
    other = {(r.question, r.state): r for r in b.rows}
    found = []
    for mine in a.rows:
        theirs = other.get((mine.question, mine.state))
        if theirs is None or (not mine.state.ad_bits and mine.state.subscribed):
            continue
        said, heard = _visible(mine), _visible(theirs)
        differing = [k for k in said if said[k] != heard[k]]
        if not any(k in _ANSWERS for k in differing):
            continue
        found.append(
            Difference(
                mine.question,
                _asked(mine.state),
                {k: said[k] for k in differing},
                {k: heard[k] for k in differing},
                _meaning(mine, theirs, a.name, b.name),
            )
        )
    return found


def age_differences(a: ProtocolTable, b: ProtocolTable) -> list[Difference]:
    """Disagreements over one call of a notifier operation (rows of `agewalk protocol table` that both protocols have)."""
    other = {r.key: r for r in b.age}
    found = []
    for mine in a.age:
        theirs = other.get(mine.key)
        if theirs is None:
            continue
        said, heard = mine.to_json(), theirs.to_json()
        asked = {"tdp", "rmaps", "shadow_pages", "fast", "slow", "op", "fast_only"}
        differing = [k for k in said if k not in asked and said[k] != heard[k]]
        if differing:
            question = mine.op + (", fast only" if mine.fast_only else "")
            found.append(
                Difference(
                    question,
                    {k: said[k] for k in said if k in asked},
                    {k: said[k] for k in differing},
                    {k: heard[k] for k in differing},
                    _age_meaning(mine, theirs, a.name, b.name),
                )
            )
    return found


def _visible(row: QuestionRow) -> dict[str, Any]:
    return {**{k: getattr(row, k) for k in _ANSWERS}, **{k: getattr(row.costs, k) for k in _COSTS}}


def _asked(state: State) -> dict[str, bool | str]:
    names = ("has_notifiers", "subscribed", "tdp", "rmaps", "shadow_pages", "primary", "fast", "slow")
    return {n: getattr(state, n) for n in names}


def _meaning(a: QuestionRow, b: QuestionRow, name_a: str, name_b: str) -> str:
    """One sentence: what the stronger difference does to the page."""
    used = who_used(primary=a.state.primary, fast=a.state.fast, slow=a.state.slow, tdp=a.state.tdp)
    if a.young != b.young:
        yes, no = (name_a, name_b) if a.young else (name_b, name_a)
        fate = {
            "walk": f"{yes} moves it to the youngest generation, under {no} it goes on growing old",
            "target": f"{yes} keeps it, {no} takes it, so that its next use is a refault",
            "neighbour": f"{yes} saves it together with its neighbour, under {no} it waits for its own turn to be judged",
        }[a.question]
        return f"{used} used the page: {fate}."
    if a.look_around != b.look_around:
        yes, no = (name_a, name_b) if a.look_around else (name_b, name_a)
        return (
            f"{used} used the page and both keep it, but only {yes} looks at its neighbours; under {no} up to "
            "63 pages that were probably used with it are each judged on their own."
        )
    left = [(w, getattr(a, f"{k}_cleared"), getattr(b, f"{k}_cleared")) for w, k in _BITS]
    word, in_a, in_b = next((entry for entry in left if entry[1] != entry[2]), left[0])
    clears, keeps = (name_a, name_b) if in_a else (name_b, name_a)
    return (
        f"{_ASKER[a.question]} under {keeps} leaves {word} set, so that whoever reads it next takes this "
        f"access for a new one; {clears} clears it."
        if in_a != in_b
        else "Same answer and same bits; the cost differs."
    )


_BITS: Final = (
    ("the process's accessed bit", "primary"),
    ("the TDP MMU's accessed bit", "fast"),
    ("the shadow MMU's accessed bit", "slow"),
)


def _age_meaning(a: AgeRow, b: AgeRow, name_a: str, name_b: str) -> str:
    used = who_used(primary=False, fast=a.fast, slow=a.slow, tdp=a.tdp)
    if a.skipped != b.skipped:
        skips, asks = (name_a, name_b) if a.skipped else (name_b, name_a)
        return f"{skips} does not call the subscriber at all, {asks} does: one indirect call less, and no answer."
    if a.young != b.young:
        yes, no = (name_a, name_b) if a.young else (name_b, name_a)
        why = " (it says that it failed)" if "FAST_FAILED" in (a.flags if no == name_a else b.flags) else ""
        return f"{used} used the page: {yes} says so, {no} calls it old{why}."
    for word, bit in (("TDP MMU", "fast_cleared"), ("shadow MMU", "slow_cleared")):
        in_a, in_b = getattr(a, bit), getattr(b, bit)
        if in_a != in_b:
            clears, keeps = (name_a, name_b) if in_a else (name_b, name_a)
            return f"{clears} clears the {word}'s accessed bit, {keeps} leaves it set for whoever asks next."
    if a.locked != b.locked:
        takes, not_ = (name_a, name_b) if a.locked else (name_b, name_a)
        return f"Same answer, but {takes} takes mmu_lock for write, so that faulting vCPUs wait; {not_} does not."
    if ("FAST_FAILED" in a.flags) != ("FAST_FAILED" in b.flags):
        fails, answers = (name_a, name_b) if "FAST_FAILED" in a.flags else (name_b, name_a)
        return f"{fails} says that it failed, so that its caller asks again the slow way; {answers} has answered."
    return (
        f"Same answer and same bits; the caller is told {_words(a)} by {name_a} and {_words(b)} by {name_b}, which decides "
        "whether it looks around."
    )


def _words(row: AgeRow) -> str:
    return ", ".join(row.flags) or "nothing more"


def cost_summary(table: ProtocolTable) -> dict[str, dict[str, float]]:
    """Mean costs of each question over all states with a VM subscribed and A/D bits: for people, to compare by eye."""
    names = [f for f in Costs.__slots__ if f in {*_COSTS, "indirect_calls_saved"}]
    result = {}
    for question in ("walk", "target", "neighbour"):
        rows = [r for r in table.rows if r.question == question and r.state.subscribed and r.state.ad_bits]
        result[question] = {n: sum(getattr(r.costs, n) for r in rows) / len(rows) for n in names}
    return result
