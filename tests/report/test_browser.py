"""report.html in a browser: what it opens on, and that its policy holds where a name got through all the same."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.hostile import browse

from agewalk.report.page import MEANINGS, Page, render

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")


def results() -> list[dict[str, Any]]:
    base: dict[str, Any] = dict.fromkeys(MEANINGS) | {"evictions": 9, "vms": [], "ptes_walked": 5}
    return [
        base | {"policy": policy, "memory_bytes": size << 20, "refaults": refaults * size}
        for size in (1, 2, 4)
        for policy, refaults in (("v5", 20), ("v7", 30))
    ]


@pytest.mark.parametrize(
    ("host", "opens_on", "least"), [(None, 1, 20), (2, 2, 40), (4, 4, 80), (3.2, 4, 80), (99, 4, 80)]
)
def test_it_opens_on_the_host_s_own_memory(host: float | None, opens_on: int, least: int, tmp_path: Path) -> None:
    """Or on the size that was run next to it; its headline speaks of that size."""
    bytes_ = None if host is None else int(host * 2**20)
    (tmp_path / "page.html").write_text(render(Page("t", [], results(), host_bytes=bytes_)))
    drawn = browse(tmp_path / "page.html", tmp_path / "profile")
    assert (
        f"With {opens_on} MiB, of the policies that a kernel can run, v5 refaults least: {least} pages." in drawn.body
    )
    assert f'aria-pressed="true">{opens_on} MiB</button>' in drawn.body
    assert not drawn.console


@pytest.mark.parametrize(
    "got_through",
    [
        "<img src=x onerror=\"document.title='PWNED'\">",
        "<script>document.title='PWNED'</script>",
        "<svg onload=\"document.title='PWNED'\"></svg>",
        "<a href=\"javascript:document.title='PWNED'\" id=a></a><script>document.getElementById('a').click()</script>",
    ],
)
def test_the_policy_is_a_second_wall(got_through: str, tmp_path: Path) -> None:
    """If HTML got into the page after all, it would not run."""
    text = render(Page("t", [], results())).replace("<header>", "<header>" + got_through)
    (tmp_path / "page.html").write_text(text)
    drawn = browse(tmp_path / "page.html", tmp_path / "profile")
    assert drawn.title == "t - agewalk"
    assert "v5 refaults least" in drawn.body or "<script" in got_through
    (tmp_path / "open.html").write_text(text.replace("Content-Security-Policy", "X-Nothing"))
    assert browse(tmp_path / "open.html", tmp_path / "profile").title != "t - agewalk"  # without the policy it does
