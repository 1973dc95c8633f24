"""`agewalk docs`: the pages of the documentation, which every installation carries."""

import difflib
import json
import sys
from importlib import resources
from typing import Annotated

import typer

from agewalk.core.errors import UsageError
from agewalk.core.text import printable


def pages() -> dict[str, str]:
    """Text of each page by its name."""
    files = resources.files("agewalk").joinpath("docs").iterdir()
    names = sorted(file.name for file in files if file.name.endswith(".md"))
    return {
        name.removesuffix(".md"): resources.files("agewalk").joinpath("docs", name).read_text(encoding="utf-8")
        for name in names
    }


def title(text: str) -> str:
    """The heading of a page."""
    return text.partition("\n")[0].lstrip("# ").replace("`", "")


def command(
    page: Annotated[str, typer.Argument(help="A page; without one, they are listed.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Print a page of the documentation (Markdown), as in: agewalk docs metrics | less."""
    known = pages()
    if not page:
        titles = {name: title(text) for name, text in known.items()}
        if as_json:
            described = [{"name": name, "title": titles[name]} for name in known]
            sys.stdout.write(json.dumps({"schema": 1, "pages": described}) + "\n")
            return
        from agewalk.report.table import listed, room

        sys.stdout.write("\n".join(listed(titles, min(room(), 120))) + "\n")
        return
    if page not in known:
        near = difflib.get_close_matches(page, known, n=1, cutoff=0.5)
        raise UsageError(
            f"docs: there is no page {page!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"the pages are {', '.join(known)}",
        )
    if as_json:
        document = {"schema": 1, "name": page, "title": title(known[page]), "text": known[page]}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write(printable(known[page], keep="\n"))
