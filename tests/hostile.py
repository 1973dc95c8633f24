"""Names that try to be more than names, and a browser that says what became of them."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, NamedTuple

from agewalk.core.text import printable

#: Each was, or could be, taken for a command by one of the places that names go to.
NAMES: Final = (
    "{{DATA}}",
    "<img src=x onerror=document.title='PWNED'>",
    "<!--<script>",
    "</script><script>document.title='PWNED'</script>",
    "</svg><style>*{display:none}</style>",
    "\" onload='document.title=1' x=\"",
    "a\x1b[31mb\x07\x9b2J",
    "a\x00b\x7f",
    "a\ufffeb\ufdd0\U0001fffe",
    "a\u202eb\u2066\u200b\ufeff\u3164",
    "a\u2028b\u2029\r\nc",
    "[red]a[/nope][link=file:///x]",
    "x;#quot;%%{init}%% end -->> m: Note over",
    "*/ #include <x> /*",
    '"""\\',
    "${document.title='PWNED'}&amp;",
)
#: Only JSON and file names can hold these.
SURROGATES: Final = ("a\ud800b", "\udcffa\udc80")
_ALIEN: Final = {
    "img",
    "script",
    "style",
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "form",
    "meta",
    "@srcdoc",
    "@src",
}


class Drawn(NamedTuple):
    """What a browser made of a page: its elements as HTML, its title, its errors, its scripts."""

    body: str
    title: str
    console: list[str]
    scripts: int


def browse(page: Path, profile: Path) -> Drawn:
    """Open a page in a browser without a window, and wait for what its scripts do later."""
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        "--virtual-time-budget=2000", f"--user-data-dir={profile}", "--dump-dom", page.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    dom = done.stdout.decode(errors="replace")
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    return Drawn(
        dom.partition("<body")[2].partition("<script")[0], title[1] if title else "", console, dom.count("<script")
    )


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"@{name}" for name, _ in attrs)}


def alien(body: str) -> set[str]:
    """Elements and attributes (with an @) of a page's body that none of our pages has."""
    reader = _Elements()
    reader.feed(body)
    return {x for x in reader.found if x in _ALIEN or x.startswith("@on")}


def as_text(name: str) -> str:
    """How a name stands in a browser's HTML."""
    return printable(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
