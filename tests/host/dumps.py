"""Texts that live kernels printed (Debian's 6.12.117 and 7.3.4 with one VM of 64 MiB), and trees made of them."""

from pathlib import Path
from typing import Final

SCOPE: Final = "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope"
#: After three agings one second apart: a quarter of 16,384 pages is hot, 21 pages are the VMM's own.
AGED: Final = {
    "6.12": (
        f"memcg     3 {SCOPE}\n node     0\n"
        "          3       7864      12794           0 \n          4       3312          0           0 \n"
        "          5       2152       4117           0 \n          6       1020          0           0 \n"
    ),
    "7.3": (
        f"memcg 81 {SCOPE}\n node     0\n"
        "          3       6212      12795           0 \n          4       3188          0           0 \n"
        "          5       2132       4117           0 \n          6       1036          0           0 \n"
    ),
}
FULL: Final = f"""memcg     3 {SCOPE}
 node     0
          0       4848          0           0 
                     0          0r          0e          0p          0r          0e          0p
                     1          0r          0e          0p          0r          0e          0p
                                0x          0x          0x          0x
          3       4848         39           7 
                     0          5R          6T          0x          0R          0T          0x
                                9T          8Y          0F          0A
"""  # noqa: W291 (the kernel prints a space there)
RMAPS: Final = """Rmap_Count:\t0\t1\t2-3\t4-7\t8-15\t16-31\t32-63\t64-127\t128-255\t256-511\t512-1023\t
Level=4K:\t8656\t48\t0\t0\t0\t0\t0\t0\t0\t0\t0\t
Level=2M:\t1\t16\t0\t0\t0\t0\t0\t0\t0\t0\t0\t
Level=1G:\t2\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t
"""
PSI: Final = "some avg10=8.69 avg60=1.57 avg300=0.32 total=1581450\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
SMAPS: Final = """7f905a600000-7f905a800000 rw-s 00000000 00:01 2                          /dev/zero (deleted)
Size:               2048 kB
Rss:                2048 kB
THPeligible:           0
VmFlags: rd wr sh mr mw me ms sd
7f905a800000-7f905ea00000 rw-p 00000000 00:00 0 
Size:              67584 kB
KernelPageSize:        4 kB
Rss:               65544 kB
AnonHugePages:     65536 kB
VmFlags: rd wr mr mw me ac sd
"""  # noqa: W291 (the kernel prints a space there)


def tree(root: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    """A recorded tree below `root`."""
    for name, text in files.items():
        place = root / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode(errors="surrogateescape"))
    for name, target in (links or {}).items():
        place = root / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    return root
