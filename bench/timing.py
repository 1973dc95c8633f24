"""Effects a second of the timed executor, compiled and interpreted, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from agewalk.timing.compiled import compile_once


def run(smoke: bool) -> dict[str, Any]:
    """Print a table and return it: million effects a CPU second."""
    on = compile_once(lambda text: print(text, file=sys.stderr))
    results: dict[str, dict[str, float]] = {}
    for how in ("compiled", "text") if on else ("text",):
        done = subprocess.run(
            [sys.executable, "-m", "bench.timing_cases", *(["--smoke"] if smoke else [])],
            env=os.environ | {"AGEWALK_TIMING": how},
            stdout=subprocess.PIPE,
            check=True,
        )
        results[how] = json.loads(done.stdout)
    table = Table("timed executor, M effects/s", *results, title="agewalk timing")
    for name in results["text"]:
        table.add_row(name, *(f"{found[name]:.2f}" for found in results.values()))
    Console().print(table)
    return {"timing": results.get("compiled", results["text"]), "timing_interpreted": results["text"]}
