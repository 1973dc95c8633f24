"""report.html: one file, no network, whatever names it is given."""

import json
import re

import numpy as np

from agewalk.report.page import Lines, Page, Picture, render

NASTY = '</script><img src=x onerror="alert(1)">{{DATA}}'


def page() -> str:
    counts = np.array([[0, 1], [9, 0]], np.uint32)
    return render(
        Page(
            f"t {NASTY}",
            [("memory", "1 MiB <b>")],
            [{"policy": NASTY, "memory_bytes": 1 << 20, "refaults": 3, "vms": []}],
            [Lines("v7", 1 << 20, 50, [[1, 2], [3, 4]])],
            [Picture("vm", 50, 64, counts, [(0, NASTY)])],
        )
    )


def test_it_needs_nothing_else() -> None:
    text = page()
    links = set(re.findall(r"https?://[^\"' ]+", text))
    assert links <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link|<script src|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text


def test_names_cannot_break_out() -> None:
    text = page()
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text.replace("<\\/script><img src=x", "")
    assert "&lt;/script&gt;" in text
    assert "1 MiB &lt;b&gt;" in text


def test_data_survives_the_way() -> None:
    data = json.loads(re.search(r'id="data">(.*?)</script>', page(), re.DOTALL).group(1))  # type: ignore[union-attr]
    assert data["results"][0]["policy"] == NASTY
    assert data["lines"][0]["sum"] == [4, 6]
    assert data["pictures"][0]["top"] == 9
    assert (data["pictures"][0]["rows"], data["pictures"][0]["columns"]) == (2, 2)
