"""A scenario with other memory sizes, policies, kernel or aging: what the command line and `Scenario.with_` change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from agewalk.core.errors import ScenarioError
from agewalk.core.units import PAGE_SIZE, Bytes
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import protocol_of
from agewalk.study.merge_traces import footprints
from agewalk.study.scenarios.errors import explained
from agewalk.study.scenarios.sections import SECTIONS, Aging, Choice, CompareSection, HostSection, Member, named_once
from agewalk.study.scenarios.values import LEAST_PAGES

Section = TypeVar("Section", bound=BaseModel)
Protocols = Sequence[str | AgingProtocol | type[AgingProtocol]]


class Tables(Protocol):
    """What a change needs of a scenario."""

    @property
    def host(self) -> HostSection:
        """[host]."""

    @property
    def compare(self) -> CompareSection:
        """[compare]."""

    @property
    def members(self) -> Sequence[Member]:
        """VMs and processes."""

    @property
    def memories(self) -> Sequence[Bytes]:
        """The memory sizes to run with."""


def changes(
    scenario: Tables,
    *,
    memory: Sequence[str] | None = None,
    protocols: Protocols | None = None,
    baselines: Sequence[str] | None = None,
    kernel: str | None = None,
    every: str | None = None,
    seed: int | None = None,
    where: str,
) -> dict[str, Any]:
    """The tables of a scenario that change, by name. None leaves a thing as it was.

    memory: "512 MiB", or "70 %" of the pages that the traces touch; several, also with commas between, draw a curve. protocols:
    names, or classes and objects. Naming protocols alone leaves baselines out, and the other way round. every: "" for no
    proactive aging. where: what messages begin with. Raises ScenarioError.
    """
    update: dict[str, Any] = {}
    if kernel is not None or seed is not None:
        old = scenario.host
        raw = {"memory": f"{old.memory} B", "kernel": kernel or old.kernel, "seed": old.seed if seed is None else seed}
        update["host"] = _valid(HostSection, raw, where, "host").model_copy(update={"swap": old.swap})
    if every is not None:
        update["aging"] = _valid(Aging, {"every": every} if every else {}, where, "aging")
    if memory is not None or protocols is not None or baselines is not None:
        update["compare"] = _compare(scenario, memory, protocols, baselines, where)
    return update


def _valid(section: type[Section], raw: dict[str, Any], where: str, key: str) -> Section:
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise explained(where, error, SECTIONS, key) from None


def _compare(
    scenario: Tables,
    memory: Sequence[str] | None,
    protocols: Protocols | None,
    baselines: Sequence[str] | None,
    where: str,
) -> CompareSection:
    named = protocols is not None or baselines is not None
    choices = [_choice(one, where) for one in protocols or ()] if named else scenario.compare.protocols
    names = list(baselines or ()) if named else scenario.compare.baselines
    sizes = [f"{size} B" for size in scenario.memories] if memory is None else sizes_of(scenario, memory, where)
    section = _valid(CompareSection, {"protocols": [], "baselines": names, "memory": sizes}, where, "compare")
    section = section.model_copy(update={"protocols": choices})
    named_once(where, section)
    return section


def _choice(protocol: str | AgingProtocol | type[AgingProtocol], where: str) -> Choice:
    if not isinstance(protocol, str):
        return Choice.of(protocol_of(protocol))
    return _valid(Choice, {"name": protocol}, where, "compare.protocols")


def sizes_of(scenario: Tables, memory: Sequence[str], where: str) -> list[str]:
    """Memory sizes as text that a scenario takes; shares become bytes. Raises ScenarioError for a share that is none."""
    sizes = []
    touched = 0
    for text in (part.strip() for value in memory for part in value.split(",")):
        if not text.endswith("%"):
            sizes.append(text)
            continue
        try:
            share = float(text[:-1])
        except ValueError:
            share = 0.0
        if not 0 < share <= 1000:
            raise ScenarioError(f"{where}: memory: {text!r} is no share of memory", hint="write '70 %', or a size")
        touched = touched or footprints([member.opened() for member in scenario.members])
        sizes.append(f"{max(LEAST_PAGES, int(touched * share / 100)) * PAGE_SIZE} B")
    return sizes
