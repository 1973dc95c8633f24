"""No module of the package imports itself by way of others, imports for annotations alone (`TYPE_CHECKING`) counted.

import-linter's contracts are about layers; two files of one room may still need each other. Here every import statement counts.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"


def modules_of(root: Path) -> dict[str, Path]:
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            start = ".".join(part for part in (above, node.module) if part)
            for name in node.names:
                yield inner if (inner := f"{start}.{name.name}") in modules else start


def circles(root: Path) -> list[list[str]]:
    """Sets of modules that all reach one another (Tarjan's strongly connected components of more than one)."""
    modules = modules_of(root)
    graph = {m: {i for i in imports_of(m, path, modules) if i in modules and i != m} for m, path in modules.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def test_no_circles_of_imports() -> None:
    assert circles(SOURCE) == [], "types that two modules share belong in a module below both"


@pytest.mark.parametrize(
    "line",
    [
        "import house.attic",
        "from house import attic",
        "from . import attic",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.attic import Box",
        "def late() -> None:\n    from .attic import Box",
    ],
)
def test_a_circle_is_found_however_it_is_written(tmp_path: Path, line: str) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "__init__.py").write_text("")
    (house / "cellar.py").write_text(line)
    (house / "hall.py").write_text("import house.cellar")
    (house / "attic.py").write_text("from house import hall\nclass Box: ...")
    assert circles(tmp_path) == [["house.attic", "house.cellar", "house.hall"]]
