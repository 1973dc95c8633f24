"""What runs say about the quality of aging, as `agewalk compare --json` prints it. Formulas: docs/quality-of-aging.md"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agewalk.engine.quality import Sample, skew
from agewalk.study.job import BAND_EVICTIONS, BAND_LISTED, BAND_REFAULTS, BAND_YOUNG, Bands
from agewalk.study.result import Maps, Run, TimeLine, TimeLineBuilder

MAP_BINS: Final = 100  # columns of a map over time, at most


def aging_numbers(sample: Sample | None) -> dict[str, Any] | None:
    """The sums of all assessed passes, by name; causes only where the reading knows them."""
    if sample is None:
        return None
    numbers: dict[str, Any] = {
        "passes": sample.passes,
        "pages": sample.pages,
        "cold": sample.cold,
        "called_cold": sample.called,
        "false_old": sample.false_old,
        "false_young": sample.false_young,
    }
    if sample.old_causes:
        numbers["false_old_by"] = sample.false_old_by
        numbers["false_young_by"] = sample.false_young_by
    return numbers


def trimmed(counts: Sequence[int]) -> list[int]:
    """A histogram without the empty places at its end."""
    last = max((i for i, n in enumerate(counts) if n), default=-1)
    return [int(n) for n in counts[: last + 1]]


def lines_and_maps(
    builder: TimeLineBuilder, bands: Bands, last: NDArray[np.int64], *, generations: bool
) -> tuple[TimeLine, Maps]:
    """The time line and the maps of a run whose `Runner.bands` were collected; `last`: at its end."""
    bin_ns, flat = builder.ends(last.ravel())
    ends = flat.reshape(len(flat), bands.total, 4)
    members = list(zip(bands.firsts, bands.counts, strict=True))
    refaults = [np.diff(ends[:, a : a + n, BAND_REFAULTS].sum(axis=1)).tolist() for a, n in members]
    fold = -(-(len(ends) - 1) // MAP_BINS)
    cut = ends[[0, *range(fold, len(ends) - 1, fold), len(ends) - 1]]

    def events(column: int) -> list[list[list[int]]]:
        grown = np.diff(cut[:, :, column], axis=0).T
        return [grown[a : a + n].tolist() for a, n in members]

    listed, young = cut[1:, :, BAND_LISTED], cut[1:, :, BAND_YOUNG]
    share = np.where(listed > 0, 1000 * young // np.maximum(listed, 1), -1).T
    return TimeLine(bin_ns, refaults), Maps(
        bin_ns * fold,
        [1 << shift for shift in bands.shifts],
        events(BAND_REFAULTS),
        events(BAND_EVICTIONS),
        [share[a : a + n].tolist() for a, n in members] if generations and (share >= 0).any() else [],
    )


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The entries of `results`: each run's row; with OPT among the runs of a memory size, each VM's `eviction_skew` too."""
    found = [run.row() for run in runs]
    bounds = {run.memory_bytes: run for run in runs if run.policy == "opt"}
    for run, row in zip(runs, found, strict=True):
        bound = bounds.get(run.memory_bytes)
        if bound is None:
            continue
        ours, theirs = ([vm.evictions for vm in one.measured.vms] for one in (run, bound))
        for vm, value in zip(row["vms"], skew(ours, theirs), strict=True):
            if value is not None:
                vm["eviction_skew"] = round(value, 6)
    return found
