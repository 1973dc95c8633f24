"""Scenario files: a host, its VMs and processes with their traces, and what to compare on it (docs/compare.md).

`load(path)` reads a TOML scenario, or a trace alone, for which a default scenario is made. Every mistake is a
`ScenarioError` that names the key and says what to write instead; a trace that is bad says so itself (`TraceError`).
"""

import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agewalk.core.errors import InputError, ScenarioError
from agewalk.core.units import PAGE_SIZE, Bytes, Ns, Pages, format_size, pages_of, parse_size, parse_time
from agewalk.study.scenario_errors import explained

PROTOCOLS: Final = ("linux-6.9", "v5", "houghton", "christopherson", "v7", "linux-6.18")
BASELINES: Final = ("two-list", "lru", "opt")
LEAST_PAGES: Final = 16  # of a host
MOST_MEMORY: Final = Bytes(1 << 52)  # what x86 can address
MOST_TIME: Final = Ns(11_930 * 3600 * 10**9)  # a little less than 2^31 ticks of the truth about last uses
MOST_BYTES: Final = 1 << 20  # of a scenario file
CONVERT: Final = "a scenario is TOML; if this is another tool's trace, 'agewalk trace convert' makes a .parquet of it"
SHARE: Final = (7, 10)  # of the pages that a trace touches: the memory of a scenario made for it


def _size(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a size with a unit: write it as text, such as '{_digits(value)} MiB'")
    size = parse_size(value)
    if size < PAGE_SIZE:
        raise ValueError(f"{value!r} holds no page of {PAGE_SIZE} bytes")
    if size < LEAST_PAGES * PAGE_SIZE:
        raise InputError(f"{value!r} holds fewer than {LEAST_PAGES} pages", hint="give the host at least 64 KiB")
    if size > MOST_MEMORY:
        raise InputError(f"{value!r} is more than {format_size(MOST_MEMORY)}", hint="no x86 host can address that much")
    return size


def _time(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a time with a unit: write it as text, such as '{_digits(value)} ms'")
    time = parse_time(value)
    if time > MOST_TIME:
        raise InputError(f"{value!r} is longer than {MOST_TIME // (3600 * 10**9):,} h", hint="runs are not that long")
    return time


def _period(value: object) -> int:
    time = _time(value)
    if time < 1_000_000:
        raise ValueError(f"{value!r} is shorter than 1 ms: no host ages that often")
    return time


def _digits(value: object) -> str:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else "512"


Size = Annotated[Bytes, BeforeValidator(_size)]
Time = Annotated[Ns, BeforeValidator(_time)]
Period = Annotated[Ns, BeforeValidator(_period)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Thp = Literal["never", "always"]  # of the process's memory: 4 KiB pages, or 2 MiB at once where they fit and are free


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Swap(_Section):
    """[host.swap]: what one page costs, in nanoseconds."""

    read: Time = Ns(80_000)
    write: Time = Ns(60_000)


class HostSection(_Section):
    """[host]: memory for guest and process pages (bytes), the profile, the seed of whatever is drawn."""

    memory: Size
    kernel: str = "6.18"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 7
    swap: Swap = Swap()


class Aging(_Section):
    """[aging]: proactive aging every so many nanoseconds; None leaves it to memory pressure."""

    every: Period | None = None


class VmSection(_Section):
    """[[vm]]: a trace replayed through KVM's tables and the process's."""

    name: Name
    trace: Name
    mmu: Literal["tdp", "legacy", "shadow"] = "tdp"
    ad_bits: bool = True
    thp: Thp = "never"
    start: Time = Ns(0)


class ProcessSection(_Section):
    """[[process]]: a trace replayed through the primary MMU alone."""

    name: Name
    trace: Name
    thp: Thp = "never"
    start: Time = Ns(0)


class Choice(_Section):
    """One entry of `protocols`: a name (or file.py:Class) and its options."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    name: Name

    @property
    def spec(self) -> str:
        """As the command line writes it: `houghton:must_check=rmaps`, `path/own.py:Mine`."""
        options = dict(self.model_extra or {})
        said = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        return f"{self.name}:{said}" if said else self.name

    @property
    def label(self) -> str:
        """As results name it: the spec, a user's own file without its folder."""
        _, slash, rest = self.spec.rpartition("/")
        return rest if slash and ".py:" in rest else self.spec

    @property
    def file(self) -> Path | None:
        """A user's own file."""
        head, colon, _ = self.name.partition(".py:")
        return Path(head + ".py") if colon else None


def _choice(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class CompareSection(_Section):
    """[compare]: the policies side by side, and memory sizes for a curve."""

    protocols: list[Annotated[Choice, BeforeValidator(_choice)]] = [Choice(name=name) for name in PROTOCOLS]
    baselines: list[Name] = ["two-list"]
    memory: Annotated[list[Size], Field(min_length=1)] | None = None


class Scenario(_Section):
    """A scenario file, checked; `load` makes one. Traces are paths that can be opened from here."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    schema_: Annotated[Literal[1], Field(alias="schema")]
    host: HostSection
    aging: Aging = Aging()
    vm: list[VmSection] = []
    process: list[ProcessSection] = []
    compare: CompareSection = CompareSection()

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


_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "": Scenario,
    "host": HostSection,
    "host.swap": Swap,
    "aging": Aging,
    "vm": VmSection,
    "process": ProcessSection,
    "compare": CompareSection,
}


def load(path: Path) -> Scenario:
    """The scenario in a TOML file, or the default one for a Parquet trace. Raises ScenarioError, TraceError."""
    wanted = "name a scenario (.toml) or a trace (.parquet)"
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
        return of_trace(path)
    if about.st_size > MOST_BYTES:
        raise ScenarioError(f"{path}: {format_size(about.st_size)} are too much for a scenario (1 MiB)", hint=CONVERT)
    return parse(path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def parse(path: Path) -> Scenario:
    """The scenario in a TOML file, its trace paths made relative to where we are. Raises ScenarioError."""
    try:
        raw = tomllib.loads(path.read_bytes().decode())
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: is not a text file", hint=CONVERT) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        hint = 'text values need quotes: memory = "640 MiB"' if path.suffix == ".toml" else CONVERT
        raise ScenarioError(f"{path}: not TOML: {error}", hint=hint) from None
    if "schema" not in raw:
        raise ScenarioError(f"{path}: 'schema' is missing", hint="begin the file with: schema = 1")
    scenario = check(str(path), raw)
    return _placed(scenario, path.parent)


def check(name: str, raw: dict[str, Any]) -> Scenario:
    """A scenario from TOML's tables. Raises ScenarioError that begins with `name` and names the key."""
    try:
        scenario = Scenario.model_validate(raw)
    except ValidationError as error:
        raise explained(name, error, _SECTIONS) from None
    if not scenario.members:
        raise ScenarioError(
            f"{name}: there is no [[vm]] and no [[process]]", hint='add one: [[vm]] name = "a", trace = "..."'
        )
    seen: set[str] = set()
    for member in scenario.members:
        if member.name in seen:
            raise ScenarioError(
                f"{name}: two VMs or processes are named {member.name!r}", hint="results go by name: rename one"
            )
        seen.add(member.name)
    _once(name, scenario.compare)
    return scenario


def of_trace(path: Path) -> Scenario:
    """One VM that replays `path` on a host with room for 70 % of the pages that it touches, aged every 2 s."""
    from agewalk.study.merge_traces import footprints
    from agewalk.trace import open_trace

    pages = footprints([open_trace(path)])
    memory = max(16, pages * SHARE[0] // SHARE[1])
    return Scenario(
        schema_=1,
        host=HostSection(memory=f"{memory * PAGE_SIZE} B"),  # type: ignore[arg-type]
        aging=Aging(every="2 s"),  # type: ignore[arg-type]
        vm=[VmSection(name=path.stem, trace=str(path))],
    )


def change(
    scenario: Scenario,
    *,
    memory: list[str] | None = None,
    protocols: list[str] | None = None,
    baselines: list[str] | None = None,
) -> Scenario:
    """The scenario with other memory sizes ("512 MiB", "70 %" of the pages that the traces touch, several with commas between)
    or policies, as the command line gives them. None: as it was.

    Naming protocols alone leaves baselines out, and the other way round. Raises ScenarioError.
    """
    if memory is None and protocols is None and baselines is None:
        return scenario
    compare: dict[str, Any] = {"protocols": protocols, "baselines": baselines}
    if protocols is None and baselines is None:
        compare = {
            "protocols": [{"name": choice.spec} for choice in scenario.compare.protocols],
            "baselines": scenario.compare.baselines,
        }
    sizes = _sizes(scenario, memory) or [f"{size} B" for size in scenario.memories]
    raw = {"protocols": compare["protocols"] or [], "baselines": compare["baselines"] or [], "memory": sizes}
    try:
        changed = scenario.model_copy(update={"compare": CompareSection.model_validate(raw)})
    except ValidationError as error:
        raise explained("command line", error, _SECTIONS, "compare") from None
    _once("command line", changed.compare)
    return changed


def _sizes(scenario: Scenario, memory: list[str] | None) -> list[str]:
    """`--memory`'s values as sizes in bytes or text that `Size` reads. Raises ScenarioError for a share that is none."""
    sizes = []
    touched = 0
    for text in (part.strip() for value in memory or [] for part in value.split(",")):
        if not text.endswith("%"):
            sizes.append(text)
            continue
        try:
            share = float(text[:-1])
        except ValueError:
            share = 0.0
        if not 0 < share <= 1000:
            raise ScenarioError(
                f"command line: --memory: {text!r} is no share of memory", hint="as in --memory '50 %,70 %'"
            )
        if not touched:
            from agewalk.study.merge_traces import footprints
            from agewalk.trace import open_trace

            touched = footprints([open_trace(member.trace) for member in scenario.members])
        sizes.append(f"{max(16, int(touched * share / 100)) * PAGE_SIZE} B")
    return sizes


def _once(name: str, compare: CompareSection) -> None:
    labels = [choice.label for choice in compare.protocols] + compare.baselines
    if not labels:
        raise ScenarioError(f"{name}: compare.protocols and compare.baselines are both empty", hint="name at least one")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise ScenarioError(f"{name}: compare names {twice!r} twice", hint="once is enough: runs are deterministic")


def _placed(scenario: Scenario, folder: Path) -> Scenario:
    def placed(member: Any) -> Any:
        return member.model_copy(update={"trace": str(folder / member.trace)})

    def protocol(choice: Choice) -> Choice:
        if choice.file is not None:
            return choice.model_copy(update={"name": str(folder / choice.name)})
        return choice

    return scenario.model_copy(
        update={
            "vm": [placed(vm) for vm in scenario.vm],
            "process": [placed(process) for process in scenario.process],
            "compare": scenario.compare.model_copy(
                update={"protocols": [protocol(choice) for choice in scenario.compare.protocols]}
            ),
        }
    )
