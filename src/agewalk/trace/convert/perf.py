"""Memory samples of perf, as text:

    perf mem record PROGRAM; perf script -F comm,pid,tid,cpu,time,event,addr > FILE

    prog 10633/10633 [001]  1807.058697: cpu/mem-loads,ldlat=30/P:     55e0917655c0

What `perf script` prints without -F is read, too: one number for the task (the thread's id), the period before the event, and
after the address the data source, weight and symbol. `phys_addr: ADDRESS` may follow.

Time is the sample's, the vCPU is the CPU it was taken on (0 without `cpu`), and a page of another process is another
page; kernel addresses (the upper half) are shared by all. A sample is a write if its data source says OP STORE, or, where it
says neither load nor store, if its event's name contains "store". Samples with address 0 (perf did not get one) are skipped and
counted. Samples are a fraction of all accesses: pages that no sample hit are missing, so sizes of working sets are lower
bounds.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from agewalk.trace.convert.slots_and_frames import MAX_SPACES, SPACE_SHIFT
from agewalk.trace.convert.source import Source
from agewalk.trace.format import Batch

COMMAND: Final = "perf script -F comm,pid,tid,cpu,time,event,addr"
Address = Literal["virtual", "physical"]
_HEX: Final = rb"(?:0[xX])?[0-9a-fA-F]{1,16}"
_LINE: Final = re.compile(
    rb"\s*(?P<comm>\S.{0,63}?)\s+(?P<pid>-?[0-9]{1,9})(?P<tid>/-?[0-9]{1,9})?\s+(?:\[(?P<cpu>[0-9]{1,5})\]\s+)?"
    rb"(?P<s>[0-9]{1,10})\.(?P<frac>[0-9]{6}|[0-9]{9}):\s+(?:[0-9]{1,20}\s+)?(?P<event>\S{1,255}):\s+"
    rb"(?P<addr>" + _HEX + rb")(?P<bare>\s+" + _HEX + rb")?"
    rb"(?P<src>\s*\|OP\s.{0,1024}?)?(?:\s+phys_addr:\s*(?P<phys>" + _HEX + rb"))?\s*"
)
_MEANT: Final = "addr and phys_addr, addr and ip, or ip and phys_addr"
_KERNEL: Final = 1 << 63


class PerfReader:
    """Reads one `perf script` file.

    address: which one where a sample has a virtual and a physical address. one_process: all samples are one process's, for
    files that name threads alone.
    """

    def __init__(self, address: Address | None = None, *, one_process: bool = False) -> None:
        self._address = address
        self._one_process = one_process
        self._spaces: dict[bytes, int] = {}

    def read(self, source: Source) -> Iterator[Batch]:
        """Samples as accesses. Raises TraceError with the line."""
        last = 0
        account = source.account
        for lines in source.lines():
            time: list[int] = []
            page: list[int] = []
            vcpu: list[int] = []
            write: list[bool] = []
            for number, line in enumerate(lines.data.split(b"\n")[:-1], lines.first):
                if not line.strip() or line.startswith(b"#"):
                    account.set_aside("comments" if line.strip() else "blank lines")
                    continue
                match = _LINE.fullmatch(line)
                if not match:
                    shown = line[:80].decode(errors="replace")
                    raise source.error(
                        f"not a memory sample: {shown!r}", line=number, hint=f"make the file with '{COMMAND}'"
                    )
                now = int(match["s"]) * 10**9 + int(match["frac"].ljust(9, b"0"))
                if now < last:
                    hint = "perf script writes in order of time; was the file put together from several?"
                    raise source.error(f"time runs back from {last} to {now} ns", line=number, hint=hint)
                last = now
                cpu = int(match["cpu"] or 0)
                if cpu > 255:
                    raise source.error(f"CPU {cpu}: a trace has at most 256", line=number, hint="record with -C 0-255")
                if match["cpu"] is None:
                    account.assume("samples without a CPU are vCPU 0's (perf script -F +cpu prints it)")
                address = self._address_of(source, match, number)
                if not address:
                    account.skip("samples without an address")
                    continue
                account.used += 1
                time.append(now)
                page.append(self._space(source, match, address, number) << SPACE_SHIFT | address >> 12)
                vcpu.append(cpu)
                write.append(_is_write(source, match))
            if time:
                yield Batch.of(time, page, vcpu=vcpu, write=write)

    def _address_of(self, source: Source, match: re.Match[bytes], line: int) -> int:
        virtual, physical = match["addr"], match["phys"]
        # with a data source, the number before it is its code
        if match["bare"] is not None and match["src"] is None and physical is None:
            if self._address is None:
                raise source.error(
                    f"two numbers follow the event: {_MEANT}",
                    line=line,
                    hint="say --address virtual (the first is addr) or --address physical (the second is phys_addr)",
                )
            physical = match["bare"].strip()
        if self._address == "physical":
            if physical is None:
                raise source.error(
                    "a sample without phys_addr", line=line, hint=f"perf record --phys-data, then {COMMAND},phys_addr"
                )
            return int(physical, 16)
        if physical is not None and self._address is None:
            source.account.assume("virtual addresses are taken; --address physical takes phys_addr")
        return int(virtual, 16)

    def _space(self, source: Source, match: re.Match[bytes], address: int, line: int) -> int:
        """Which address space: 0 the kernel's and the first process's, whose halves do not meet."""
        if address & _KERNEL or self._one_process or self._address == "physical":
            return 0
        if match["tid"] is None:
            source.account.assume(
                "one number names the task, and each stands for a process of its own: threads that share memory are told "
                "apart by perf script -F +pid, or said to be one with --one-process"
            )
        space = self._spaces.setdefault(match["pid"], len(self._spaces))
        if space >= MAX_SPACES:
            raise source.error(f"more than {MAX_SPACES} processes", line=line, hint="filter with perf script --pid")
        return space


def _is_write(source: Source, match: re.Match[bytes]) -> bool:
    said = re.match(rb"\s*\|OP (STORE|LOAD)\b", match["src"] or b"")
    if said:
        return said[1] == b"STORE"
    if b"store" not in match["event"] and b"load" not in match["event"]:
        source.account.assume("samples that say neither load nor store are reads")
    return b"store" in match["event"]
