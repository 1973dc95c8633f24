"""Links and file names in texts for people lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tests/**/*.md", "tools/**/*.md", "bench/**/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
#: A file of this tree, named in running text: docs/check.md, `tests/README.md`, tools/lab/run.sh ...
NAMED = re.compile(r"(?<![\w./$-])((?:docs|tests|tools|bench|src)/[\w./-]+\.(?:md|py|sh|toml|json|c|svg|png))\b")
BARE = re.compile(r"(?<![\w./-])([\w-]+\.md)\b")


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Anchors of all headings outside of code blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {slug(line.lstrip("#")) for line in prose.splitlines() if line.startswith("#")}


def broken(page: Path, text: str) -> Iterator[str]:
    """What `text`, standing in `page`, names that is not there."""
    for found in LINK.finditer(text):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        if not place.exists():
            yield f"no file {target}"
        elif anchor and place.suffix == ".md" and anchor not in anchors(place.read_text(encoding="utf-8")):
            yield f"no heading {target}"
    if page.parent.name == "decisions":  # a record of its day: files have moved since
        return
    for found in NAMED.finditer(text):
        if not (ROOT / found[1]).exists() and not (page.parent / found[1]).exists():
            yield f"no file {found[1]}"


def test_the_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/check.md", "tests/README.md"} <= {
        str(page.relative_to(ROOT)) for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert list(broken(page, text)) == []
    if page.parent == ROOT / "docs":
        near = {path.name for path in PAGES}
        assert [name for name in BARE.findall(text) if name not in near] == []


def test_sources_name_files_that_exist() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if name.endswith(".md") and not (ROOT / name).exists()
    }
    assert not missing


def test_a_dead_link_is_found() -> None:
    page = ROOT / "docs" / "check.md"
    said = "[a](nowhere.md) [b](cli.md#no-such-heading) see docs/profiles.md and [c](cli.md) and [d](https://example.org/x)"
    assert list(broken(page, said)) == [
        "no file nowhere.md",
        "no heading cli.md#no-such-heading",
        "no file docs/profiles.md",
    ]
