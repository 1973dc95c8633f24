"""What calibration has never seen: the row of P7 for 64 vCPUs, and P9. Bars as the project set them."""

import pytest

from agewalk.timing.calibrate import compare_published
from agewalk.timing.costs import load_costs
from agewalk.timing.experiment import load_experiment
from agewalk.timing.run import run_row


def off(name: str, vcpus: int, factor: int) -> dict[str, float]:
    experiment = load_experiment(name)
    assert not any(p.fit for p in experiment.published if p.vcpus == vcpus)
    agers = [v for v in experiment.variants if v.host]
    rows = [run_row(experiment, v, vcpus, load_costs(), factor=factor) for v in agers]
    return {
        c.what.split(",")[0]: c.predicted / c.published
        for c in compare_published(experiment, rows)
        if "ratio" in c.what
    }


def test_p7_at_64_vcpus_within_35_per_cent() -> None:
    ratios = off("access-tracking", 64, 4096)
    assert ratios["pass ratio"] == pytest.approx(1, abs=0.35)
    assert ratios["wall ratio"] == pytest.approx(1, abs=0.35)


def test_p9_within_a_factor_of_two() -> None:
    ratios = off("arm64-read-lock", 32, 1024)  # the shipped scale; at 4096 it is off by 2.7, see the findings
    assert 0.5 <= ratios["pass ratio"] <= 2
    assert ratios["wall ratio"] == pytest.approx(1, abs=0.05)
