"""Sources that can be read once: pipes and standard input; and what a byte order mark and packing must not change."""

import bz2
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.trace.convert.test_hostile import GOOD, PACKS

from agewalk.core.errors import TraceError
from agewalk.trace import open_trace
from agewalk.trace.convert import Columns, Converted, How, convert
from agewalk.trace.memory import load

TINY = 3  # bytes written to a pipe at once: reads come short


@contextmanager
def pipe(path: Path, content: bytes) -> Iterator[Path]:
    """A FIFO that gives `content` in small pieces, once."""
    os.mkfifo(path)

    def feed() -> None:
        with path.open("wb", buffering=0) as out:
            for at in range(0, len(content), TINY):
                out.write(content[at : at + TINY])

    thread = Thread(target=feed)
    thread.start()
    yield path
    thread.join()


def rows(path: Path) -> list[tuple[int, ...]]:
    c = load(open_trace(path)).columns
    return list(zip(*(x.tolist() for x in (c.time_ns, c.vcpu, c.gfn, c.write, c.context)), strict=True))


def from_file(tmp_path: Path, content: bytes, how: How) -> tuple[Converted, list[tuple[int, ...]]]:
    (tmp_path / "file").write_bytes(content)
    done = convert(tmp_path / "file", tmp_path / "a.parquet", how)
    return done, rows(tmp_path / "a.parquet")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("kind", GOOD)
def test_a_pipe_gives_what_a_file_gives(tmp_path: Path, kind: str, pack: type[bytes]) -> None:
    how = How(kind=kind, numbering="regions")
    want = from_file(tmp_path, pack(GOOD[kind]), how)
    with pipe(tmp_path / "pipe", pack(GOOD[kind])) as path:
        done = convert(path, tmp_path / "b.parquet", how)
    assert (done, rows(tmp_path / "b.parquet")) == want


def test_formats_that_are_read_once_need_no_numbering(tmp_path: Path) -> None:
    for kind in ("lackey", "oracle"):
        with pipe(tmp_path / kind, GOOD[kind]) as path:
            convert(path, tmp_path / "b.parquet", How(kind=kind))
    with pipe(tmp_path / "csv", b"time,x\n1,7\n") as path:
        assert convert(path, tmp_path / "b.parquet", How(kind="csv", columns=Columns(object="x"))).numbering == "pages"


@pytest.mark.parametrize("kind", ["csv", "damon", "perf"])
def test_what_is_read_twice_is_kept_in_a_file_that_goes(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "kept"))
    want = from_file(tmp_path, GOOD[kind], How(kind=kind))
    with pipe(tmp_path / "pipe", GOOD[kind]) as path:
        done = convert(path, tmp_path / "b.parquet", How(kind=kind))
    assert (done, rows(tmp_path / "b.parquet")) == want
    assert not list((tmp_path / "kept").iterdir())


def test_a_trace_must_be_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="is a pipe or a device, not a file"):
        open_trace(tmp_path / "pipe")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.permutations(["time", "gfn", "write", "vcpu"]),
    cells=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), st.booleans(), st.integers(0, 3)), min_size=1),
    twice=st.sampled_from(["time", "gfn", "write", "vcpu", "note"]),
)
def test_marks_and_doubles(
    tmp_path: Path, columns: list[str], cells: list[tuple[int, int, bool, int]], twice: str
) -> None:
    """A byte order mark changes nothing, whatever column is first; a column that is taken and stands twice is refused."""
    order = [["time", "gfn", "write", "vcpu"].index(c) for c in columns]
    lines = [",".join(columns), *(",".join(str(int(row[i])) for i in order) for row in sorted(cells))]
    text = "\n".join(lines) + "\n"
    plain, marked = (from_file(tmp_path, mark + text.encode(), How(kind="csv")) for mark in (b"", b"\xef\xbb\xbf"))
    assert marked == plain
    assert plain[0].account.used == len(cells)
    lines = [f"{lines[0]},note,{twice.upper()}", *(f"{line},0,0" for line in lines[1:])]
    text = "\n".join(lines) + "\n"
    if twice == "note":
        assert from_file(tmp_path, text.encode(), How(kind="csv"))[1] == plain[1]
    else:
        with pytest.raises(TraceError, match=f"column '{twice}' occurs 2 times|columns .* and differ"):
            from_file(tmp_path, text.encode(), How(kind="csv"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(GOOD)), junk=st.binary(min_size=1, max_size=12), data=st.data())
def test_junk_after_a_packed_stream_is_refused(tmp_path: Path, kind: str, junk: bytes, data: st.DataObject) -> None:
    packs = sorted(PACKS) if kind == "damon" else ["bzip2", "gzip"]
    content = PACKS[data.draw(st.sampled_from(packs))](GOOD[kind]) + junk
    with pytest.raises(TraceError):
        from_file(tmp_path, content, How(kind=kind))
