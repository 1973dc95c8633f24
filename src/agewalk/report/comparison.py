"""The page of a finished comparison: what `agewalk compare` writes as report.html."""

from collections.abc import Sequence

from agewalk.core.units import PAGE_SIZE, format_size, format_time
from agewalk.report.page import Lines, Misses, Page, Picture, render
from agewalk.report.where import Where
from agewalk.study.heatmap import heat_maps
from agewalk.study.job import TICK
from agewalk.study.miss_ratio_curves import curves
from agewalk.study.quality import rows
from agewalk.study.result import Run
from agewalk.study.scenarios.scenario import Scenario


def comparison_page(name: str, scenario: Scenario, runs: Sequence[Run]) -> str:
    """`report.html` of a finished comparison, as text. name: what was compared, for the title. Reads the traces again."""
    aging = scenario.aging.every
    facts = [
        ("VMs and processes", ", ".join(member.name for member in scenario.members)),
        ("memory", ", ".join(format_size(size) for size in scenario.memories)),
        ("kernel", f"{scenario.host.kernel}, where a protocol brings none"),
        ("proactive aging", f"every {format_time(aging)}" if aging else "under pressure only"),
        ("accesses", f"{runs[0].measured.accesses:,}"),
        ("executor", runs[0].engine),
    ]
    lines = [
        Lines(one.policy, one.memory_bytes, one.timeline.bin_ns, one.timeline.refaults) for one in runs if one.timeline
    ]
    pictures = [Picture(h.name, h.bin_ns, h.pages_per_row, h.counts, h.phases) for h in heat_maps(scenario)]
    names = [member.name for member in scenario.members]
    maps = [
        Where(run.policy, run.memory_bytes, m.bin_ns, names, m.pages_per_row, m.refaults, m.evictions, m.young)
        for run in runs
        if (m := run.maps)
    ]
    found = curves(scenario)
    misses = None
    if found:
        misses = Misses(
            [(n * PAGE_SIZE, ratio) for n, ratio in found.lru],
            [(n * PAGE_SIZE, ratio) for n, ratio in found.opt],
            [(n * PAGE_SIZE, ratio, error) for n, ratio, error in found.shards],
            found.rate,
        )
    title, host = f"Aging protocols on {name}", scenario.host.memory
    return render(Page(title, facts, rows(runs), lines, pictures, misses, maps, tick_ns=TICK, host_bytes=host))
