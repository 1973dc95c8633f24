"""The example of docs/kvm.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.model.kvm.helpers import TinyHost

from agewalk.core.direct import Direct
from agewalk.core.units import Gfn, Hva, Pages
from agewalk.model.kvm.config import TDP
from agewalk.model.kvm.features import KERNELS
from agewalk.model.kvm.hardware import guest_access
from agewalk.model.kvm.kvm_host import GuestTables
from agewalk.model.kvm.kvm_main import kvm_create_vm, kvm_destroy_vm, nested_guest_stop, new_kvm
from agewalk.model.kvm.memslots import Memslot
from agewalk.model.mm import mmu_notifier
from agewalk.model.mm.mm_types import Mm
from agewalk.model.protocols.registry import get_protocol

PAGE = Path(__file__).parents[3] / "docs" / "kvm.md"


def test_the_example() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    names: dict[str, object] = {
        f.__name__: f
        for f in (
            new_kvm,
            get_protocol,
            Memslot,
            kvm_create_vm,
            guest_access,
            GuestTables,
            nested_guest_stop,
            kvm_destroy_vm,
        )
    }
    cpu = Direct()
    start = (1 << 30) + (5 << 12)
    names |= {"KERNELS": KERNELS, "TDP": TDP, "Gfn": Gfn, "Hva": Hva, "Pages": Pages, "mmu_notifier": mmu_notifier}
    names |= {"mm": Mm("mm"), "host": TinyHost(), "cpu": cpu, "start": start, "end": start + 4096}
    exec(code.group(1), names)
    assert cpu.counters["kvm_age_gfn"] == 1
    assert cpu.counters["kvm_rmap_age_gfn_range"] == 1
    assert cpu.counters["work:vm_exit"] == 2
