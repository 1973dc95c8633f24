"""State counts of the shipped systems, pinned with and without reduction."""

from __future__ import annotations

import pytest
from tests.checker.counts import SPIN, count, names, pinned, vouched_for
from tests.checker.faults import kvm

from agewalk.checker.catalog import SYSTEMS, get_system


@pytest.mark.parametrize("name", names())
def test_counts_are_the_pinned_ones(name: str) -> None:
    assert count(get_system(name)) == pinned()[name]


def test_the_table_has_every_system() -> None:
    table = pinned()
    assert sorted(table) == names()
    assert {name.split("/")[0] for name in table} == set(SYSTEMS)
    assert set(SPIN) <= vouched_for() <= set(table)


def test_reduction_adds_nothing() -> None:
    for row in pinned().values():
        assert row["reduced"] <= row["states"] <= row["transitions"] + 1
        if "symmetric" in row:
            assert row["both"] < row["symmetric"] < row["states"]


def test_a_fault_in_the_model_changes_the_counts() -> None:
    fault = next(f for f in kvm.FAULTS if f.system in pinned() and not (f.adjust or f.build) and f.model == "sc")
    with fault.seeded() as system:
        assert count(system) != pinned()[fault.system]
