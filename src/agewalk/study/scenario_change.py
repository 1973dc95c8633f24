"""A scenario with other memory sizes, policies, kernel or aging: what the command line and `Scenario.with_` change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from agewalk.core.errors import ScenarioError
from agewalk.core.units import PAGE_SIZE
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import protocol_of
from agewalk.study.merge_traces import footprints
from agewalk.study.scenario import (
    LEAST_PAGES,
    SECTIONS,
    Aging,
    Choice,
    CompareSection,
    HostSection,
    Scenario,
    named_once,
)
from agewalk.study.scenario_errors import explained

COMMAND_LINE: Final = "command line"
Protocols = Sequence[str | AgingProtocol | type[AgingProtocol]]


def change(
    scenario: Scenario,
    *,
    memory: Sequence[str] | None = None,
    protocols: Protocols | None = None,
    baselines: Sequence[str] | None = None,
    kernel: str | None = None,
    every: str | None = None,
    seed: int | None = None,
    where: str = COMMAND_LINE,
) -> Scenario:
    """The scenario, changed. None leaves a thing as it was.

    memory: "512 MiB", or "70 %" of the pages that the traces touch; several, also with commas between, draw a curve. protocols:
    names, or classes and objects. Naming protocols alone leaves baselines out, and the other way round. every: "" for no
    proactive aging. where: what messages begin with. Raises ScenarioError.
    """
    update: dict[str, Any] = {}
    try:
        if kernel is not None or seed is not None:
            raw = {"memory": f"{scenario.host.memory} B", "kernel": kernel or scenario.host.kernel}
            host = HostSection.model_validate(raw | {"seed": scenario.host.seed if seed is None else seed})
            update["host"] = host.model_copy(update={"swap": scenario.host.swap})
        if every is not None:
            update["aging"] = Aging.model_validate({"every": every} if every else {})
        if memory is not None or protocols is not None or baselines is not None:
            update["compare"] = _compare(scenario, memory, protocols, baselines, where)
    except ValidationError as error:
        raise explained(where, error, SECTIONS, "compare") from None
    return scenario.model_copy(update=update)


def _compare(
    scenario: Scenario,
    memory: Sequence[str] | None,
    protocols: Protocols | None,
    baselines: Sequence[str] | None,
    where: str,
) -> CompareSection:
    named = protocols is not None or baselines is not None
    choices = [_choice(one) for one in protocols or ()] if named else scenario.compare.protocols
    names = list(baselines or ()) if named else scenario.compare.baselines
    sizes = sizes_of(scenario, memory or [], where) or [f"{size} B" for size in scenario.memories]
    section = CompareSection.model_validate({"protocols": [], "baselines": names, "memory": sizes})
    section = section.model_copy(update={"protocols": choices})
    named_once(where, section)
    return section


def _choice(protocol: str | AgingProtocol | type[AgingProtocol]) -> Choice:
    return Choice(name=protocol) if isinstance(protocol, str) else Choice.of(protocol_of(protocol))


def sizes_of(scenario: Scenario, memory: Sequence[str], where: str = COMMAND_LINE) -> list[str]:
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
