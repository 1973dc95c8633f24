"""Charts of an experiment, as altair objects; `write_charts` saves them as HTML, SVG and PNG."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

from agewalk.core.files import whole
from agewalk.timing.experiment import Experiment
from agewalk.timing.run import Row
from agewalk.timing.sensitivity import SWING, Sensitivity
from agewalk.trace.drawn import drawn

_WIDTH: Final = 330
_HEIGHT: Final = 230


def experiment_chart(experiment: Experiment, rows: list[Row]) -> Any:
    """Four panels against the number of vCPUs: pass time, wall time, a fault's percentiles, share of time mmu_lock is held."""
    import altair

    alt: Any = altair

    values = [
        {
            **row.json(),
            "hold_write": row.mmu_lock_write_s / row.wall_s if row.wall_s else 0.0,
        }
        for row in rows
    ]
    for value in values:
        del value["counts"]
    seen = [
        {"vcpus": p.vcpus, "variant": p.variant, "wall_s": p.wall_s, "pass_whole_s": p.pass_s, "from": "published"}
        for p in experiment.published
    ]
    passes = "pass_whole_s" if seen else "pass_s"  # as the test counted them, or smoothly
    data = alt.Data(values=values)
    told = alt.Data(values=seen)
    x = alt.X(
        "vcpus:Q", scale=alt.Scale(type="log", base=2), title="vCPUs", axis=alt.Axis(values=list(experiment.vcpus))
    )
    color = alt.Color("variant:N", title=None, legend=alt.Legend(orient="bottom"))

    def panel(field: str, title: str, *, log: bool = True) -> Any:
        y = alt.Y(f"mean({field}):Q", title=title, scale=alt.Scale(type="log") if log else alt.Scale(zero=True))
        base = alt.Chart(data).transform_filter(f"isValid(datum.{field}) && datum.{field} > 0" if log else "true")
        line = base.mark_line(point=True).encode(x=x, y=y, color=color)
        layers = [line]
        if seen and field in {"wall_s", "pass_whole_s"}:
            dots = alt.Chart(told).transform_filter(f"isValid(datum.{field})")
            layers.append(
                dots.mark_point(shape="cross", size=90, strokeWidth=2).encode(x=x, y=f"{field}:Q", color=color)
            )
        return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT)

    stalls = (
        alt.Chart(data)
        .transform_fold(["fault_p50_ns", "fault_p99_ns", "fault_max_ns"], as_=["percentile", "ns"])
        .transform_filter("datum.ns > 0")
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("mean(ns):Q", title="one fault or touch, ns", scale=alt.Scale(type="log")),
            color=color,
            strokeDash=alt.StrokeDash("percentile:N", title=None, legend=alt.Legend(orient="bottom")),
        )
        .properties(width=_WIDTH, height=_HEIGHT)
    )
    top = alt.hconcat(panel(passes, "mean pass, s"), panel("wall_s", "vCPU wall time, s"))
    low = alt.hconcat(stalls, panel("hold_write", "mmu_lock held for write, share of wall time", log=False))
    note = "crosses: published" if seen else experiment.about
    return alt.vconcat(top, low).properties(title=alt.Title(experiment.title, subtitle=note))


def sensitivity_chart(experiment: Experiment, found: Sensitivity, vcpus: int) -> Any:
    """Two panels with a pair of bars for each cost: the effect of a lower and a higher cost on the ratio of pass times and on the
    wall time. Grey: the difference between two runs with the same costs. Costs without any effect are listed below."""
    import altair

    alt: Any = altair

    seen = [s for s in found.swings if s.size]
    order = [s.cost for s in seen]
    idle = [s.cost for s in found.swings if not s.size]

    def panel(title: str, low: str, high: str, noise: float, *, names: bool) -> Any:
        values = [
            {"cost": s.cost, "change": getattr(s, field), "cost moved": moved}
            for s in seen
            for moved, field in (("down", low), ("up", high))
        ]
        band = (
            alt.Chart(alt.Data(values=[{"from": -noise, "to": noise}]))
            .mark_rect(color="#888", opacity=0.25)
            .encode(x="from:Q", x2="to:Q")
        )
        bars = (
            alt.Chart(alt.Data(values=values))
            .mark_bar(opacity=0.8)
            .encode(
                y=alt.Y("cost:N", sort=order, title=None, axis=alt.Axis(labelLimit=200) if names else None),
                yOffset=alt.YOffset("cost moved:N"),
                x=alt.X("change:Q", title=title, axis=alt.Axis(format="+%")),
                color=alt.Color("cost moved:N", title="cost moved", legend=alt.Legend(orient="bottom")),
            )
        )
        return alt.layer(band, bars).properties(width=_WIDTH, height=18 * len(order))

    about = (
        f"each cost divided and multiplied by {SWING:g}, small counts by one; {found.seeds} seeds; "
        "grey: within the noise of the seeds"
    )
    lines = [about, *textwrap.wrap("no effect: " + ", ".join(idle), 130)] if idle else [about]
    return alt.hconcat(
        panel("change of the pass-time ratio", "pass_low", "pass_high", found.pass_noise, names=True),
        panel("change of the wall time", "wall_low", "wall_high", found.wall_noise, names=False),
    ).properties(title=alt.Title(f"{experiment.name}, {vcpus} vCPUs: what hangs on which cost", subtitle=lines))


def write_charts(chart: Any, path: Path) -> list[Path]:
    """`path` with .html, .svg and .png; each is written beside itself and renamed."""
    written: list[Path] = []
    for kind in ("html", "svg", "png"):
        goal = path.with_name(f"{path.name}.{kind}")
        with whole(goal) as part:
            part.write_bytes(drawn(chart.to_dict(), kind, title=path.name))
        written.append(goal)
    return written
