"""Rules about the tree itself: small files, a small door, nothing heavy at import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "numpy",
    "numba",
    "pyarrow",
    "pydantic",
    "typer",
    "rich",
    "altair",
    "vl_convert",
    "perfetto",
    "joblib",
}


def test_files_hold_one_idea() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("src", "tests", "bench", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long, "a file over 400 lines holds two ideas: split it"


@pytest.mark.parametrize(
    "package",
    ["agewalk", "agewalk.core.direct", "agewalk.host.aging", "agewalk.model.machine", "agewalk.model.protocols.base"],
)
def test_importing_loads_nothing_heavy(package: str) -> None:
    code = f"import sys, {package}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
