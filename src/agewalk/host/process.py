"""/proc/PID: mappings with what backs them, pagemap, identity."""

import re
import struct
from typing import Final, NamedTuple

from agewalk.core.errors import InputError

_MAP: Final = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([-rwxsp]{4}) ([0-9a-f]{1,16}) ([0-9a-f]+):([0-9a-f]+) ([0-9]{1,20})(?: +(.*))?",
    re.DOTALL,
)
_KB: Final = re.compile(r"([A-Za-z_]{1,40}): +([0-9]{1,20}) kB")
_OTHER: Final = re.compile(r"(?:VmFlags|THPeligible|ProtectionKey):.*", re.DOTALL)


class Mapping(NamedTuple):
    """A line of maps or a block of smaps. start, end: addresses; kb: sizes of smaps in kB, empty for maps."""

    start: int
    end: int
    perms: str
    inode: int
    name: str
    kb: dict[str, int]

    @property
    def backing(self) -> str:
        """anon, memfd, hugetlb, shmem or file, by the name and what smaps says."""
        name = self.name.removesuffix(" (deleted)")
        huge = self.kb.get("KernelPageSize", 4) >= 2048 or name.startswith(("/anon_hugepage", "/dev/hugepages"))
        if huge or "hugetlb" in name.lower():
            return "hugetlb"
        if name.startswith("/memfd:"):
            return "memfd"
        if name.startswith(("/dev/shm/", "/dev/zero", "/SYSV")):  # noqa: S108 (a name is compared, no file is made)
            return "shmem"
        return "file" if self.inode else "anon"


class Page(NamedTuple):
    """An entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst)."""

    present: bool
    swapped: bool
    soft_dirty: bool
    pfn: int


def mappings(text: str) -> list[Mapping]:
    """Read maps or smaps. Raises InputError, with the line, for anything else."""
    found: list[Mapping] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        if match := _MAP.fullmatch(line):
            start, end = int(match[1], 16), int(match[2], 16)
            if start < end:
                found.append(Mapping(start, end, match[3], int(match[7]), match[8] or "", {}))
                continue
        elif found and (size := _KB.fullmatch(line)):
            found[-1].kb[size[1]] = int(size[2])
            continue
        elif found and _OTHER.fullmatch(line):
            continue
        raise InputError(f"line {number} of smaps is none that a kernel prints", hint="the process ended meanwhile?")
    return found


def pagemap(data: bytes) -> list[Page]:
    """Entries of 8 bytes. A last entry that is cut short is left out: reads of a process that ends stop anywhere."""
    whole = data[: len(data) // 8 * 8]
    return [
        Page(bool(x >> 63), bool(x >> 62 & 1), bool(x >> 55 & 1), x & ((1 << 55) - 1) if x >> 63 else 0)
        for (x,) in struct.iter_unpack("=Q", whole)
    ]


def arguments(data: bytes) -> list[str]:
    """/proc/PID/cmdline as words. Empty for a kernel thread and a process that has ended."""
    return [word.decode(errors="surrogateescape") for word in data.removesuffix(b"\0").split(b"\0")] if data else []
