"""Eviction meets a young page whose neighbours cannot be looked at: is the page itself believed?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.model.mglru.minihost import MiniHost

from agewalk.core.effects import IsContended, Step
from agewalk.model.mglru.features import MGLRU
from agewalk.model.mm import pte as p
from agewalk.model.protocols.registry import PROTOCOLS, get_protocol


def contended(inner: Step[Any]) -> Step[Any]:
    """`inner`, with another CPU waiting for every lock that it asks about."""
    answer: Any = None
    while True:
        try:
            effect = inner.send(answer)
        except StopIteration as done:
            return done.value
        answer = True if isinstance(effect, IsContended) else (yield effect)


def references(protocol: str, *, contention: bool = False, special: bool = False) -> tuple[int, bool]:
    """(references that folio_referenced() finds of a page that its process used, is its accessed bit still set)."""
    asked = get_protocol(protocol)
    host = MiniHost(replace(MGLRU["6.9"], **asked.mglru_changes()), 64, protocol=asked)
    host.touch(*range(64))
    vma = host.mm.vmas.value[0]
    host.mm.vmas.value = (replace(vma, special=special),)
    host.pte(5).value |= p.ACCESSED
    folio = host.folio(5)
    assert folio is not None
    question = host.folio_referenced(folio, None)
    found, _ = host.run(contended(question) if contention else question)
    return found, p.pte_young(host.pte(5).value)


@pytest.mark.parametrize("where", [{"contention": True}, {"special": True}])
def test_the_literal_sketch_gives_a_young_page_away(where: dict[str, bool]) -> None:
    """Christopherson's lru_gen_look_around() returns false before it reads the target: referenced by nobody, bit untouched."""
    assert references("christopherson:variant=literal") == (1, False)
    assert references("christopherson:variant=literal", **where) == (0, True)


@pytest.mark.parametrize("where", [{}, {"contention": True}, {"special": True}])
@pytest.mark.parametrize("name", [*sorted(PROTOCOLS.keys() - {"christopherson"}), "christopherson:variant=repaired"])
def test_every_other_protocol_believes_the_page(name: str, where: dict[str, bool]) -> None:
    found, young = references(name, **where)
    assert found > 0
    assert not young
