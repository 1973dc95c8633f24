"""The class that docs/your-own-protocol.md shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from agewalk.model.protocols.registry import get_protocol
from agewalk.model.protocols.tables.difference import question_differences
from agewalk.model.protocols.tables.enumerate import protocol_table

PAGE = Path(__file__).parents[3] / "docs" / "your-own-protocol.md"


def test_the_documented_protocol(tmp_path: Path) -> None:
    text = PAGE.read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code
    lines = [line for line in code.group(1).splitlines() if line.strip()]
    assert len(lines) <= 15
    (tmp_path / "tdp_only.py").write_text(code.group(1))
    mine = protocol_table(get_protocol(f"{tmp_path}/tdp_only.py:TdpOnly"))
    merged = protocol_table(get_protocol("linux-6.18"))
    for row in mine.age:
        assert row.young is (row.fast if row.tdp else row.slow)
        assert not row.locked
    said = [d.meaning for d in question_differences(mine, merged)]
    for sentence in (
        "A nested guest used the page: linux-6.18 moves it to the youngest generation, under tdp-only it goes on growing old.",
        "A nested guest used the page: linux-6.18 keeps it, tdp-only takes it, so that its next use is a refault.",
    ):
        assert sentence in said
