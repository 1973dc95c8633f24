"""report.html: one file, no network, whatever names it is given."""

import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agewalk.engine.quality import FALSE_OLD, FALSE_YOUNG
from agewalk.report.page import CAUSES, MEANINGS, SCRIPTS, Lines, Misses, Page, Picture, render
from agewalk.report.where import Where

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
            Misses([(4096, 0.5)], [(4096, 0.25)], [(4096, 0.5, 0.1)], 0.1),
            [Where(NASTY, 1 << 20, 50, [NASTY], [64], [[[1, 2]]], [[[3, 4]]], [[[500, -1]]])],
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


def test_every_cause_has_words_and_a_colour() -> None:
    script = "".join(resources.files("agewalk.report").joinpath(name).read_text() for name in SCRIPTS)
    for cause in {*FALSE_OLD, *FALSE_YOUNG}:
        assert cause in CAUSES
        assert re.search(rf"\b{cause}: \"#[0-9a-f]{{6}}\"", script)


def test_data_survives_the_way() -> None:
    data = json.loads(re.search(r'id="data">(.*?)</script>', page(), re.DOTALL).group(1))  # type: ignore[union-attr]
    assert data["results"][0]["policy"] == NASTY
    assert data["lines"][0]["sum"] == [4, 6]
    assert data["pictures"][0]["top"] == 9
    assert data["misses"]["sample"] == [[4096, 0.5, 0.1]]
    assert data["where"]["names"] == [NASTY]
    assert (data["pictures"][0]["rows"], data["pictures"][0]["columns"]) == (2, 2)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_as_a_browser_draws_it(tmp_path: Path) -> None:
    """The headline says what it is out of; a sample's marks are hollow; maps have an axis of pages."""
    base: dict[str, Any] = dict.fromkeys(MEANINGS) | {"memory_bytes": 1 << 20, "evictions": 9, "vms": []}
    results = [
        base | {"policy": "two-list", "refaults": 20, "ptes_walked": 5},
        base | {"policy": "v7", "refaults": 30, "ptes_walked": 5},
        base | {"policy": "lru", "refaults": 10},
        base | {"policy": "fifo", "refaults": 40},
    ]
    counts = np.ones((2, 2), np.uint32)
    text = render(
        Page(
            "t", [], results, [Lines("v7", 1 << 20, 50, [[1, 2]])], [Picture("vm", 50, 64, counts, [])],
            Misses([(4096, 0.5)], [(4096, 0.25)], [(4096, 0.5, 0.1)], 0.1),
            [Where("v7", 1 << 20, 50, ["vm"], [64], [[[1, 2]]], [[[3, 4]]], [[[500, -1]]])],
        )
    )  # fmt: skip
    (tmp_path / "page.html").write_text(text)
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, f"file://{tmp_path / 'page.html'}"], capture_output=True, text=True, check=True, timeout=120
    )
    drawn = done.stdout.partition("<script")[0]
    assert (
        "of the policies that a kernel can run, two-list refaults least: 20 pages. v7 refaults 30, 50 % more." in drawn
    )
    assert "What no kernel can run, since it sees every access or the future: lru 10." in drawn
    assert re.search(r'<circle [^>]*style="fill: ?var\(--back\)', drawn)
    assert '<div class="pages"><span>0</span><span>64</span><span>128</span></div>' in drawn
