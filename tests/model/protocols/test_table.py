"""The tables as data: which states there are, what each costs, JSON and back."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from agewalk.core.effects import Acquire, Step
from agewalk.core.errors import InputError, ModelError
from agewalk.model.kvm.kvm_host import Kvm
from agewalk.model.kvm.memslots import GfnRange
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import PROTOCOLS, get_protocol
from agewalk.model.protocols.tables.enumerate import ELSEWHERE, age_rows, protocol_table, question_row
from agewalk.model.protocols.tables.table import QUESTIONS, STATE_CODES, ProtocolTable, State, states


def test_states_are_those_that_can_occur() -> None:
    found = states()
    assert len(found) == 2 * (2 + 2 * 14)
    assert len({s.code for s in found}) == len(found)
    assert found == sorted(found)
    for s in found:
        assert s.has_notifiers >= s.subscribed
        assert s.rmaps >= s.shadow_pages
        assert s.tdp >= s.fast
        assert not (s.slow and s.tdp and not s.shadow_pages)
    assert {s.slow for s in found if s.subscribed and not s.tdp and not s.rmaps} == {False, True}


def state(**bits: bool) -> State:
    fields = dict.fromkeys(State._fields, False) | {"has_notifiers": True, "subscribed": True, "ad_bits": True}
    return State(**{**fields, **bits})


@pytest.mark.parametrize(
    ("name", "question", "bits", "expected"),
    [
        # up to 6.12 a walk asks nobody; eviction takes mmu_lock and, if KVM was young, flushes
        ("linux-6.9", "walk", {"tdp": True, "fast": True}, {}),
        ("linux-6.9", "target", {"tdp": True, "fast": True},
         {"notifier_calls": 1, "indirect_calls": 1, "mmu_lock_write": 1, "age_gfn": 1, "tdp_walks": 1, "tlb_flushes": 1}),
        ("linux-6.13", "walk", {"tdp": True}, {"notifier_calls": 1, "indirect_calls": 1, "mmu_lock_write": 1, "age_gfn": 1,
                                               "tdp_walks": 1}),
        ("linux-6.15", "walk", {"tdp": True}, {"notifier_calls": 1, "indirect_calls": 1, "age_gfn": 1, "tdp_walks": 1}),
        ("linux-6.18", "walk", {"tdp": True, "rmaps": True, "shadow_pages": True},
         {"notifier_calls": 1, "indirect_calls": 1, "age_gfn": 1, "tdp_walks": 1, "rmap_walks": 1, "rmap_locks": 1}),
        # v5: a fast test, then a fast clear; nothing more if it failed; eviction asks again
        ("v5", "walk", {"tdp": True, "fast": True}, {"notifier_calls": 2, "indirect_calls": 2, "age_gfn": 2, "tdp_walks": 2}),
        ("v5", "walk", {"tdp": True, "rmaps": True}, {"notifier_calls": 1, "indirect_calls": 1, "age_gfn": 1}),
        ("v5", "target", {"tdp": True, "rmaps": True},
         {"notifier_calls": 2, "indirect_calls": 2, "age_gfn": 2, "mmu_lock_write": 1, "tdp_walks": 1, "rmap_walks": 1}),
        ("houghton", "target", {"tdp": True, "rmaps": True, "shadow_pages": True},
         {"notifier_calls": 1, "indirect_calls": 1, "age_gfn": 1, "mmu_lock_write": 1, "tdp_walks": 1, "rmap_walks": 1}),
    ],
)  # fmt: skip
def test_costs_by_hand(name: str, question: str, bits: dict[str, bool], expected: dict[str, int]) -> None:
    assert question in QUESTIONS
    row = question_row(get_protocol(name), question, state(**bits))  # type: ignore[arg-type]
    counted = {k: getattr(row.costs, k) for k in row.costs.__slots__ if getattr(row.costs, k)}
    assert counted == expected


def test_a_vm_that_has_gone_leaves_calls_that_reach_nobody() -> None:
    """Recorded (unregister): mm_has_notifiers() stays true, 2048 __mmu_notifier_clear_young and no kvm_* calls."""
    row = question_row(get_protocol("linux-6.18"), "walk", state(subscribed=False, ad_bits=False))
    assert (row.costs.notifier_calls, row.costs.indirect_calls, row.costs.age_gfn) == (1, 0, 0)
    never = question_row(
        get_protocol("linux-6.18"), "walk", state(has_notifiers=False, subscribed=False, ad_bits=False)
    )
    assert never.costs.notifier_calls == 0


def test_v7_leaves_sptes_without_ad_bits_young_when_asked_fast() -> None:
    rows = age_rows(get_protocol("v7"), ad_bits=False)
    slow = [r for r in rows if r.slow and r.op == "clear"]
    assert {r.slow_cleared for r in slow if r.fast_only} == {False}
    assert {r.slow_cleared for r in slow if not r.fast_only} == {True}
    assert all(r.young for r in slow)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_json_and_back(name: str) -> None:
    table = protocol_table(get_protocol(name))
    assert ProtocolTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    by_code = table.lookup("walk")
    assert len(by_code) == STATE_CODES
    assert all(row is None or (row.state.code, row.question) == (i, "walk") for i, row in enumerate(by_code))
    assert sum(row is not None for row in by_code) == len(states())


def test_foreign_documents_are_refused() -> None:
    with pytest.raises(InputError, match="schema 2"):
        ProtocolTable.from_json({"schema": 2})
    with pytest.raises(InputError, match="not a protocol table"):
        ProtocolTable.from_json({"schema": 1, "protocol": "x"})


class Shy(AgingProtocol):
    """Has the argument, but KVM does not opt in."""

    name = "shy"
    fast_only = True
    has_fast_aging = False


def test_who_does_not_opt_in_is_skipped() -> None:
    for row in age_rows(Shy()):
        assert row.skipped is row.fast_only
        if row.skipped:
            assert not any((row.young, row.fast_cleared, row.slow_cleared))
            assert not row.flags


class TakesTheLockTwice(AgingProtocol):
    name = "broken"
    lockless = False
    kvm_changes: ClassVar[dict[str, object]] = {"rmap_bit_lock": False}

    def age_gfn(self, kvm: Kvm, rng: GfnRange, *, clear: bool, fast_only: bool) -> Step[int]:
        yield Acquire(kvm.mmu_lock)
        return 0


def test_a_protocol_that_breaks_a_rule_is_stopped_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"waits for ever for kvm\.mmu_lock"):
        protocol_table(TakesTheLockTwice())


@pytest.mark.parametrize("name", [*PROTOCOLS, "houghton:must_check=rmaps", "christopherson:variant=repaired"])
def test_answers_are_the_same_at_every_address(name: str) -> None:
    """Which is asked of a user's protocol each time."""
    protocol = get_protocol(name)
    rows = age_rows(protocol)
    for place in ELSEWHERE:
        assert age_rows(protocol, place=place) == rows
