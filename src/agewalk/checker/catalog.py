"""The systems that come with agewalk, by name: `SYSTEM/PROTOCOL/MMU`, as in `age-vs-zap/v7/nested`.

A user's own system is `path/to/file.py:function`; the function takes nothing and returns a `System`.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agewalk.checker.system import System
from agewalk.checker.systems import aging, mglru, nested, notifiers, pages, questions, refault, stage2, trackers, zap
from agewalk.checker.systems.hosts import MMUS
from agewalk.core.errors import AgewalkError, InputError, UsageError
from agewalk.core.userfile import run_user_file, users_output
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.registry import PROTOCOLS, get_protocol

Builder = Callable[[AgingProtocol, str], System]
_ALL: Final = tuple(MMUS)
_NESTED: Final = ("nested", "nested-noad")


@dataclass(frozen=True)
class Shipped:
    """A system and the MMU kinds for which it makes sense. `sections`: of the reference that its properties come from."""

    build: Builder
    mmus: tuple[str, ...]
    sections: str

    @property
    def about(self) -> str:
        """A sentence for people."""
        return (self.build.__doc__ or "").strip()


SYSTEMS: Final[dict[str, Shipped]] = {
    "age-vs-guest": Shipped(aging.age_vs_guest, _ALL, "I5, 7.2, 7.3, 7.10, 7.13"),
    "questions-vs-guest": Shipped(questions.questions_vs_guest, _ALL, "I1, I2, I3, I5, I6, 7.1"),
    "young-in-tdp-mmu": Shipped(questions.young_in_tdp_mmu, _NESTED, "I2, I3, I5, I6, 2.5"),
    "young-in-shadow-mmu": Shipped(questions.young_in_shadow_mmu, _NESTED, "I3, I5, I6, 2.5"),
    "age-vs-refault": Shipped(aging.age_vs_refault, _ALL, "7.17"),
    "agers-vs-refault": Shipped(refault.agers_vs_refault, ("tdp", "tdp-noad"), "7.17"),
    "two-agers": Shipped(aging.two_agers, _ALL, "I5, 7.10"),
    "look-around-decision": Shipped(questions.look_around_decision, ("tdp", "nested", "legacy"), "2.5, 7.14"),
    "age-vs-zap": Shipped(zap.age_vs_zap, _ALL, "7.5, 7.6, 7.9, 7.13"),
    "age-vs-memslot": Shipped(zap.age_vs_memslot, ("tdp", "legacy", "nested"), "7.12"),
    "age-vs-nested-end": Shipped(nested.age_vs_nested_end, _NESTED, "7.6, 7.7, 7.8, 7.9"),
    "age-vs-nested-storm": Shipped(nested.age_vs_nested_storm, ("nested",), "7.6, 7.7, 7.8, 7.9"),
    "age-vs-nested-count": Shipped(nested.age_vs_nested_count, _NESTED, "7.11"),
    "age-vs-fault": Shipped(zap.age_vs_fault, _ALL, "7.2, 7.3, 7.17"),
    "invalidate-vs-fault": Shipped(zap.invalidate_vs_fault, _ALL, "7.12, 7.13, 7.17"),
    "walk-vs-register": Shipped(notifiers.walk_vs_register, ("tdp", "nested"), "I4, 7.14, 7.16"),
    "subscribers": Shipped(notifiers.subscribers, ("tdp",), "I4, I5, 7.14"),
    "stranger": Shipped(notifiers.stranger, ("tdp", "nested", "legacy"), "I3, I4, 1.4"),
    "neighbours": Shipped(notifiers.neighbours, _ALL, "I3, I7"),
    "max-seq-vs-walkers": Shipped(mglru.max_seq_vs_walkers, ("tdp",), "7.15"),
    "update-gen-vs-isolation": Shipped(mglru.update_gen_vs_isolation, ("tdp",), "7.15"),
    "look-around-vs-eviction": Shipped(mglru.look_around_vs_eviction, ("tdp",), "7.15"),
    "reclaim-vs-tracker": Shipped(trackers.reclaim_vs_tracker, ("tdp", "nested"), "6"),
    "walk-vs-tracker": Shipped(trackers.walk_vs_tracker, ("tdp", "nested"), "6"),
    "tracker-vs-reclaim": Shipped(trackers.tracker_vs_reclaim, ("tdp", "nested"), "6"),
    "stage2-vs-exit": Shipped(stage2.stage2_vs_exit, tuple(stage2.MMUS), "8.1"),
    "stage2-vs-guest": Shipped(stage2.stage2_vs_guest, tuple(stage2.MMUS), "8.1"),
    "agers-of-pages": Shipped(pages.agers_of_pages, _ALL, "I5, 7.10"),
    "fault-of-pages": Shipped(pages.fault_of_pages, _ALL, "7.2, 7.3, 7.17"),
    "kvm-access-vs-aging": Shipped(mglru.kvm_access_vs_aging, ("tdp", "nested"), "7.15"),
}
LARGEST: Final = (  # the largest instances of the three largest systems
    "age-vs-nested-storm/linux-7.3/nested",
    "agers-of-pages/v5/nested-noad",
    "age-vs-nested-end/linux-7.3/nested",
)
VARIANTS: Final = (*PROTOCOLS, "houghton:must_check=rmaps", "christopherson:variant=repaired", "v6:variant=repaired")
_DEFAULT: Final = ("linux-7.3", "tdp")


def get_system(name: str) -> System:
    """The system that `name` means: SYSTEM/PROTOCOL/MMU, or file.py:function.

    PROTOCOL may be my/file.py:Class. Protocol and MMU may be left out (`linux-7.3`, and the first MMU that fits).

    Raises UsageError for a name that does not exist, InputError for a file that cannot be used.
    """
    system, _, rest = name.partition("/")
    head, found, function = name.partition(".py:")
    if found and system not in SYSTEMS:
        return load_system(Path(head + ".py"), function)
    if system not in SYSTEMS:
        near = difflib.get_close_matches(system, SYSTEMS, n=1, cutoff=0.4)
        raise UsageError(
            f"there is no system {system!r}",
            hint=(f"did you mean {near[0]!r}? " if near else "")
            + "`agewalk check --list` names them; your own: file.py:function",
        )
    shipped = SYSTEMS[system]
    protocol, mmu = _protocol_and_mmu(rest)
    mmu = mmu or (_DEFAULT[1] if _DEFAULT[1] in shipped.mmus else shipped.mmus[0])
    if mmu not in shipped.mmus:
        raise UsageError(f"{system} has no MMU kind {mmu!r}", hint=f"it has {', '.join(shipped.mmus)}")
    chosen = get_protocol(protocol or _DEFAULT[0])
    return built(system, chosen, mmu)


def _protocol_and_mmu(text: str) -> tuple[str, str]:
    """The parts of PROTOCOL/MMU, where PROTOCOL may be my/file.py:Class."""
    file, found, rest = text.partition(".py:")
    name, _, mmu = (rest if found else text).partition("/")
    return (f"{file}.py:{name}" if found else name), mmu


def built(system: str, protocol: AgingProtocol, mmu: str) -> System:
    """A shipped system for a protocol and an MMU kind, under its full name."""
    made = SYSTEMS[system].build(protocol, mmu)
    return replace(made, name=f"{system}/{protocol.full_name}/{mmu}", protocol=protocol.full_name, mmu=mmu)


def all_names() -> Iterator[tuple[str, str, str]]:
    """(system, protocol, MMU kind) of everything that is shipped."""
    for system, shipped in SYSTEMS.items():
        for protocol in VARIANTS:
            for mmu in shipped.mmus:
                yield system, protocol, mmu


def load_system(path: Path, function: str) -> System:
    """The system that a user's function builds. Raises InputError that says what is wrong with file or function."""
    module = run_user_file(path, wanted="the function in it", example="'agewalk docs check'")
    build = getattr(module, function, None)
    if not callable(build):
        mine = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise InputError(f"{path} has no function {function!r}", hint=f"it has {', '.join(mine) or 'none'}")
    try:
        with users_output():
            system = build()
    except AgewalkError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"{path}:{function} failed: {type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})",
            hint="it is called without arguments and returns a System; 'agewalk docs check' shows one",
        ) from error
    if not isinstance(system, System):
        raise InputError(
            f"{path}:{function} returned {type(system).__name__}, not a System",
            hint="return agewalk.checker.system.System(...); 'agewalk docs check' shows one",
        )
    return replace(system, name=f"{path}:{function}")
