"""Experiments: data files with the host, its threads, the variants to compare and the scale.

schema = 1
title, about, cite      for people
[host]                  kernel (a profile), mmu = "tdp" | "legacy" | "shadow"
[vm]                    memory = "1 GiB" a vCPU, vcpus = [1, 2, ...], body = "populate" | "touch"
[plan]                  of "touch": rounds, hot_share, hot_touches, nested_share
[scale]                 factor: this experiment runs with memory / factor, and reports times * factor; few: with fewer vCPUs
                        than that, factor shrinks in proportion, so that the pages of all vCPUs together stay as many
[costs]                 entries of the cost table with other values on this machine
[[variant]]             name, protocol, host = ["age" | "evict" | "storm", ...]; nested_share, mmu likewise
[[published]]           vcpus, variant, wall_s, pass_s of a mail; fit = true where calibration may use the row
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeAlias

from agewalk.core.errors import InputError, UsageError
from agewalk.core.parse import parse_toml
from agewalk.core.units import Bytes, pages_of, parse_size
from agewalk.model.kvm.config import LEGACY, SHADOW, TDP, KvmConfig
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import protocol_of
from agewalk.timing.workloads.host import MOST_PAGES, PER_TABLE, Plan

ProtocolLike: TypeAlias = str | AgingProtocol | type[AgingProtocol]
SCHEMA: Final = 1
MMUS: Final[dict[str, KvmConfig]] = {"tdp": TDP, "legacy": LEGACY, "shadow": SHADOW}
_BODIES: Final = ("populate", "touch")
_HOST: Final = ("age", "evict", "storm")
_TOP: Final = ("schema", "title", "about", "cite", "host", "vm", "plan", "scale", "costs", "variant", "published")


@dataclass(frozen=True)
class Variant:
    """One line of the result: a protocol, and what the host does beside the vCPUs."""

    name: str
    protocol: ProtocolLike
    host: tuple[str, ...] = ()
    nested_share: float | None = None
    mmu: str | None = None


@dataclass(frozen=True)
class Published:
    """A published row; seconds. fit: calibration may use it."""

    vcpus: int
    variant: str
    wall_s: float
    pass_s: float | None = None
    fit: bool = False


@dataclass(frozen=True)
class Experiment:
    """A whole data file."""

    name: str
    title: str
    about: str
    cite: str
    kernel: str
    mmu: str
    memory: Bytes
    vcpus: tuple[int, ...]
    body: str
    plan: Plan
    factor: int
    few: int
    costs: Mapping[str, float]
    variants: tuple[Variant, ...]
    published: tuple[Published, ...]

    def factor_at(self, vcpus: int, factor: int | None = None) -> int:
        """By how much the memory of so many vCPUs is scaled down; no more pages than the host's layout has room for."""
        whole = factor or self.factor
        return max(whole * min(vcpus, self.few) // self.few, -(-pages_of(self.memory) // MOST_PAGES), 1)

    def pages(self, factor: int | None = None) -> int:
        """Pages that a vCPU uses at a scale: whole page tables, each with `PER_TABLE` of its 512 entries in use."""
        pages = pages_of(self.memory) // (factor or self.factor)
        if pages < PER_TABLE:
            raise UsageError(
                f"{self.name}: memory / {factor or self.factor} is less than {PER_TABLE} pages a vCPU",
                hint=f"take a factor of at most {pages_of(self.memory) // PER_TABLE}",
            )
        return pages // PER_TABLE * PER_TABLE

    def with_protocols(self, protocols: Sequence[ProtocolLike]) -> Experiment:
        """The same with other protocols: each takes the place of every variant that ages. Raises UsageError, InputError."""
        idle = tuple(v for v in self.variants if not v.host)
        loud = next((v for v in self.variants if v.host), self.variants[0])
        named = [(p if isinstance(p, str) else protocol_of(p).name, p) for p in protocols]
        return replace(
            self, variants=(*idle, *(replace(loud, name=name, protocol=p) for name, p in named)), published=()
        )


def shipped() -> list[str]:
    """Names of the experiments that come with agewalk."""
    folder = resources.files("agewalk.timing").joinpath("experiments")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_experiment(name: str) -> Experiment:
    """A shipped experiment by name, or a user's own by path. Raises InputError or UsageError that name what is wrong."""
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read the experiment {name}: {error}", hint="a TOML file, see 'agewalk docs timing'"
            ) from None
    elif name in shipped():
        text = resources.files("agewalk.timing").joinpath("experiments", f"{name}.toml").read_text(encoding="utf-8")
    else:
        near = difflib.get_close_matches(name, shipped(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"there is no experiment {name!r}", hint=f"{hint}shipped: {', '.join(shipped())}; or a path to a .toml"
        )
    try:
        raw = parse_toml(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}", hint="an experiment is TOML, see 'agewalk docs timing'") from None
    return parse_experiment(Path(name).stem, raw)


def parse_experiment(name: str, raw: dict[str, Any]) -> Experiment:
    """An experiment from parsed TOML."""
    _known(name, "the file", raw, _TOP)
    if raw.get("schema") != SCHEMA:
        raise InputError(f"{name}: schema is not {SCHEMA}", hint=f"begin the file with schema = {SCHEMA}")
    host = _table(name, raw, "host", ("kernel", "mmu"))
    vm = _table(name, raw, "vm", ("memory", "vcpus", "body"))
    scale = _table(name, raw, "scale", ("factor", "few"))
    plan = _table(name, raw, "plan", tuple(f.name for f in fields(Plan)), required=False)
    variants = tuple(_row(name, "variant", Variant, v) for v in raw.get("variant", []))
    published = tuple(_row(name, "published", Published, v) for v in raw.get("published", []))
    experiment = Experiment(
        name=name,
        title=_text(name, raw, "title"),
        about=_text(name, raw, "about"),
        cite=_text(name, raw, "cite"),
        kernel=_text(name, host, "kernel"),
        mmu=_choice(name, host.get("mmu", "tdp"), tuple(MMUS), "host.mmu"),
        memory=parse_size(_text(name, vm, "memory")),
        vcpus=_counts(name, vm.get("vcpus")),
        body=_choice(name, vm.get("body"), _BODIES, "vm.body"),
        plan=Plan(**plan),
        factor=_counts(name, [scale.get("factor")])[0],
        few=_counts(name, [scale.get("few", 1)])[0],
        costs=_numbers(name, raw.get("costs", {})),
        variants=variants,
        published=published,
    )
    if not variants:
        raise InputError(f"{name}: no [[variant]]", hint="at least one protocol has to run")
    for variant in variants:
        for body in variant.host:
            _choice(name, body, _HOST, f"variant {variant.name}: host")
        if variant.mmu is not None:
            _choice(name, variant.mmu, tuple(MMUS), f"variant {variant.name}: mmu")
    names = [v.name for v in variants]
    for row in published:
        _choice(name, row.variant, tuple(names), "published: variant")
    experiment.pages()
    return experiment


def _known(name: str, where: str, found: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"{name}: unknown key {key!r} in {where}", hint=hint)


def _table(
    name: str, raw: Mapping[str, Any], key: str, known: tuple[str, ...], *, required: bool = True
) -> dict[str, Any]:
    table = raw.get(key, {} if not required else None)
    if not isinstance(table, dict):
        raise InputError(f"{name}: [{key}] is missing", hint=f"it holds {', '.join(known)}")
    _known(name, f"[{key}]", table, known)
    return table


def _row(name: str, what: str, cls: type[Any], raw: Any) -> Any:
    known = tuple(f.name for f in fields(cls))
    if not isinstance(raw, dict):
        raise InputError(f"{name}: [[{what}]] is not a table", hint=f"it holds {', '.join(known)}")
    _known(name, f"[[{what}]]", raw, known)
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
    except TypeError as error:
        raise InputError(f"{name}: [[{what}]]: {error}", hint=f"it holds {', '.join(known)}") from None


def _text(name: str, raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{name}: {key} is missing or not a text", hint=f'{key} = "..."')
    return value


def _choice(name: str, value: Any, known: tuple[str, ...], where: str) -> str:
    if value not in known:
        raise InputError(f"{name}: {where} is {value!r}", hint=f"one of {', '.join(known)}")
    return str(value)


def _counts(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(v) is int and 0 < v <= 1024 * 1024 for v in value):
        raise InputError(f"{name}: {value!r} is not a list of counts", hint="vcpus = [1, 4, 16]; factor = 512")
    return tuple(value)


def _numbers(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not all(isinstance(v, int | float) for v in value.values()):
        raise InputError(f"{name}: [costs] holds numbers by quoted name", hint='"line.core_to_core" = 60')
    return {k: float(v) for k, v in value.items()}
