"""`agewalk --version`: what a report of a fault needs, one fact a line."""

import hashlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

#: Libraries whose release decides results, speed or pictures.
LIBRARIES: Final = (
    "numpy", "numba", "pyarrow", "pydantic", "typer", "rich", "altair", "vl-convert-python", "cython", "perfetto",
)  # fmt: skip


def _release(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def source_digest() -> str:
    """Twelve hex digits of the package's own files: two reports with the same digest ran the same code."""
    package = Path(__file__).parents[1]
    files = sorted(
        path for path in package.rglob("*") if path.suffix in {".py", ".pxd", ".toml", ".js", ".css", ".html"}
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(package)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs"


def facts() -> list[tuple[str, str]]:
    """Name and value of each fact; the first is the program itself."""
    return [
        ("agewalk", version("agewalk")),
        ("sources", source_digest()),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("processor", _processor()),
        *((library, _release(library)) for library in LIBRARIES),
    ]
