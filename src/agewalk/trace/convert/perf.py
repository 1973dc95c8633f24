"""Memory samples of perf, as text:

    perf mem record PROGRAM; perf script -F comm,pid,tid,cpu,time,event,addr > FILE        (data_src may follow addr)

    prog 10633/10633 [001]  1807.058697: cpu/mem-loads,ldlat=30/P:     55e0917655c0

Time is the sample's, the vCPU is the CPU it was taken on (0 without `cpu`), and a page of another process is another
page; kernel addresses (the upper half) are shared by all. A sample is a write if its event's name contains "store" or its
data_src says OP STORE. Samples with address 0 (perf did not get one) are skipped and counted. Samples are a fraction of
all accesses: pages that no sample hit are missing, so sizes of working sets are lower bounds.
"""

import re
from collections.abc import Iterator
from typing import Final

from agewalk.trace.convert.fold import MAX_SPACES, SPACE_SHIFT
from agewalk.trace.convert.source import Source
from agewalk.trace.format import Batch

COMMAND: Final = "perf script -F comm,pid,tid,cpu,time,event,addr"
_LINE: Final = re.compile(
    rb"\s*(?P<comm>\S.{0,63}?)\s+(?P<pid>-?[0-9]{1,9})/(?P<tid>-?[0-9]{1,9})\s+(?:\[(?P<cpu>[0-9]{1,5})\]\s+)?"
    rb"(?P<s>[0-9]{1,10})\.(?P<frac>[0-9]{6}|[0-9]{9}):\s+(?P<event>\S.{0,255}?):\s+(?P<addr>[0-9a-f]{1,16})"
    rb"(?:\s+(?P<src>[0-9a-f]{1,16}\s+\|OP\s.{0,512}))?\s*"
)
_KERNEL: Final = 1 << 63


class PerfReader:
    """Reads one `perf script` file; `skipped` counts samples without an address."""

    def __init__(self) -> None:
        self.skipped = 0
        self._spaces: dict[bytes, int] = {}

    def read(self, source: Source) -> Iterator[Batch]:
        """Samples as accesses. Raises TraceError with the line."""
        last = 0
        for lines in source.lines():
            time: list[int] = []
            page: list[int] = []
            vcpu: list[int] = []
            write: list[bool] = []
            for number, line in enumerate(lines.data.split(b"\n")[:-1], lines.first):
                if not line.strip() or line.startswith(b"#"):
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
                address = int(match["addr"], 16)
                if not address:
                    self.skipped += 1
                    continue
                time.append(now)
                page.append(self._space(source, match["pid"], address, number) << SPACE_SHIFT | address >> 12)
                vcpu.append(cpu)
                write.append(b"store" in match["event"] or b"|OP STORE" in (match["src"] or b""))
            if time:
                yield Batch.of(time, page, vcpu=vcpu, write=write)

    def _space(self, source: Source, pid: bytes, address: int, line: int) -> int:
        """Which address space: 0 the kernel's and the first process's, whose halves do not meet."""
        if address & _KERNEL:
            return 0
        space = self._spaces.setdefault(pid, len(self._spaces))
        if space >= MAX_SPACES:
            raise source.error(f"more than {MAX_SPACES} processes", line=line, hint="filter with perf script --pid")
        return space
