from pathlib import Path

import pytest

from agewalk.core.errors import InputError
from agewalk.timing.hardware.costs import load_costs


def test_every_cost_has_a_unit_and_a_source() -> None:
    table = load_costs()
    assert len(table) > 30
    for name, cost in table.items():
        assert cost.source, name
        assert (table.ps(name) >= 0) if cost.unit not in {"count", "ratio", "flag"} else (table.number(name) >= 0)


def test_units() -> None:
    table = load_costs()
    assert table.ps("rcu.grace_period") == round(table["rcu.grace_period"].value * 10**9)  # ms
    assert table.ps("line.core_to_core") == round(table["line.core_to_core"].value * 10**3)  # ns
    with pytest.raises(InputError, match="is a ratio, not a duration"):
        table.ps("noise.work")
    with pytest.raises(InputError, match="is a duration"):
        table.number("line.hit")


def test_a_wrong_name_names_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        load_costs()["line.core_to_cor"]
    assert "line.core_to_core" in caught.value.hint


def test_own_table_names_only_what_differs(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('schema = 1\n[line]\ncore_to_core = { value = 31, unit = "ns", source = "my measurement" }\n')
    table = load_costs(own)
    assert table["line.core_to_core"].value == 31
    assert table["line.memory"] == load_costs()["line.memory"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = 2\n", "schema is not 1"),
        ("schema = 1\nline = 3\n", "is not a section"),
        ("schema = 1\n[line]\nhit = 3\n", "needs value, unit and source"),
        ('schema = 1\n[line]\nhit = { value = 3, unit = "ns" }\n', "needs value, unit and source"),
        ('schema = 1\n[line]\nhit = { value = -3, unit = "ns", source = "x" }\n', "not a non-negative number"),
        ('schema = 1\n[line]\nhit = { value = 3, unit = "hours", source = "x" }\n', "unknown unit"),
        ('schema = 1\n[line]\nhit = { value = 3, unit = "ns", source = "x", by = "me" }\n', "unknown keys"),
        ('schema = 1\n[line]\nhti = { value = 3, unit = "ns", source = "x" }\n', "no 'line.hti'"),
        ('schema = 1\n[line]\nhit = { value = 3, unit = "count", source = "x" }\n', "in count, the shipped one in ns"),
        ("schema = \n", "mine.toml"),
    ],
)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(text)
    with pytest.raises(InputError, match=says):
        load_costs(own)


def test_missing_file() -> None:
    with pytest.raises(InputError, match="cannot read"):
        load_costs(Path("nowhere.toml"))
