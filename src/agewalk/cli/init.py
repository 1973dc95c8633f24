"""`agewalk init`: a commented scenario around one's own traces, ready to be compared."""

from __future__ import annotations

import json
import platform
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from agewalk.cli.called import command_line
from agewalk.core.errors import UsageError
from agewalk.core.text import toml_string
from agewalk.core.units import PAGE_SIZE, format_size

SAMPLES = ("sqlite-vm.parquet", "redis-vm.parquet")
SHARE = 70  # per cent of the pages touched

_HEAD = """\
# A host, its VMs, and what to compare on it. Written by `agewalk init`; run it with
#     {compare}
# Lines that begin with # are off: they show what else there is. Sizes and times carry units: "640 MiB", "80 us".
schema = 1

[host]
memory = {memory}{room}# RAM for the guests' pages: {share} % of the {touched} that the traces touch
kernel = {kernel}{kernel_room}# {why}; `agewalk profile list` names the others
# seed = 7                  # of what is drawn at random

# [host.swap]               # what a page costs
# read = "80 us"
# write = "60 us"

[aging]
every = "2 s"               # proactive aging; without this line only memory pressure ages. Aging never evicts

"""
_VM = """\
[[vm]]
name = {name}
trace = {trace}
mmu = "tdp"                 # tdp; legacy: no TDP MMU, so rmaps; shadow: KVM shadows the guest's page tables
# ad_bits = true            # do its SPTEs have accessed bits of their own?
# thp = "never"             # always: memory comes 2 MiB at once
# start = "0 s"             # shift in time against the other VMs

"""
_TAIL = """\
# [[process]]               # an ordinary process beside the VMs: the primary MMU alone
# name = "batch-job"
# trace = "batch.parquet"

# [compare]                 # without it: this kernel and the newest one
# protocols = ["linux-6.12", "linux-6.18", "v7", "my_protocol.py:Mine"]
# baselines = ["two-list", "lru", "opt"]
# memory = ["24 MiB", "32 MiB"]      # several sizes draw a curve
"""


def command(
    trace: Annotated[
        list[Path] | None,
        typer.Argument(help="Parquet traces, a VM each; without any, the two samples that ship with agewalk."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The scenario to write; a file that is there stays.")] = Path(
        "my-host.toml"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Write a commented scenario around your own traces. Example: agewalk init guest.parquet; agewalk compare my-host.toml

    Each trace becomes a VM. The host has memory for 70 % of the pages that they touch.
    """
    from agewalk.report.table import paragraph
    from agewalk.study.merge_traces import footprints
    from agewalk.trace import open_trace

    if out.exists() or out.is_symlink():
        raise UsageError(f"{out}: is there already", hint="remove it, or name another file with --out")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}", hint="make it first")
    paths = trace or _samples()
    touched = footprints([open_trace(path) for path in paths])
    memory = max(16, touched * SHARE // 100) * PAGE_SIZE
    kernel, why = _kernel(platform.release())
    if memory >= 16 << 20:
        memory = -(-memory >> 20) << 20  # whole MiB read better
    size = toml_string(f"{memory >> 20} MiB" if memory >= 16 << 20 else f"{memory // 1024} KiB")
    text = _HEAD.format(
        compare=command_line("compare", str(out)),
        kernel=toml_string(kernel),
        kernel_room=" " * max(1, 19 - len(toml_string(kernel))),
        memory=size,
        room=" " * max(1, 19 - len(size)),
        why=why,
        share=SHARE,
        touched=format_size(touched * PAGE_SIZE),
    )
    names = _names(paths)
    for name, path in zip(names, paths, strict=True):
        text += _VM.format(name=toml_string(name), trace=toml_string(_relative(path, out.parent)))
    try:
        with out.open("x", encoding="utf-8") as file:  # x: never in the place of another file
            file.write(text + _TAIL)
    except FileExistsError:
        raise UsageError(f"{out}: is there already", hint="remove it, or name another file with --out") from None
    if as_json:
        written = {"schema": 1, "file": str(out), "kernel": kernel, "memory_bytes": memory, "vms": names}
        sys.stdout.write(json.dumps(written) + "\n")
        return
    vms = "1 VM" if len(paths) == 1 else f"{len(paths)} VMs"
    sys.stdout.write(paragraph(f"{out}: {vms} on a host of {size[1:-1]}. Next:"))
    sys.stdout.write(f"  {command_line('compare', str(out))}\n")


def _kernel(release: str) -> tuple[str, str]:
    """The profile of the kernel that runs here, if there is one, and why it was chosen."""
    from agewalk.model.profiles import PROFILES

    mine = ".".join(release.split(".")[:2])
    return (mine, "as this machine runs") if mine in PROFILES else ("6.18", "a long-term kernel")


def _samples() -> list[Path]:
    folder = resources.files("agewalk.data")
    return [Path(str(folder.joinpath(name))) for name in SAMPLES]


def _names(paths: list[Path]) -> list[str]:
    """Each trace's name without its ending, with a number where two are alike."""
    stems = [path.stem.removesuffix("-vm")[:90] or "vm" for path in paths]
    return [stem if stems.count(stem) == 1 else f"{stem}-{i}" for i, stem in enumerate(stems)]


def _relative(path: Path, folder: Path) -> str:
    """The trace as the scenario names it: relative to its own folder, if it lies below it."""
    place, home = path.resolve(), folder.resolve()
    return str(place.relative_to(home)) if place.is_relative_to(home) else str(place)
