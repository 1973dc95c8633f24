"""No source puts a file's text into a page, a chart or a terminal by itself: agewalk.core.text has a function for each place."""

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src/agewalk"
#: pattern -> the only files that may hold it
ONLY = {
    r"\bhtml\.escape|import escape|saxutils": {"core/text.py", "report/terminal.py"},
    r"vl_convert|\.save\(|to_html\(": {"trace/drawn.py"},
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
