"""`agewalk docs`, and what messages point to: nothing that an installed agewalk does not carry."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agewalk.cli.docs import pages

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in {".py", ".html", ".js", ".toml"})


def agewalk(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "agewalk", *words], capture_output=True, text=True, check=False)


def said(path: Path) -> Iterator[str]:
    """Texts of a file that people may read who have no source: all but comments and the docstrings that no command shows."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"(?m)^\s*#.*|source = .*", "", text)
        return
    tree = ast.parse(text)
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            path.parent.name != "cli" or isinstance(node, ast.Module)
        ):
            hidden.add(id(node.body[0].value) if node.body and isinstance(node.body[0], ast.Expr) else 0)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.value


def test_pages_are_listed_and_printed() -> None:
    listed = agewalk("docs")
    assert listed.returncode == 0
    assert "metrics   " in listed.stdout
    printed = agewalk("docs", "metrics")
    assert printed.stdout == (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    document = json.loads(agewalk("docs", "--json").stdout)
    assert {page["name"] for page in document["pages"]} == set(pages())
    assert json.loads(agewalk("docs", "cli", "--json").stdout)["text"] == pages()["cli"]


def test_an_unknown_page_gets_the_nearest() -> None:
    done = agewalk("docs", "metric")
    assert done.returncode == 2
    assert "did you mean 'metrics'?" in done.stderr


def test_the_package_carries_every_page() -> None:
    assert set(pages()) == {path.stem for path in (ROOT / "docs").glob("*.md")}
    carried = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert "docs/*.md" in carried["agewalk"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_messages_name_pages_that_there_are(path: Path) -> None:
    for text in said(path):
        assert not re.search(r"\bdocs/|\b(?:tests|bench)/[\w-]+/?[\w-]+\.(?:py|md)", text), text
        for page in re.findall(r"agewalk docs ([\w-]+)", text):
            assert page in pages(), text


def test_recordings_that_are_not_here(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agewalk", "witness", "verify", "tests/witness"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "source tree" in done.stderr


def test_the_legend_of_the_demo_explains_every_column() -> None:
    from agewalk.cli.demo import _columns
    from agewalk.report.terminal import COLUMNS

    assert all(f"  {heading} " in _columns() for _, heading, *_ in COLUMNS)
