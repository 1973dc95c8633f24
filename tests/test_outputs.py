"""No source puts a file's text into a page, a chart or a terminal by itself: agewalk.core.text has a function for each place."""

import ast
import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src/agewalk"
#: pattern -> the only files that may hold it
ONLY = {
    r"\bhtml\.escape|import escape|saxutils": {"core/text.py"},
    r"vl_convert|\.save\(|to_html\(": {"trace/drawn.py"},
    r"rich\.(table|markup|panel|text|prompt)|rich import (print|box)|markup=True|\[/?(bold|red|green|dim)\b": set(),
    r"\{\{\w+\}\}": {"core/text.py", "report/page.html", "trace/drawn.py"},
    r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(.(style|on)": set(),
    r"https?://(?!www\.w3\.org/2000/svg)[^ ]*[\"']": set(),
}


@pytest.mark.parametrize("pattern", ONLY)
def test_only_these_files_do_it(pattern: str) -> None:
    kinds = {".js", ".html", ".css"} if pattern.startswith((r"(inner", "https")) else {".py", ".html", ".js"}
    found = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*")
        if path.suffix in kinds and re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found <= ONLY[pattern]


#: Functions whose answer is fit for a terminal, or for a program that reads JSON.
SAFE = {
    "paragraph",
    "table",
    "table_of",
    "title",
    "show",
    "printable",
    "_fitted",
    "dumps",
    "listed",
    "_help",
    "command_line",
}


def raw(node: ast.AST) -> list[str]:
    """What an expression takes from elsewhere without a safe function around it: names, formatted values."""
    match node:
        case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name)) if name in SAFE:
            return []
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[inner]):
            return raw(inner)
        case ast.Subscript(value=inner, slice=ast.Slice()):
            return raw(inner)
        case ast.GeneratorExp(elt=inner):
            return raw(inner)
        case ast.BinOp(left=left, right=right):
            return raw(left) + raw(right)
        case ast.Constant() | ast.Name(id=str()) if isinstance(node, ast.Constant) or node.id.isupper():
            return []  # a constant of the module
        case ast.FormattedValue(value=inner):
            return raw(inner)
        case ast.JoinedStr(values=values):
            return [found for value in values if not _number(value) for found in raw(value)]
    return [ast.unparse(node)]


def _number(value: ast.expr) -> bool:
    """Is it formatted as a number?"""
    return (
        isinstance(value, ast.FormattedValue)
        and value.format_spec is not None
        and bool(re.search(r"[,df%]'?$", ast.unparse(value.format_spec)))
    )


@pytest.mark.parametrize("path", sorted((SOURCES / "cli").glob("*.py")), ids=lambda p: p.name)
def test_commands_write_nothing_raw(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"sys.stdout.write", "sys.stderr.write", "print"}:
            assert not raw(node.args[0]), f"line {node.lineno}: put printable(), paragraph() or table() around it"


def test_the_rule_finds_raw_names() -> None:
    for text in ("f'{name}'", "name", "'a' + name", "''.join(f'{x} ' for x in y)", "f'{name:<5}'"):
        assert raw(ast.parse(text, mode="eval").body), text
    assert not raw(ast.parse("paragraph(name) + f'{n:,}' + 'x'", mode="eval").body)
