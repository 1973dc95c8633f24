"""Every code block and console block of README, docs and docstrings runs, and its output is as shown."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest
from tests.docs.blocks import LANGUAGES, Block, Command, Page, blocks, commands, indented, matches

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Pages whose blocks take over 8 seconds.
SLOW = {"README.md", "docs/compare.md", "docs/your-own-protocol.md"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {block.language for block in blocks(text)} <= LANGUAGES
    assert indented(text) == [], "a code block without a fence is not run"


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow) if name_of(p) in SLOW else p for p in PAGES],
    ids=name_of,
)
def test_blocks_do_what_the_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = Page(tmp_path)
    for block in blocks(page.read_text(encoding="utf-8")):
        shown.run(block)


def modules() -> list[str]:
    """Modules whose docstrings hold an example."""
    found = []
    for path in sorted((ROOT / "src" / "agewalk").rglob("*.py")):
        docs = [
            ast.get_docstring(node) or ""
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        if any(">>> " in text for text in docs):
            parts = path.relative_to(ROOT / "src").with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


@pytest.mark.parametrize("module", modules())
def test_examples_of_docstrings(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    shown = Page(tmp_path)
    shown.run(Block("console", "$ echo one two\none ...\n$ false  # exit code 1\n", 1))
    shown.run(Block("python", "print(1)\nprint(2)\n", 1))
    shown.run(Block("output", "...\n2\n", 1))
    with pytest.raises(AssertionError):
        shown.run(Block("output", "3\n", 1))
    with pytest.raises(AssertionError):
        shown.run(Block("console", "$ echo one\ntwo\n", 1))
    with pytest.raises(AssertionError):
        shown.run(Block("console", "$ false\n", 1))


def test_outputs_are_compared_by_line() -> None:
    assert matches("a ... c\n...\nz\n", "a b c\nx\ny\nz\n")
    assert matches("...\n", "")
    assert not matches("a ... c\n", "a b\nc\n")
    assert not matches("", "something\n")


def test_commands_on_the_reader_s_host_are_not_run() -> None:
    assert commands(Block("console", "host$ reboot\n$ a \\\n  b\n", 1)) == [
        Command("reboot", 0, None, here=False),
        Command("a b", 0, None, here=True),
    ]
    assert indented("text\n\n    code\n") == [3]
