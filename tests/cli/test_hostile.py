"""Hostile names through every output there is: each is shown as a name, and as nothing else."""

import json
import re
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.cli.test_compare import record
from tests.hostile import NAMES, SURROGATES, alien, as_text, browse

from agewalk.checker.search.simulate import Path as Steps
from agewalk.checker.search.simulate import PathStep
from agewalk.cli.main import main
from agewalk.core.text import printable
from agewalk.report.page import Lines, Page, Picture, render
from agewalk.report.where import Where

pytestmark = pytest.mark.slow  # each test runs whole commands on hostile names

browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
#: What neither a terminal nor a log file may get: control characters but for newline, and marks of direction or no width.
UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\u3164\ufffe\ud800-\udfff]"
)


def ends(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(w) for w in words])
    return int(caught.value.code or 0)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario whose VMs have the names, on a trace whose phases do, under a protocol whose file has one."""
    phases = [{"mark": i + 1, "time_ns": i * 50_000_000, "text": name} for i, name in enumerate(NAMES)]
    record(tmp_path / "{{DATA}}.parquet", rows=2000, phases=json.dumps(phases), workload=NAMES[6], kernel=NAMES[1])
    vms = "".join(f'[[vm]]\nname = {quoted(name)}\ntrace = "{{{{DATA}}}}.parquet"\n' for name in NAMES)
    own = "<img src=x onerror=document.title='PWNED'>.py:Mine"
    compare = f'[compare]\nprotocols = ["v7", {quoted(own)}]\nbaselines = ["lru", "opt"]\n'
    host = '[host]\nmemory = "2 MiB"\n[aging]\nevery = "100 ms"\n'
    (tmp_path / "<!--<script>.toml").write_text(f"schema = 1\n{host}{vms}{compare}", encoding="utf-8")
    text = "from agewalk.model.protocols.base import AgingProtocol\nclass Mine(AgingProtocol):\n"
    text += f"    name = {NAMES[6]!r}\n    summary = {NAMES[11]!r}\n    cite = {NAMES[6]!r}\n"
    (tmp_path / own.partition(":")[0]).write_text(text)
    return tmp_path


@browser
def test_a_comparison(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert ends("compare", "<!--<script>.toml", "--engine", "direct", "--workers", "1") == 0
    out, err = capsys.readouterr()
    assert not UNSEEN.search(out + err)
    assert "[red]a[/nope]" in out
    drawn = browse(Path("out/report.html"), folder / "profile")
    assert drawn.title == "Aging protocols on &lt;!--&lt;script&gt;.toml - agewalk"
    assert not drawn.console
    assert drawn.scripts == 2
    assert not alien(drawn.body)
    assert not UNSEEN.search(drawn.body)
    for name in NAMES:
        assert f">{as_text(name)}: refaults</th>" in drawn.body
        assert f">{as_text(name)}</h3>" in drawn.body
    assert f"{as_text(NAMES[1])}.py:Mine" in drawn.body


@browser
def test_a_page_of_nothing_but_hostile_text(tmp_path: Path) -> None:
    """Each name alone, in each place that a page has for text."""
    results = [
        {"policy": name, "memory_bytes": 1 << 20, "refaults": i, "ptes_walked": 1, "vms": []}
        for i, name in enumerate(NAMES)
    ]
    lines = [Lines(name, 1 << 20, 50, [[i, 2]]) for i, name in enumerate(NAMES)]
    pictures = [Picture(name, 50, 64, np.ones((2, 2), np.uint32), [(0, name)]) for name in [*NAMES, *SURROGATES]]
    maps = [Where(n, 1 << 20, 50, NAMES[:8], [64] * 8, *([[[[1, i]]] * 8] * 3)) for i, n in enumerate(NAMES)]
    for i, name in enumerate(NAMES):
        page = tmp_path / f"{i}.html"
        page.write_text(render(Page(name, [(name, name)], results, lines, pictures, None, maps)), encoding="utf-8")
        if i < 3:
            drawn = browse(page, tmp_path / "profile")
            assert (drawn.title, drawn.console, drawn.scripts) == (f"{as_text(name)} - agewalk", [], 2)
            assert drawn.body.count(as_text(NAMES[1])) >= 4
            assert not alien(drawn.body)


def test_names_that_look_alike_are_told_apart_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results go by name, and a report shows no zero-width space."""
    record(tmp_path / "t.parquet", rows=50)
    vms = "".join(f'[[vm]]\nname = {quoted(name)}\ntrace = "t.parquet"\n' for name in ("a\u200bb", "a\u202eb"))
    (tmp_path / "s.toml").write_text(f'schema = 1\n[host]\nmemory = "1 MiB"\n{vms}')
    assert ends("compare", tmp_path / "s.toml") == 2
    assert "two VMs or processes are named" in capsys.readouterr().err


@pytest.mark.parametrize("name", SURROGATES)
def test_half_a_surrogate_pair_in_a_trace_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = [{"mark": 1, "time_ns": 0, "text": name}]
    record(tmp_path / "t.parquet", rows=10, phases=json.dumps(phases))
    assert ends("trace", "info", tmp_path / "t.parquet") == 2
    err = capsys.readouterr().err
    assert "surrogate" in err
    assert not UNSEEN.search(err)


def test_facts_and_pictures_of_a_trace(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for kind in ("png", "svg", "html"):
        assert ends("trace", "info", "{{DATA}}.parquet", "--picture", f"p.{kind}") == 0
        out, err = capsys.readouterr()
        assert not UNSEEN.search(out + err)
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    svg = Path("p.svg").read_text(encoding="utf-8")
    assert {element.tag.partition("}")[2] for element in ET.fromstring(svg).iter()} <= {
        "svg", "g", "path", "text", "rect", "line", "defs", "linearGradient", "stop", "clipPath", "tspan",
    }  # fmt: skip
    page = Path("p.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in page
    if shutil.which("chromium"):
        drawn = browse(Path("p.html"), folder / "profile")
        assert (drawn.title, drawn.console, drawn.scripts) == ("{{DATA}}.parquet", [], 0)
        assert not alien(drawn.body) - {"@style"}
        assert "&lt;!--&lt;script&gt;" in drawn.body


def test_words_about_a_protocol(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    own = "<img src=x onerror=document.title='PWNED'>.py:Mine"
    for words in (("show", own), ("table", own), ("lookaround", own), ("diff", own, "v7"), ("diff", own, own)):
        assert ends("protocol", *words) == 0
        out, err = capsys.readouterr()
        assert not UNSEEN.search(out + err), words
        assert "[31mb" in out, words
    assert "[red]a[/nope]" in (ends("protocol", "show", own), capsys.readouterr().out)[1]


def test_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, source and variants of an experiment of one's own: table, JSON, charts, timeline."""
    monkeypatch.chdir(tmp_path)
    shipped = resources.files("agewalk.timing").joinpath("experiments/look-around.toml").read_text(encoding="utf-8")
    head, _, _ = shipped.partition("[[variant]]")
    head = re.sub(r"(title|about|cite) = .*", lambda found: f"{found[1]} = {quoted(' '.join(NAMES))}", head)
    variants = "".join(
        f'[[variant]]\nname = {quoted(name)}\nprotocol = "v7"\nhost = ["evict"]\n'
        for name in (NAMES[1], NAMES[6], NAMES[9])
    )
    Path("{{SVG}}.toml").write_text(head.replace("[1, 4, 16]", "[1]") + variants, encoding="utf-8")
    words = ("timing", "{{SVG}}.toml", "--scale", "4096", "--workers", "1", "--charts", ".", "--perfetto", "t.perfetto")
    assert ends(*words) == 0
    out, err = capsys.readouterr()
    assert not UNSEEN.search(out + err)
    assert "[red]a[/nope]" in out
    page = Path("timing-{{SVG}}.html").read_text(encoding="utf-8")
    assert "<script" not in page
    if shutil.which("chromium"):
        drawn = browse(Path("timing-{{SVG}}.html"), tmp_path / "profile")
        assert (drawn.console, drawn.scripts, alien(drawn.body) - {"@style"}) == ([], 0, set())
    assert printable(NAMES[9]).encode() in Path("t.perfetto").read_bytes()


@pytest.mark.parametrize("name", [*NAMES, *SURROGATES])
def test_a_model_for_spin(name: str) -> None:
    from tests.checker import toys
    from tests.checker.test_promela import minimal_of

    from agewalk.checker.promela import promela

    system = replace(toys.lost_update(2), name=name, about=name)
    text = promela(minimal_of(system))
    assert not UNSEEN.search(text)
    without = re.sub(r"/\*.*?\*/", "", text)
    assert without == re.sub(r"/\*.*?\*/", "", promela(minimal_of(toys.lost_update(2))))


def test_charts_of_an_experiment(tmp_path: Path) -> None:
    from agewalk.timing.output.charts import write_charts

    for name in [*NAMES, *SURROGATES]:
        import altair as alt

        data = alt.InlineData(values=[{"a": 1, "t": name}])
        chart = alt.Chart(data).mark_text().encode(x="a:Q", text="t:N", color="t:N")
        made = write_charts(chart.properties(title=alt.Title(name, subtitle=name)), tmp_path / "c")
        page = next(path for path in made if path.suffix == ".html").read_text(encoding="utf-8")
        assert "<script" not in page
        assert "<img" not in page


@pytest.mark.parametrize("name", [*NAMES, *SURROGATES])
def test_a_counterexample(name: str, tmp_path: Path) -> None:
    from agewalk.checker import render as r

    step = PathStep(1, 0, name, name, 3, name, name, name, ((name, name, name),), (name,), 0)
    path = Steps(name, (name,), (step,), name)
    lines = r.mermaid(path).splitlines()
    assert len(lines) == 6
    assert not re.search(r"[<%{]|#(?!\d+;)", "".join(lines).replace("->>", "").replace("-->>", ""))
    r.write_perfetto(path, tmp_path / "t.perfetto")
    assert printable(name).strip().encode() in (tmp_path / "t.perfetto").read_bytes()
    compile(r.emit_test(path, name, name), "test.py", "exec")
    assert not UNSEEN.search(r.emit_test(path, name, name))


@pytest.mark.parametrize("name", [*NAMES, "\udcffa\udc80"])
def test_messages(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if "\0" not in name:
        assert ends("compare", str(tmp_path / name.replace("/", "_"))) == 2
    for words in (
        (name,),
        ("check", name),
        ("protocol", "show", name),
        ("timing", name),
        ("compare", "x", "--" + name),
    ):
        assert ends(*words) == 2, words
    out, err = capsys.readouterr()
    assert not UNSEEN.search(out + err)
