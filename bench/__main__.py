"""All benchmarks in one run on one machine: tables here, numbers in out/bench.json. `--smoke`: seconds instead of minutes.

Names on the command line choose some of them. One that fails is reported, the rest still runs, and the exit code is 1.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agewalk.core.files import whole

BENCHMARKS = ("engine", "check", "timing")
OUT = Path("out/bench.json")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "?",
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_1min_at_start": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("agewalk", "numpy", "numba", "pyarrow")},
    }


def main() -> int:
    """Run them; 0 if all did."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="inputs of seconds: does every benchmark still run?")
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    wanted = parser.parse_args()
    unknown = set(wanted.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    document: dict[str, Any] = {
        "schema": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "smoke": wanted.smoke,
        "machine": machine(),
        "results": {},
        "failed": {},
    }
    here = document["machine"]
    print(f"{here['cpu']}, {here['cores']} cores, load {here['load_1min_at_start']}, Python {here['python']}")
    for name in wanted.names or BENCHMARKS:
        print(f"\n== {name}{' (smoke: too short to quote)' if wanted.smoke else ''}", flush=True)
        began = time.perf_counter()
        try:
            document["results"][name] = import_module(f"bench.{name}").run(wanted.smoke)
        except Exception as error:  # the others still run; the exit code tells
            traceback.print_exc()
            document["failed"][name] = f"{type(error).__name__}: {error}"
        print(f"   {time.perf_counter() - began:.1f} s", flush=True)
    with whole(wanted.out) as part:
        part.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\n{wanted.out}" + (f"   FAILED: {', '.join(document['failed'])}" if document["failed"] else ""))
    return 1 if document["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
