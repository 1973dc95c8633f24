"""Scenario files: a host, its VMs and processes with their traces, and what to compare on it (docs/compare.md).

`load(path)` reads a TOML scenario, or a trace alone, for which a default scenario is made. Every mistake is a
`ScenarioError` that names the key and says what to write instead; a trace that is bad says so itself (`TraceError`).
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agewalk.core.errors import ScenarioError
from agewalk.core.parse import parse_toml
from agewalk.core.text import printable
from agewalk.core.units import Bytes, Pages, format_size, pages_of
from agewalk.model.profiles import NEWEST
from agewalk.study.scenarios.change import Protocols, changes, sizes_of
from agewalk.study.scenarios.errors import explained
from agewalk.study.scenarios.sections import (
    SECTIONS,
    Aging,
    Choice,
    CompareSection,
    HostSection,
    Member,
    ProcessSection,
    Section,
    VmSection,
    named_once,
)
from agewalk.trace import Trace

PYTHON: Final = "scenario"  # what messages begin with where no file is read
MOST_BYTES: Final = 1 << 20  # of a scenario file
CONVERT: Final = "a scenario is TOML; if this is another tool's trace, 'agewalk trace convert' makes a .parquet of it"


class Scenario(Section):
    """A host, its VMs and what to compare on it, checked. `load` reads one from a file; `of` makes one around traces.

    In Python, sections as in a file: `Scenario(host={"memory": "24 MiB"}, vm=[{"name": "a", "trace": "a.parquet"}])`. Raises
    ScenarioError that names the key.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    host: HostSection
    aging: Aging = Aging()
    vm: list[VmSection] = Field(default_factory=list)
    process: list[ProcessSection] = Field(default_factory=list)
    compare: CompareSection = CompareSection()

    def __init__(self, /, **sections: Any) -> None:
        try:
            super().__init__(**sections)
        except ValidationError as error:
            raise explained(PYTHON, error, _ALL) from None
        _check(self)

    @classmethod
    def of(
        cls,
        *traces: "str | os.PathLike[str] | Trace",
        memory: str = "70 %",
        kernel: str = "6.18",
        every: str = "2 s",
        mmu: Literal["tdp", "legacy", "shadow"] = "tdp",
        seed: int = 7,
    ) -> "Scenario":
        """A host with one VM for each trace: a path, or a trace in memory; VMs are named after their traces.

        memory: a size, or a share of the pages that the traces touch. every: proactive aging, "" for none.
        Raises ScenarioError, TraceError.
        """
        names = [Path(Member(name="-", trace=trace).trace_name).stem[:90] or "vm" for trace in traces]
        vms = [
            {"name": name if names.count(name) == 1 else f"{name}-{i}", "trace": trace, "mmu": mmu}
            for i, (name, trace) in enumerate(zip(names, traces, strict=True))
        ]
        host = {"memory": "64 KiB", "kernel": kernel, "seed": seed}
        made = cls(host=host, vm=vms, aging={"every": every} if every else {})
        (size,) = sizes_of(made, [memory], PYTHON)
        return cls(host=host | {"memory": size}, vm=vms, aging={"every": every} if every else {})

    def with_(
        self,
        *,
        memory: str | Sequence[str] | None = None,
        protocols: Protocols | None = None,
        baselines: Sequence[str] | None = None,
        kernel: str | None = None,
        every: str | None = None,
        seed: int | None = None,
        where: str = "with_",
    ) -> "Scenario":
        """This scenario, changed; None leaves a thing as it is.

        memory: one size or several, for a curve: "512 MiB", or "70 %" of the pages that the traces touch. protocols: names,
        `file.py:Class`, classes or objects. Naming protocols alone leaves baselines out, and the other way round. kernel: a
        profile. every: proactive aging, as in "30 s"; "" for none. where: what messages begin with. Raises ScenarioError.
        """
        sizes = [memory] if isinstance(memory, str) else memory
        update = changes(
            self,
            memory=sizes,
            protocols=protocols,
            baselines=baselines,
            kernel=kernel,
            every=every,
            seed=seed,
            where=where,
        )
        return self.model_copy(update=update)

    @property
    def protocols(self) -> list[Choice]:
        """The protocols to compare; by default the host's own kernel and the newest."""
        if self.compare.protocols is not None:
            return self.compare.protocols
        return [Choice(name=f"linux-{kernel}") for kernel in dict.fromkeys((self.host.kernel, NEWEST))]

    @property
    def members(self) -> list[VmSection | ProcessSection]:
        """VMs, then processes: the address spaces in their order."""
        return [*self.vm, *self.process]

    @property
    def memories(self) -> list[Bytes]:
        """The memory sizes to run with, ascending, in bytes."""
        return sorted(set(self.compare.memory or [self.host.memory]))

    @property
    def memory_pages(self) -> Pages:
        """The host's memory in 4 KiB pages."""
        return pages_of(self.host.memory)


_ALL: Final[dict[str, type[BaseModel]]] = {"": Scenario, **SECTIONS}


def load(path: str | os.PathLike[str]) -> Scenario:
    """The scenario in a TOML file, or the default one for a Parquet trace. Raises ScenarioError, TraceError."""
    path = Path(path)
    wanted = "name a scenario (.toml) or a trace (.parquet); 'agewalk init' writes a scenario"
    try:
        about = path.stat()
        head = _head(path) if stat.S_ISREG(about.st_mode) else b""  # a device or a pipe may never end, or never begin
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file", hint=wanted) from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}", hint="may this user read it?") from None
    except ValueError:  # a NUL in the path
        raise ScenarioError(f"{str(path)!r} is no path", hint=wanted) from None
    if not stat.S_ISREG(about.st_mode):
        what = "a directory" if stat.S_ISDIR(about.st_mode) else "not a regular file"
        raise ScenarioError(f"{path}: is {what}", hint=wanted)
    if head == b"PAR1" or path.suffix == ".parquet":
        return Scenario.of(path)
    if about.st_size > MOST_BYTES:
        raise ScenarioError(f"{path}: {format_size(about.st_size)} are too much for a scenario (1 MiB)", hint=CONVERT)
    return parse(path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def parse(path: Path) -> Scenario:
    """The scenario in a TOML file, its trace paths made relative to where we are. Raises ScenarioError."""
    try:
        raw = parse_toml(path.read_bytes().decode())
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: is not a text file", hint=CONVERT) from None
    except ValueError as error:
        hint = 'text values need quotes: memory = "640 MiB"' if path.suffix == ".toml" else CONVERT
        raise ScenarioError(f"{path}: not TOML: {error}", hint=hint) from None
    if "schema" not in raw:
        raise ScenarioError(f"{path}: 'schema' is missing", hint="begin the file with: schema = 1")
    scenario = checked(str(path), raw)
    return _placed(scenario, path.parent)


def checked(name: str, raw: dict[str, Any]) -> Scenario:
    """A scenario from TOML's tables. Raises ScenarioError that begins with `name` and names the key."""
    try:
        return Scenario(**raw)
    except ScenarioError as error:
        raise ScenarioError(name + str(error).removeprefix(PYTHON), hint=error.hint) from None


def _check(scenario: Scenario, name: str = PYTHON) -> None:
    """What no single key shows. Raises ScenarioError."""
    if not scenario.members:
        raise ScenarioError(
            f"{name}: there is no [[vm]] and no [[process]]", hint='add one: [[vm]] name = "a", trace = "..."'
        )
    seen: set[str] = set()
    for member in scenario.members:
        if printable(member.name) in seen:
            raise ScenarioError(
                f"{name}: two VMs or processes are named {member.name!r}", hint="results go by name: rename one"
            )
        seen.add(printable(member.name))
    named_once(name, scenario.compare)


def _placed(scenario: Scenario, folder: Path) -> Scenario:
    def placed(member: Any) -> Any:
        return member.model_copy(update={"trace": str(folder / member.trace)})

    def protocol(choice: Choice) -> Choice:
        if choice.file is not None:
            return choice.model_copy(update={"name": str(folder / choice.name)})
        return choice

    chosen = scenario.compare.protocols
    return scenario.model_copy(
        update={
            "vm": [placed(vm) for vm in scenario.vm],
            "process": [placed(process) for process in scenario.process],
            "compare": scenario.compare.model_copy(
                update={"protocols": chosen and [protocol(choice) for choice in chosen]}
            ),
        }
    )
