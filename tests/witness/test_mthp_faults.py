"""The recordings of large folios notice a fault in each part of a question about several pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from agewalk.core.effects import Step
from agewalk.core.units import Hva
from agewalk.model.mglru.aging import look_around, page_table_walk
from agewalk.model.mm import pte_batch, rmap
from agewalk.model.mm.mm_types import Folio, PteTable
from agewalk.model.mm.pte import Entry
from agewalk.study.witness import read_witness, verify

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "7.3"


def page_by_page(folio: Folio, table: PteTable, address: Hva, entry: int, most: int) -> Step[int]:
    """As before 7.1."""
    return 1
    yield


def to_the_end(folio: Folio, table: PteTable, address: Hva, entry: int, most: int) -> Step[int]:
    """Past the end of the folio."""
    return most
    yield


def first_entry(table: PteTable, address: Hva, nr: int) -> Entry:
    """The others stay young."""
    return pte_batch.entries(table, address, 1)


FAULTS = {
    "asks page by page": ("folio_pte_batch", page_by_page, (page_table_walk, rmap)),
    "asks beyond the folio": ("folio_pte_batch", to_the_end, (page_table_walk,)),
    "a walk clears one entry of a folio": ("entries", first_entry, (page_table_walk,)),
    "eviction clears one entry of a folio": ("entries", first_entry, (look_around,)),
}


@pytest.fixture(params=sorted(FAULTS))
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name, wrong, modules = FAULTS[request.param]
    for module in modules:
        monkeypatch.setattr(module, name, wrong)
    return str(request.param)


def test_a_fault_is_noticed(fault: str) -> None:
    files = ("tdp/mthp64_look", "host/mthp64_lookw", "host/mthp64_sparse", "legacy/mthp16_dense")
    verdicts = [verify(read_witness(HERE / f"{file}.json")) for file in files]
    assert not all(v.equal and v.calls_equal and v.counts_equal for v in verdicts), fault
