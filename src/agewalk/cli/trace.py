"""`agewalk trace`: facts about a trace, other tools' files as traces, synthetic traces."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agewalk.core.text import printable
from agewalk.core.units import PAGE_SIZE, format_size, format_time, parse_size, parse_time
from agewalk.report.table import Column, coloured, listed, paragraph, room, table

if TYPE_CHECKING:
    from agewalk.trace.facts import Facts

SAMPLES = ("sqlite-vm.parquet", "redis-vm.parquet")  # of the package's data

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Facts about a trace of page accesses; other tools' files as traces; synthetic traces.",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@contextmanager
def _progress(what: str, total: int | None, *, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on standard error, if that is a terminal; yields what to call with the amount done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, rate="")

        def done(amount: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=amount, rate=f"{speed / 1e6:.1f} M {unit}/s" if speed else "")

        yield done


def _summed(done: Callable[[int], None]) -> Callable[[int], None]:
    """Turns "so many more" into "so many"."""
    total = 0

    def more(amount: int) -> None:
        nonlocal total
        total += amount
        done(total)

    return more


@app.command()
def info(
    trace: Annotated[Path, typer.Argument(help="A Parquet trace.", show_default=False)],
    json_: Json = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw pages over time and the working set: a .png, .svg or .html file.")
    ] = None,
) -> None:
    """Facts about a trace, after checking every row of it.

    Examples: agewalk trace info sqlite-vm.parquet; agewalk trace info sqlite-vm.parquet --picture sqlite.png
    """
    from agewalk.trace import open_trace
    from agewalk.trace.facts import facts
    from agewalk.trace.picture import check_place, save_picture

    if picture is not None:
        check_place(picture)
    opened = open_trace(trace)
    with _progress("reading", 2 * opened.rows, unit="rows") as done:
        found = facts(opened, progress=_summed(done))
    if picture is not None:
        save_picture(found, picture)
    if json_:
        sys.stdout.write(json.dumps(found.as_json()) + "\n")
    else:
        _print_facts(found)
        if picture is not None:
            sys.stdout.write(paragraph(f"\npicture: {picture}"))


def _print_facts(found: "Facts") -> None:
    meta = found.trace.meta
    whole = found.rows
    lines: dict[str, str] = {}

    def line(name: str, text: str) -> None:
        if text:
            lines[name] = text

    slot = f", slots of {format_time(meta.row_epoch_ns)}" if meta.row_epoch_ns else ""
    rate = f" ({whole * 1e9 / found.duration_ns:,.0f} a second)" if found.duration_ns else ""
    line("rows", f"{whole:,}{rate}")
    line("duration", f"{format_time(found.duration_ns)} from {format_time(found.first_ns)} on{slot}")
    line("guest memory", f"{format_size(meta.memory_bytes)}, {meta.pages:,} pages")
    share = 100 * found.pages / meta.pages
    line(
        "pages touched",
        f"{found.pages:,} ({format_size(found.pages * PAGE_SIZE)}, {share:.1f} %) in {found.regions:,} x 2 MiB",
    )
    sizes = found.working_set()
    shown = ", ".join(f"{name} {pages:,}" for name, pages in sizes.items())
    line(f"pages in {format_time(found.window_ns)}", f"{shown} ({found.windows:,} windows)")
    line("writes", f"{100 * found.writes / whole:.1f} % of rows")
    rows = found.vcpu_rows
    line(
        "vCPUs",
        f"{len(rows)}: " + ", ".join(f"{100 * n / whole:.1f} %" for n in rows[:8]) + (", ..." if len(rows) > 8 else ""),
    )
    contexts = found.as_json()["contexts"]
    line("contexts", ", ".join(f"{name} {100 * n / whole:.1f} %" for name, n in contexts.items() if n))
    for name in ("workload", "kernel", "capture", "licence"):
        line(name, getattr(meta, name))
    sys.stdout.write("\n".join(listed(lines, room(), indent=0)) + "\n")
    if found.phases:
        right = {"mark", "at", "rows", "pages"}
        names = ("mark", "at", "phase", "rows", "pages")
        columns = [Column(name, right=name in right, prose=name == "phase") for name in names]
        phases = [
            [str(p.mark), f"{p.time_ns / 1e9:.3f} s", p.text, f"{p.rows:,}", f"{p.pages:,}"] for p in found.phases
        ]
        sys.stdout.write("\n" + table(columns, phases, colour=coloured()))


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="Another tool's file; may be gzip, zstd, bzip2 or xz. A pipe will do; - is standard input.",
            show_default=False,
        ),
    ],
    target: Annotated[Path, typer.Argument(help="The Parquet trace to write.", show_default=False)],
    kind: Annotated[
        str, typer.Option("--from", help="lackey, oracle, csv, msr, gem5, binary, damon or perf.", show_default=False)
    ],
    slot: Annotated[
        str | None,
        typer.Option(
            help="Length of a slot, in which a page that a vCPU touches is listed once; '0 ns' keeps every access."
        ),
    ] = None,
    numbering: Annotated[
        str | None,
        typer.Option(
            help="How guest frames are numbered: keep, regions, pages, or auto. Default: by format (agewalk docs traces)."
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Guest memory, as in '4 GiB'; by default what the frames need.")
    ] = None,
    context: Annotated[int, typer.Option(help="Of all rows: 0 guest, 1 nested guest, 2 host process.")] = 0,
    instructions: Annotated[bool, typer.Option(help="lackey: count instruction fetches as accesses.")] = True,
    min_samples: Annotated[int, typer.Option(help="damon: from how many accesses on a region counts as touched.")] = 1,
    max_touched: Annotated[
        str, typer.Option(help="Refuse a damon snapshot, or a request with a size, that touches more.")
    ] = "64 GiB",
    time_column: Annotated[
        str | None, typer.Option(help="Text, binary: a name from the header, or a number from 1.")
    ] = None,
    gfn_column: Annotated[str | None, typer.Option(help="Text, binary: page numbers.")] = None,
    address_column: Annotated[str | None, typer.Option(help="Text, binary: byte addresses.")] = None,
    object_column: Annotated[
        str | None, typer.Option(help="Text, binary: objects, a page each; texts are numbered.")
    ] = None,
    size_column: Annotated[
        str | None, typer.Option(help="Text, binary: bytes; a row touches all pages of [address, address + size).")
    ] = None,
    write_column: Annotated[
        str | None, typer.Option(help="Text, binary: 1/0, true/false, w/r, write/read, set/get.")
    ] = None,
    read_codes: Annotated[str, typer.Option(help="Codes of the write column that are reads, as in '1'.")] = "",
    write_codes: Annotated[str, typer.Option(help="Codes of the write column that are writes, as in '0,2'.")] = "",
    vcpu_column: Annotated[str | None, typer.Option(help="Text, binary: vCPU numbers.")] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Text: what separates columns. Default: found among , ; tab | and spaces.")
    ] = None,
    header: Annotated[
        bool | None, typer.Option(help="Text: whether the first row names the columns. Default: found out.")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="Text, binary: ps, ns, us, ms, s, min, h, or as in '100 ns'.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="Text: the mark before a time's fraction, '.' or ','.")] = None,
    hexadecimal: Annotated[bool, typer.Option(help="Text: addresses and gfns are hexadecimal without 0x.")] = False,
    record: Annotated[str, typer.Option(help="binary: a record as Python's struct describes it, as in '<QIIIc'.")] = "",
    address: Annotated[str | None, typer.Option(help="perf: virtual or physical. Default: virtual.")] = None,
    one_process: Annotated[bool, typer.Option(help="perf: all samples are of one process.")] = False,
    packed: Annotated[bool, typer.Option(help="Look for compression in the first bytes.")] = True,
    json_: Json = False,
) -> None:
    """Make a trace of another tool's file: valgrind lackey, libCacheSim, separated text, binary records, DAMON, perf script.

    What is skipped and what is guessed is said on standard error. Examples: agewalk trace convert lackey.txt program.parquet
    --from lackey; agewalk trace convert requests.bin requests.parquet --from binary --record '<QIIIc' --object-column 1
    --time-column 2
    """
    from agewalk.trace.convert import Columns, How
    from agewalk.trace.convert import convert as run

    columns = Columns(
        time=time_column,
        gfn=gfn_column,
        address=address_column,
        object=object_column,
        size=size_column,
        write=write_column,
        vcpu=vcpu_column,
        delimiter="\t" if delimiter in {"\\t", "tab"} else delimiter,
        header=header,
        time_unit=time_unit,
        decimal=decimal,
        read_codes=read_codes,
        write_codes=write_codes,
        hexadecimal=hexadecimal,
    )
    how = How(
        kind=kind,
        slot_ns=None if slot is None else parse_time(slot),
        numbering=numbering,  # type: ignore[arg-type]  # checked by How
        memory_bytes=None if memory is None else parse_size(memory),
        context=context,
        instructions=instructions,
        min_samples=min_samples,
        max_touched=parse_size(max_touched),
        columns=columns,
        record=record,
        address=address,  # type: ignore[arg-type]  # checked by How
        one_process=one_process,
        packed=packed,
    )
    how.check()
    if kind == "damon":  # said before the memory is taken; how much that is, only the uncompressed text shows
        from agewalk.trace.convert.damon import NEEDS

        sys.stderr.write(paragraph(NEEDS))
    size = source.stat().st_size * how.passes if source.is_file() else None
    with _progress("converting", size, unit="B") as done:
        result = run(source, target, how, progress=done)
    account = result.account
    for sentence in account.sentences():
        sys.stderr.write(f"{printable(f'{source}: {sentence}')}\n")
    if json_:
        document: dict[str, Any] = {
            "schema": 1,
            "source": str(source),
            "target": str(target),
            "format": kind,
            "source_rows": account.rows,
            "used": account.used,
            "skipped": account.skipped_rows,
            "skipped_why": dict(account.skipped),
            "no_rows": dict(account.aside),
            "assumed": account.assumed,
            "accesses": result.accesses,
            "rows": result.rows,
            "numbering": result.numbering,
            "memory_bytes": result.memory_bytes,
            "duration_ns": result.duration_ns,
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return
    skipped = "".join(f", {count:,} {why} skipped" for why, count in sorted(account.skipped.items()))
    text = (
        f"{target}: {result.rows:,} rows of {result.accesses:,} accesses{skipped}; {format_time(result.duration_ns)}, "
        f"guest memory {format_size(result.memory_bytes)} (frames: {result.numbering})"
    )
    sys.stdout.write(paragraph(text))


@app.command()
def samples(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path(),
    json_: Json = False,
) -> None:
    """Write the traces that ship with agewalk, sqlite-vm.parquet and redis-vm.parquet, into a folder.

    Example: agewalk trace samples; agewalk trace info sqlite-vm.parquet
    """
    from importlib import resources

    from agewalk.core.errors import UsageError
    from agewalk.core.files import whole

    written = []
    for name in SAMPLES:
        content = resources.files("agewalk.data").joinpath(name).read_bytes()
        target = folder / name
        if target.exists() and target.read_bytes() != content:
            raise UsageError(f"{target}: is another file of that name", hint="name another folder")
        try:
            with whole(target) as part:
                part.write_bytes(content)
        except OSError as e:
            raise UsageError(f"{target}: cannot be written: {e.strerror}", hint="name another folder") from None
        written.append(str(target))
    if json_:
        sys.stdout.write(json.dumps({"schema": 1, "traces": written}) + "\n")
    else:
        sys.stdout.write("".join(paragraph(name) for name in written))


@app.command()
def synth(
    kind: Annotated[str, typer.Argument(help="zipf, scan, phases, ladder or two-vms.", show_default=False)],
    target: Annotated[
        Path, typer.Argument(help="The Parquet trace to write; two-vms adds -a and -b.", show_default=False)
    ],
    pages: Annotated[int, typer.Option(help="4 KiB pages.")] = 1 << 14,
    rows: Annotated[int, typer.Option(help="Accesses.")] = 1_000_000,
    rate: Annotated[int, typer.Option(help="Accesses per second of guest time.")] = 1_000_000,
    duration: Annotated[
        str | None, typer.Option(help="Guest time of the whole trace, as in '5 min', in place of a rate.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same trace.")] = 1,
    vcpus: Annotated[int, typer.Option(help="vCPUs.")] = 1,
    write_share: Annotated[float, typer.Option(help="Share of accesses that write.")] = 0.25,
    nested_share: Annotated[float, typer.Option(help="Share of accesses by a nested guest (context 1).")] = 0.0,
    exponent: Annotated[float, typer.Option(help="zipf, phases, two-vms: weight of rank k is 1 / k^exponent.")] = 1.0,
    hot_pages: Annotated[
        int | None, typer.Option(help="phases, two-vms: size of the hot set. Default: a sixteenth.")
    ] = None,
    hot_share: Annotated[float, typer.Option(help="phases, two-vms: share of accesses to the hot set.")] = 0.95,
    phases: Annotated[int, typer.Option(help="phases, two-vms: how often the hot set moves.")] = 4,
    idle: Annotated[
        str,
        typer.Option(help="phases, two-vms: pause between phases, as in '2 s'; 0: none, two-vms: as long as a phase."),
    ] = "0 s",
    step: Annotated[int, typer.Option(help="ladder: page k is touched this much more often than page k + 1.")] = 1,
    json_: Json = False,
) -> None:
    """Write a synthetic trace. Seeded: the same seed and parameters give the same rows.

    Examples: agewalk trace synth zipf zipf.parquet --pages 1000000 --rows 10000000 --seed 7; agewalk trace synth two-vms
    vm.parquet --duration '5 min'
    """
    from agewalk.trace import write_trace
    from agewalk.trace.synth import Synthesis, SyntheticTrace, two_vms

    if hot_pages is None:
        hot_pages = max(1, pages // 16)
    what = Synthesis(
        kind=kind, pages=pages, rows=rows, rate=rate, seed=seed, vcpus=vcpus, write_share=write_share,
        nested_share=nested_share, exponent=exponent, hot_pages=hot_pages, hot_share=hot_share, phases=phases,
        idle_ns=parse_time(idle), step=step, duration_ns=0 if duration is None else parse_time(duration),
    )  # fmt: skip
    if kind == "two-vms":
        traces = list(two_vms(what))
        targets = [target.with_name(f"{target.stem}-{vm}{target.suffix}") for vm in "ab"]
    else:
        traces, targets = [SyntheticTrace(what)], [target]
    with _progress("writing", sum(t.rows for t in traces), unit="rows") as done:
        more = _summed(done)
        for trace, path in zip(traces, targets, strict=True):
            write_trace(path, trace, context=nested_share > 0, progress=more)
    if json_:
        made = zip(traces, targets, strict=True)
        listed = [{"target": str(p), "rows": t.rows, "memory_bytes": t.meta.memory_bytes} for t, p in made]
        sys.stdout.write(json.dumps({"schema": 1, "kind": kind, "seed": seed, "traces": listed}) + "\n")
        return
    for trace, path in zip(traces, targets, strict=True):
        memory = format_size(trace.meta.memory_bytes)
        sys.stdout.write(paragraph(f"{path}: {trace.rows:,} rows, guest memory {memory}, {trace.name}"))
