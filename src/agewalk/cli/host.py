"""`agewalk host`: what this host, or a recorded tree of one, tells about aging and its VMs."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from agewalk.core.text import printable, printable_strings
from agewalk.report.table import Column, coloured, paragraph, table

app = typer.Typer(add_completion=False, no_args_is_help=True, help="A live host and its VMs. Reading changes nothing.")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Root = Annotated[Path, typer.Option("--root", help="A recorded tree of a host in place of this machine.")]


@app.callback()
def _group() -> None:
    """Keep verbs where there is one alone."""


@app.command("probe")
def probe_command(*, root: Root = Path("/"), as_json: Json = False) -> None:
    """What this host can tell and do, whether aging sees its guests, and its VMs. Changes nothing; root sees more."""
    from agewalk.core.errors import InputError
    from agewalk.host.capabilities import aging_sees_guests, kvm_parameters, pieces, profile
    from agewalk.host.tree import Host
    from agewalk.host.vms import find_vms

    if not root.is_dir():
        raise InputError(f"{root} is no directory", hint="--root takes the top of a recorded tree: proc/, sys/ ...")
    host = Host(root)
    found = pieces(host)
    sees, why = aging_sees_guests(host)
    kernel, because = profile(host)
    vms = find_vms(host)
    if as_json:
        document: dict[str, Any] = {
            "schema": 1,
            "pieces": [piece._asdict() for piece in found],
            "aging_sees_guests": {"answer": sees, "why": why},
            "profile": {"name": kernel or None, "why": because},
            "kvm": kvm_parameters(host),
            "vms": [asdict(vm) for vm in vms],
        }
        json.dump(printable_strings(document), sys.stdout)
        sys.stdout.write("\n")
        return
    _pieces(found)
    answer = "unknown" if sees is None else "yes" if sees else "NO"
    _lines(f"Does aging see guests: {answer}. {why}.")
    _lines(f"Profile: {kernel or 'unknown'}. {because}.")
    if not vms:
        _lines("VMs: none that this user can see. Root sees the descriptors of all processes.")
        return
    sys.stdout.write("\n")
    _vms(vms)
    for vm in vms:
        for note in vm.notes:
            _lines(f"{vm.name} ({vm.pid}): {note}.")


def _pieces(found: Any) -> None:
    columns = [Column("interface"), Column("here"), Column("what it is", prose=True), Column("without it", prose=True),
               Column("enable with", prose=True)]  # fmt: skip
    states = {True: "yes", False: "no", None: "unknown"}
    rows = [
        [x.name, states[x.present], x.detail, "" if x.present else x.lost, "" if x.present else x.enable or "-"]
        for x in found
    ]
    sys.stdout.write(table(columns, rows, colour=coloured()))


def _vms(vms: Any) -> None:
    columns = [Column("VM"), Column("VMM"), Column("pid", right=True), Column("vCPUs", right=True),
               Column("MiB", right=True), Column("size from"), Column("backing"), Column("THP %", right=True),
               Column("MMU"), Column("nested"), Column("KVM tables KiB", right=True), Column("own cgroup"),
               Column("cgroup", prose=True), Column("uuid")]  # fmt: skip
    rows = [
        [
            vm.name, vm.vmm, str(vm.pid), str(vm.vcpus), _number(vm.guest_bytes, 1 << 20), vm.size_from, vm.backing,
            "-" if vm.thp_share is None else f"{vm.thp_share:.0%}".removesuffix("%"), vm.mmu,
            "unknown" if vm.nested_run is None else "seen" if vm.nested_run else "none",
            _number(vm.page_tables, 1 << 10), "yes" if vm.alone else "NO", vm.cgroup, vm.uuid or "-",
        ]
        for vm in vms
    ]  # fmt: skip
    sys.stdout.write(table(columns, [[printable(x) for x in row] for row in rows], colour=coloured()))


def _number(value: int | None, unit: int) -> str:
    return "unknown" if value is None else f"{value // unit:,}"


def _lines(text: str) -> None:
    sys.stdout.write(paragraph(text))
