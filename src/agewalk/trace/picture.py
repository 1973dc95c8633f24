"""A picture of a trace: pages over time, and the working set below it. Rendered here, without a network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agewalk.core.errors import UsageError
from agewalk.core.files import whole
from agewalk.core.units import PAGE_SIZE, format_size, format_time
from agewalk.trace.drawn import check_renderer, drawn
from agewalk.trace.facts import MAP_COLUMNS, Facts

if TYPE_CHECKING:
    import altair as alt

KINDS: Final = (".png", ".svg", ".html")
WIDTH: Final = 900
MAX_POINTS: Final = 4 * WIDTH  # of the working set's curve
LETTER: Final = 5.6  # width of one at 10 points, roughly
RED: Final = "#b33"
BLUE: Final = "#31688e"
_UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_SIZES: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}


def save_picture(facts: Facts, path: str | Path) -> None:
    """Draw `facts` into `path`, a .png, .svg or self-contained .html file; written whole or not at all.

    Raises UsageError for another ending or a place that cannot be written.
    """
    path = Path(path)
    check_place(path)
    content = drawn(chart(facts).to_dict(), path.suffix.lower()[1:], title=Path(facts.trace.name).name, scale=1.5)
    try:
        with whole(path) as part:
            part.write_bytes(content)
    except OSError as e:
        raise UsageError(f"{path}: cannot be written: {e.strerror}", hint="choose another place") from None


def check_place(path: Path) -> None:
    """Raise UsageError if a picture cannot go to `path`: to be asked before the work, not after it."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path}: a picture ends in {', '.join(KINDS)}", hint="as in --picture trace.png")
    check_renderer()
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}", hint="make it first")


def chart(facts: Facts) -> "alt.VConcatChart":
    """The chart: a map of rows per cell of memory and time, and the working set curve, on one time axis."""
    import altair as alt

    end = facts.first_ns + MAP_COLUMNS * facts.column_ns
    unit, scale = next((u, s) for u, s in _UNITS.items() if facts.last_ns - facts.first_ns >= 2 * s or s == 1)
    memory = facts.trace.meta.memory_bytes
    size, per = next(((u, s) for u, s in _SIZES.items() if memory >= 2 * s), ("KiB", 1 << 10))
    span = alt.Scale(domain=[facts.first_ns / scale, end / scale], nice=False)
    heat = _heat(alt, facts, span, scale, size, per)
    curve = _curve(alt, facts, alt.X("t:Q", title=f"guest time [{unit}]", scale=span), scale)
    meta = facts.trace.meta
    subtitle = (
        f"{facts.rows:,} rows, {facts.duration_ns / scale:,.1f} {unit}, {facts.pages:,} pages "
        f"({format_size(facts.pages * PAGE_SIZE)}) of {format_size(meta.memory_bytes)} touched"
    )
    both = alt.vconcat(heat, curve, spacing=12).resolve_scale(x="shared", color="independent")
    titled: alt.VConcatChart = both.properties(
        title=alt.TitleParams(Path(facts.trace.name).name, subtitle=subtitle, anchor="start")
    )
    styled: alt.VConcatChart = titled.configure_view(stroke="#ccc").configure_axis(gridColor="#eee", labelColor="#333")
    return styled


def _heat(alt: Any, facts: Facts, span: Any, scale: int, size: str, per: int) -> Any:
    step = facts.row_pages * PAGE_SIZE / per
    rows, columns = np.nonzero(facts.heat)
    cells = [
        {
            "t": (facts.first_ns + c * facts.column_ns) / scale,
            "t2": (facts.first_ns + (c + 1) * facts.column_ns) / scale,
            "m": r * step,
            "m2": (r + 1) * step,
            "n": n,
        }
        for r, c, n in zip(rows.tolist(), columns.tolist(), facts.heat[rows, columns].tolist(), strict=True)
    ]
    memory = facts.trace.meta.memory_bytes / per
    colours = alt.Scale(type="log", scheme="viridis", reverse=True)
    tiles = (
        alt.Chart(_data(alt, cells))
        .mark_rect(strokeWidth=0.7)
        .encode(
            x=alt.X("t:Q", scale=span, axis=alt.Axis(labels=False, ticks=False, title=None)),
            x2="t2:Q",
            y=alt.Y("m:Q", title=f"guest memory [{size}]", scale=alt.Scale(domain=[0, memory], nice=False)),
            y2="m2:Q",
            color=alt.Color(
                "n:Q", title="rows per cell", scale=colours, legend=alt.Legend(gradientLength=180, format="~s")
            ),
            stroke=alt.Stroke("n:Q", scale=colours, legend=None),  # covers the seams between cells
        )
    )
    return alt.layer(tiles, *_marks(alt, facts, scale, labels=True)).properties(width=WIDTH, height=360)


def _curve(alt: Any, facts: Facts, time: Any, scale: int) -> Any:
    known = dict(facts.curve)
    points: list[dict[str, float]] = []
    for start, pages in _highest(facts.curve):
        before, after = start - facts.window_ns, start + facts.window_ns
        if before >= facts.first_ns and before not in known:
            points.append({"t": (before + facts.window_ns) / scale, "p": 0})
        points.append({"t": start / scale, "p": pages})
        if after not in known:
            points.append({"t": after / scale, "p": 0})
    title = f"pages in {format_time(facts.window_ns)}"
    ticks = [0, *(10**n for n in range(1, 13) if 10**n <= max(p["p"] for p in points))]
    axis = alt.Axis(values=ticks, format=",d")
    pages = alt.Y("p:Q", title=title, scale=alt.Scale(type="symlog", constant=10), axis=axis)
    area = alt.Chart(_data(alt, points)).mark_area(
        interpolate="step-after", line={"color": BLUE, "strokeWidth": 1.2}, color=BLUE, opacity=0.35, clip=True
    )
    return alt.layer(area.encode(x=time, y=pages), *_marks(alt, facts, scale, labels=False)).properties(
        width=WIDTH, height=140
    )


def _highest(curve: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The curve's points, or the highest of each stretch where there are more than can be drawn."""
    step = -(-len(curve) // MAX_POINTS)
    return [max(curve[i : i + step], key=lambda point: point[1]) for i in range(0, len(curve), step)]


def _marks(alt: Any, facts: Facts, scale: int, *, labels: bool) -> list[Any]:
    """Phases as rules; their texts over the map, on the first of three lines with room. One without room is left out."""
    inside = [p for p in facts.phases if facts.first_ns <= p.time_ns <= facts.last_ns]
    if not inside:
        return []
    data = [{"t": p.time_ns / scale} for p in inside]
    layers = [alt.Chart(_data(alt, data)).mark_rule(color=RED, strokeDash=[3, 3], opacity=0.7).encode(x="t:Q")]
    lines: list[list[dict[str, Any]]] = [[], [], []]
    ends = [0.0] * len(lines)
    for phase in inside if labels else ():
        text = phase.text[:24]
        start = (phase.time_ns - facts.first_ns) / (MAP_COLUMNS * facts.column_ns) * WIDTH
        line = next((i for i, end in enumerate(ends) if start >= end), None)
        if line is not None:
            ends[line] = start + 12 + LETTER * len(text)
            lines[line].append({"t": phase.time_ns / scale, "text": text})
    for high, texts in enumerate(lines):
        mark = alt.Chart(_data(alt, texts)).mark_text(
            align="left", baseline="bottom", dx=2, dy=-2 - 12 * high, color=RED, fontSize=10
        )
        layers += [mark.encode(x="t:Q", y=alt.value(0), text="text:N")] if texts else []
    return layers


def _data(alt: Any, rows: list[dict[str, Any]]) -> Any:
    """Inline data, however many rows: altair's limit is meant for notebooks."""
    return alt.InlineData(values=json.loads(json.dumps(rows)))
