import os
import signal
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

from agewalk.core.errors import InputError, UsageError
from agewalk.timing.calibrate import FREE, compare_published, fit, residuals
from agewalk.timing.experiment import load_experiment, shipped
from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.run import mean_pass, run_all, run_row
from agewalk.timing.sensitivity import moved, sensitivity

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
    assert {p.vcpus for p in experiment.published if not p.fit} == {2, 8, 32, 64, 112}


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


def test_an_interrupt_does_not_wait_for_the_rows_under_way(tmp_path: Path) -> None:
    """Rows of several minutes each."""
    alarm = Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        run_all(load_experiment(mine(tmp_path)), load_costs(), factor=16, seeds=(0, 1), workers=2)
    alarm.join()


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
    assert compared[2, "wall, lock"].spread == pytest.approx(abs(walls[0] - walls[1]) / 2)


def test_a_mean_pass_does_not_jump_with_the_number_of_passes() -> None:
    """The vCPUs end at 100. (when the ager ended, its passes): worked out by hand."""
    assert mean_pass([(150, [40, 50, 60])], 100) == pytest.approx(100 / (2 + 10 / 60))  # the last ran from 90 to 150
    assert mean_pass([(100, [40, 60])], 100) == pytest.approx(100 / 2)
    assert mean_pass([(300, [300])], 100) == pytest.approx(300)  # one pass alone: itself, as the selftest prints it
    assert mean_pass([(250, [100])], 100) == 100  # begun when all was over
    just_before = mean_pass([(149, [40, 59, 50])], 100)  # a third pass begins at 99, or does not begin
    just_after = mean_pass([(99, [40, 59])], 100)
    assert just_before == pytest.approx(just_after, rel=0.01)


def test_the_fit_never_sees_what_is_not_marked(tmp_path: Path) -> None:
    experiment = load_experiment(mine(tmp_path))
    assert all(not p.fit for p in experiment.published if p.vcpus == 2)
    rows = run_all(experiment, load_costs(), vcpus=[1])
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
    names = ("work.rest_of_fault", "tlb.remote")
    found = sensitivity(experiment, load_costs(), vcpus=1, seeds=(0, 1), names=names)
    swings = {s.cost: s for s in found.swings}
    assert swings["work.rest_of_fault"].wall_high > 0.02 > -0.02 > swings["work.rest_of_fault"].wall_low
    assert swings["work.rest_of_fault"].wall_high > found.wall_noise > 0
    assert swings["tlb.remote"].size == 0


def test_every_cost_can_be_moved_both_ways() -> None:
    for name, cost in load_costs().items():
        low, high = moved(name, cost.value, cost.unit)
        assert 0 <= low <= cost.value <= high, name
        assert low < high, name
    assert moved("call.mitigated", 1.0, "flag") == (0.0, 1.0)
    assert moved("topology.sockets", 1, "count") == (1.0, 2)  # a machine has one


def test_few_vcpus_get_more_memory() -> None:
    experiment = load_experiment("access-tracking")
    assert [experiment.factor_at(n) for n in (1, 2, 4, 8, 112)] == [64, 128, 256, 512, 512]
    assert experiment.factor_at(1, 64) == 33  # the layout has room for no more
    assert experiment.pages(33) % 16 == 0
    assert load_experiment("nested").factor_at(1) == 512


MINE = """
from agewalk.model.protocols.linux_6_15 import Linux615

class Mine(Linux615):
    def age_gfn(self, kvm, rng, *, clear, fast_only):
        return (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only))
"""


def test_a_protocol_from_a_file_takes_its_time_as_a_shipped_one_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    experiment = load_experiment(mine(tmp_path)).with_protocols([f"{path}:Mine", "linux-6.15"])
    own, shipped_one = (run_row(experiment, v, 2, load_costs()) for v in experiment.variants[-2:])
    assert replace(own, variant="") == replace(shipped_one, variant="")


def test_an_effect_that_makes_no_sense_names_the_line_of_the_protocol(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        MINE.replace("return (yield", "yield Load(None)\n        return (yield").replace(
            "\nfrom", "\nfrom agewalk.core.effects import Load\nfrom", 1
        )
    )
    experiment = load_experiment(mine(tmp_path)).with_protocols([f"{path}:Mine"])
    with pytest.raises(InputError, match=r"odd\.py, line 7: AttributeError"):
        run_row(experiment, experiment.variants[-1], 1, load_costs())
