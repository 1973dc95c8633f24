"""Maps on the page: folding, scales, size."""

import base64

import numpy as np

from agewalk.report.where import BUDGET, NONE, Where, folded, packed, shades


def where(policy: str, rows: int, columns: int, *, memory: int = 1 << 20, members: int = 1) -> Where:
    dice = np.random.default_rng(len(policy))
    counts = [dice.integers(0, 9, (rows, columns)).tolist() for _ in range(members)]
    return Where(policy, memory, 50, [f"vm{i}" for i in range(members)], [64] * members, counts, counts, counts)


def test_columns_fold_by_sum_and_by_last() -> None:
    counts = np.array([[1, 2, 3, 4, 5], [0, 0, 7, -1, 9]])
    assert folded(counts[:1], 2, young=False).tolist() == [[3, 7, 5]]
    assert folded(counts, 2, young=True).tolist() == [[2, 4, 5], [0, 7, 9]]  # the last that there is


def test_shades_have_one_scale() -> None:
    assert list(shades(np.array([[0, 9]]), "evictions", 99)) == [0, 128]  # log(10) / log(100) = 1/2, rounded up
    assert list(shades(np.array([[-1, 0, 500, 1000]]), "young", 1000)) == [NONE, 0, 127, 254]


def test_equal_maps_are_there_once() -> None:
    data = packed([where("v5", 4, 10), where("v7", 4, 10), where("houghton", 4, 10)])
    assert data["maps"][0]["refaults"] == data["maps"][1]["refaults"] != data["maps"][2]["refaults"]
    assert data["leftOut"] == 0
    place = data["maps"][2]["evictions"][0]
    assert len(base64.b64decode(data["shades"][place])) == 40
    assert data["rows"] == [4]


def test_a_page_stays_small_whatever_was_compared() -> None:
    many = [where(f"policy-{'x' * i}", 32, 100, memory=m, members=20) for m in (1, 2, 3) for i in range(12)]
    data = packed(many)
    assert sum(len(text) for text in data["shades"]) < 1.4 * BUDGET
    assert data["leftOut"] == len(many) - len(data["maps"]) > 0
    assert {m["memory"] for m in data["maps"]} == {1}


def test_nothing_to_draw() -> None:
    assert packed([])["maps"] == []
