"""For each reader: rows of the file = rows used + rows said to be skipped, and what is used arrives. Files are drawn with junk.

The files are written here from a list of what each line is, so that the counts do not come from the code under test.
"""

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agewalk.core.errors import TraceError
from agewalk.trace import open_trace
from agewalk.trace.convert import Columns, How, convert, text
from agewalk.trace.convert.account import Account
from agewalk.trace.convert.source import Source
from agewalk.trace.memory import load

USED, SKIPPED, ASIDE = "used", "skipped", "aside"
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Drawn:
    """A file whose rows are known: how many of each kind, and the page numbers that must arrive, in order."""

    how: How
    content: bytes
    counts: Counter[str]
    pages: list[int]

    def holds(self, folder: Path) -> None:
        """Convert it; raises AssertionError if a row is missing or made up."""
        (folder / "source").write_bytes(self.content)
        if not self.pages:
            with pytest.raises(TraceError, match="no accesses in it"):
                convert(folder / "source", folder / "out.parquet", self.how)
            return
        done = convert(folder / "source", folder / "out.parquet", self.how)
        account = done.account
        assert (account.used, account.skipped_rows) == (self.counts[USED], self.counts[SKIPPED])
        assert account.aside.total() == self.counts[ASIDE]
        trace = load(open_trace(folder / "out.parquet"))
        assert trace.columns.gfn.tolist() == self.pages
        assert done.accesses == done.rows == trace.rows == len(self.pages)
        meta = trace.meta.other
        assert int(meta["source_rows"]) == self.counts[USED] + self.counts[SKIPPED]
        noted = sum(json.loads(meta.get("source_skipped", "{}")).values())
        assert noted == self.counts[SKIPPED] + self.counts[ASIDE]


Line = tuple[str, int]  # what it is, and a small number that says which page or which junk
LINES = st.lists(st.tuples(st.sampled_from([USED, USED, USED, SKIPPED, ASIDE]), st.integers(0, 300)), max_size=70)


def drawn(lines: Iterable[Line], how: How, write: Callable[[str, int, int], str | bytes], head: str = "") -> Drawn:
    parts = [write(what, number, i) for i, (what, number) in enumerate(lines)]
    content = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
    counts = Counter(what for what, _ in lines)
    counts[ASIDE] += head.count("\n")
    return Drawn(how, head.encode() + content, counts, [number for what, number in lines if what == USED])


def lackey(lines: list[Line]) -> Drawn:
    def write(what: str, page: int, _: int) -> str:
        used = [f" L {page << 12:x},8\n", f" S {page << 12 | 5:x},4\r\n", f" M {page << 12:x},1\n"]
        aside = ["==1== a\n", "--1-- \n", "**\n", "\n"]
        return {USED: used[page % 3], SKIPPED: f"I  {page << 12:x},3\n", ASIDE: aside[page % 4]}[what]

    return drawn(lines, How(kind="lackey", slot_ns=0, numbering="keep", instructions=False), write)


def oracle(lines: list[Line]) -> Drawn:
    lines = [(what, n) for what, n in lines if what != ASIDE]
    how = How(kind="oracle", numbering="keep")
    return drawn(lines, how, lambda what, n, i: struct.pack("<IQIq", i, n, 4096 * (what == USED), -1))


def binary(lines: list[Line]) -> Drawn:
    lines = [(what, n) for what, n in lines if what != ASIDE]
    columns = Columns(time="1", address="2", size="3", write="4", time_unit="us")
    how = How(kind="binary", record=">Q3xqIc", columns=columns, numbering="keep")
    return drawn(
        lines, how, lambda what, n, i: struct.pack(">Q3xqIc", i, n << 12, 9 * (what == USED), b"rw"[i % 2 :][:1])
    )


def csv_with(delimiter: str, header: bool) -> Callable[[list[Line]], Drawn]:
    def make(lines: list[Line]) -> Drawn:
        def write(what: str, n: int, i: int) -> str:
            if what == ASIDE:
                return ["# 1,2\n", "\n", "#\r\n", "  \n", '# "open\n'][n % 5]
            size = 0 if what == SKIPPED else 1 + n % 4096
            return delimiter.join([f"{i}.25", f"{n << 12:#x}", f"{size}", '"w"' if n % 2 else "Read"]) + "\n"

        columns = Columns(time="1", address="2", size="3", write="4", header=header, delimiter=delimiter)
        head = delimiter.join(["time", "addr", "size", "op"]) + "\n" if header else ""
        return drawn(lines, How(kind="csv", columns=columns, numbering="keep"), write, head)

    return make


def csv_guessed(lines: list[Line]) -> Drawn:
    lines = [(USED, 0), *((USED if what == SKIPPED else what, n) for what, n in lines)]
    how = How(kind="csv", numbering="keep")
    return drawn(lines, how, lambda what, n, i: f"{i};{n}\n" if what == USED else "# x\n", "time_ns;gfn\n")


def msr(lines: list[Line]) -> Drawn:
    def write(what: str, n: int, i: int) -> str:
        size = 4096 * (what == USED)
        return (
            "\n" if what == ASIDE else f"{128166372003061629 + i},usr,0,{('Read', 'Write')[n % 2]},{n << 12},{size},7\n"
        )

    return drawn(lines, How(kind="msr", numbering="keep"), write)


def perf(lines: list[Line]) -> Drawn:
    def write(what: str, n: int, i: int) -> str:
        address = f"{n + 1 << 12:x}" if what == USED else "0"
        forms = [f"{address}", f"0x{address}", f"{address} 5080021 |OP LOAD|LVL N/A 30 55e0 f+0x1 (/x)"]
        sample = f" a b {i}/7 [001] 5.{i:06}: 7 cpu/mem-loads/P: {forms[n % 3]} phys_addr: 1000\n"
        return sample if what != ASIDE else ("# x\n", "\n")[n % 2]

    made = drawn(lines, How(kind="perf", numbering="keep", one_process=True), write)
    return Drawn(made.how, made.content, made.counts, [n + 1 for n in made.pages])


def damon(lines: list[Line]) -> Drawn:
    lines = [(what, n) for what, n in lines if what != ASIDE]
    snapshots = [
        {"start_time": i, "end_time": i + 1, "regions": [
            {"start": n << 12, "end": n + 1 << 12, "nr_accesses": {"samples": 3 * (what == USED)}, "age": 0}]}
        for i, (what, n) in enumerate(lines)
    ]  # fmt: skip
    made = drawn(lines, How(kind="damon", numbering="keep"), lambda *_: "")
    return Drawn(made.how, json.dumps([{"target_id": 1, "snapshots": snapshots}]).encode(), made.counts, made.pages)


READERS: dict[str, Callable[[list[Line]], Drawn]] = {
    "lackey": lackey, "oracle": oracle, "binary": binary, "csv ,": csv_with(",", True), "csv ;": csv_with(";", False),
    "csv tab": csv_with("\t", False), "csv space": csv_with(" ", True), "csv guessed": csv_guessed, "msr": msr, "perf": perf,
    "damon": damon,
}  # fmt: skip
MANY: list[Line] = [((USED, USED, SKIPPED, ASIDE)[i % 4], i) for i in range(90)]


@pytest.mark.parametrize("reader", READERS)
@FEW
@given(lines=LINES)
def test_rows_in_are_rows_out_and_rows_skipped(tmp_path: Path, reader: str, lines: list[Line]) -> None:
    file = READERS[reader](lines)
    if file.content:
        file.holds(tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_many_rows(tmp_path: Path, reader: str) -> None:
    READERS[reader](MANY).holds(tmp_path)


@pytest.mark.parametrize("reader", ["lackey", "csv ,", "csv space", "csv guessed", "msr", "perf"])
@FEW
@given(
    data=st.data(),
    junk=st.one_of(st.binary(max_size=30), st.text(",;#\"' 0123456789.abxrw[]:/|\r\t", max_size=30).map(str.encode)),
)
def test_a_line_of_junk_is_an_error_or_accounted_for(tmp_path: Path, reader: str, data: Any, junk: bytes) -> None:
    file = READERS[reader](MANY)
    lines = file.content.splitlines(keepends=True)
    lines.insert(data.draw(st.integers(0, len(lines))), junk + b"\n")
    content = b"".join(lines)
    (tmp_path / "source").write_bytes(content)
    try:
        done = convert(tmp_path / "source", tmp_path / "out.parquet", file.how)
    except TraceError:
        return
    assert done.account.rows + done.account.aside.total() == content.count(b"\n")
    assert done.account.used >= file.counts[USED]
    assert open_trace(tmp_path / "out.parquet").rows == done.rows == done.accesses >= done.account.used


@FEW
@given(pages=st.lists(st.integers(0, 99), min_size=1, max_size=50), cut=st.integers(1, 60), group=st.integers(1, 60))
def test_parquet_gives_every_row(tmp_path: Path, pages: list[int], cut: int, group: int) -> None:
    types = {"time_ns": pa.uint64(), "vcpu": pa.uint8(), "gfn": pa.uint32(), "write": pa.bool_()}
    values = [range(len(pages)), [0] * len(pages), pages, [False] * len(pages)]
    table = pa.table({n: pa.array(v, t) for (n, t), v in zip(types.items(), values, strict=True)})
    meta = {"page_size": "4096", "memory_bytes": str(100 * 4096)}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "t.parquet", row_group_size=group)
    got = [batch.gfn.tolist() for batch in open_trace(tmp_path / "t.parquet").batches(cut)]
    assert [page for part in got for page in part] == pages
    assert all(len(part) <= cut for part in got)


def loses_the_row_after_the_head(lines: Any, count: int) -> Any:
    return [line for line, _ in zip(lines, range(count), strict=False)]


FAULTS: list[tuple[str, object, str, Any]] = [
    ("csv ,", text, "islice", loses_the_row_after_the_head),
    ("csv guessed", text, "header_of", lambda *_: False),
    ("csv ;", text, "header_of", lambda *_: True),
    ("msr", Account, "skip", lambda *_: None),
    ("oracle", Account, "skip", lambda *_: None),
    ("lackey", Account, "set_aside", lambda *_: None),
]


@pytest.mark.parametrize(("reader", "where", "name", "fault"), FAULTS)
def test_seeded_faults_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, where: object, name: str, fault: Any
) -> None:
    file = READERS[reader](MANY)
    monkeypatch.setattr(where, name, fault)
    with pytest.raises((AssertionError, TraceError)):
        file.holds(tmp_path)
    monkeypatch.setattr(Source, "audit", lambda self: None)  # the reader's own audit aside
    with pytest.raises((AssertionError, TraceError)):
        file.holds(tmp_path)
