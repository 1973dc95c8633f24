from pathlib import Path

import pytest

from agewalk.core.errors import InputError, UsageError
from agewalk.timing.calibrate import FREE, compare_published, fit, residuals
from agewalk.timing.costs import load_costs
from agewalk.timing.experiment import load_experiment, shipped
from agewalk.timing.run import Row, run_all
from agewalk.timing.sensitivity import sensitivity

GOOD = """schema = 1
title = "t"
about = "a"
cite = "c"
[host]
kernel = "6.13"
[vm]
memory = "1 GiB"
vcpus = [1, 2]
body = "populate"
[scale]
factor = 8192
[[variant]]
name = "idle"
protocol = "linux-6.13"
[[variant]]
name = "lock"
protocol = "linux-6.13"
host = ["age"]
[[variant]]
name = "free"
protocol = "linux-6.15"
host = ["age"]
[[published]]
vcpus = 1
variant = "lock"
wall_s = 1.0
pass_s = 0.01
fit = true
[[published]]
vcpus = 1
variant = "free"
wall_s = 0.9
pass_s = 0.008
fit = true
[[published]]
vcpus = 2
variant = "lock"
wall_s = 7.0
"""


def test_shipped_experiments_are_those_of_the_docs() -> None:
    assert shipped() == ["access-tracking", "arm64-read-lock", "invalidate-storm", "look-around", "nested", "shadow"]
    experiment = load_experiment("access-tracking")
    assert [v.name for v in experiment.variants] == ["no-aging", "no-opt", "opt"]
    assert experiment.vcpus == (1, 2, 4, 8, 16, 32, 64, 112)
    assert {p.vcpus for p in experiment.published if p.fit} == {1, 4, 16}
    assert {p.vcpus for p in experiment.published if not p.fit} == {64}


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("schema = 1", "schema = 3", "schema is not 1"),
        ('title = "t"', "", "title is missing"),
        ('kernel = "6.13"', 'kernal = "6.13"', "unknown key 'kernal'"),
        ('body = "populate"', 'body = "dance"', "vm.body is 'dance'"),
        ("vcpus = [1, 2]", "vcpus = []", "not a list of counts"),
        ("vcpus = [1, 2]", "vcpus = [0]", "not a list of counts"),
        ('memory = "1 GiB"', 'memory = "1"', "has no unit"),
        ("factor = 8192", "factor = 100000", "less than 16 pages"),
        ('host = ["age"]', 'host = ["sing"]', "host is 'sing'"),
        ('name = "idle"', 'title = "idle"', "unknown key 'title'"),
        ('name = "idle"\n', "", "variant"),
        ('variant = "lock"\nwall_s = 7.0', 'variant = "lok"\nwall_s = 7.0', "variant is 'lok'"),
        ("[scale]", "[scale", "mine:|mine.toml:|Expected"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    assert was in GOOD
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(was, becomes))
    with pytest.raises((InputError, UsageError), match=says):
        load_experiment(str(path))


def test_unknown_names() -> None:
    with pytest.raises(UsageError) as caught:
        load_experiment("acces-tracking")
    assert "access-tracking" in caught.value.hint
    with pytest.raises(InputError, match="cannot read"):
        load_experiment("nowhere.toml")


def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    return str(path)


def test_any_protocol_can_take_the_place(tmp_path: Path) -> None:
    experiment = load_experiment(mine(tmp_path)).with_protocols(["v7", "houghton:must_check=rmaps"])
    rows = run_all(experiment, load_costs(), vcpus=[1])
    assert [r.variant for r in rows] == ["idle", "v7", "houghton:must_check=rmaps"]
    assert experiment.published == ()


def test_published_numbers_stand_beside_the_predicted(tmp_path: Path) -> None:
    experiment = load_experiment(mine(tmp_path))
    rows = run_all(experiment, load_costs(), seeds=(0, 1), workers=2)
    assert [(r.vcpus, r.variant, r.seed) for r in rows][:3] == [(1, "idle", 0), (1, "idle", 1), (1, "lock", 0)]
    compared = {(c.vcpus, c.what): c for c in compare_published(experiment, rows)}
    assert compared[1, "pass ratio, lock / free"].published == pytest.approx(1.25)
    assert compared[1, "wall, lock"].fitted
    assert not compared[2, "wall, lock"].fitted
    walls = [r.wall_s for r in rows if (r.vcpus, r.variant) == (2, "lock")]
    assert compared[2, "wall, lock"].predicted == pytest.approx(sum(walls) / 2)


def test_the_fit_never_sees_what_is_not_marked(tmp_path: Path) -> None:
    experiment = load_experiment(mine(tmp_path))
    assert all(not p.fit for p in experiment.published if p.vcpus == 2)
    rows: dict[tuple[int, str], Row] = {(r.vcpus, r.variant): r for r in run_all(experiment, load_costs(), vcpus=[1])}
    assert (
        len(residuals(rows, experiment.published)) == 4
    )  # two walls, two passes; the row for 2 vCPUs was not even run


def test_the_fit_finds_a_cost_again(tmp_path: Path) -> None:
    """Published numbers made with another cost: the fit comes back to it."""
    experiment = load_experiment(mine(tmp_path))
    truth = load_costs().with_values({"work.rest_of_fault": 2000})
    made = {(r.vcpus, r.variant): r for r in run_all(experiment, truth, vcpus=[1])}
    told = tuple(
        type(p)(p.vcpus, p.variant, made[1, p.variant].wall_s, made[1, p.variant].pass_s, fit=True)
        for p in experiment.published
        if p.vcpus == 1
    )
    experiment = type(experiment)(**{**vars(experiment), "published": told})
    done = fit(experiment, load_costs(), iterations=3, free=("work.rest_of_fault",))
    assert done.costs["work.rest_of_fault"].value == pytest.approx(2000, rel=0.1)
    assert done.errors[-1] < 0.25 * done.errors[0]
    assert "work.rest_of_fault" in FREE


def test_sensitivity_names_what_matters(tmp_path: Path) -> None:
    experiment = load_experiment(mine(tmp_path))
    swings = {
        s.cost: s for s in sensitivity(experiment, load_costs(), vcpus=1, names=("work.rest_of_fault", "tlb.remote"))
    }
    assert swings["work.rest_of_fault"].wall_high > 0.02 > -0.02 > swings["work.rest_of_fault"].wall_low
    assert swings["tlb.remote"].size == 0
