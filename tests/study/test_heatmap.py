"""The picture of which pages are used when."""

from agewalk.study.heatmap import ROWS, heat_maps
from agewalk.study.result import BINS, FIRST_BIN
from agewalk.study.scenarios.scenario import load


def test_every_access_is_in_its_place_however_long_the_trace(write) -> None:  # type: ignore[no-untyped-def]
    end = 3 * BINS * FIRST_BIN  # bins double twice
    path = write("t", [0, 0, end // 2, end], [0, 255, 128, 2], pages=256)
    (heat,) = heat_maps(load(path))
    assert heat.bin_ns == 4 * FIRST_BIN
    assert heat.pages_per_row == 256 // ROWS
    assert heat.counts.sum() == 4
    found = {(int(r), int(c)) for r, c in zip(*heat.counts.nonzero(), strict=True)}
    assert found == {(0, 0), (127, 0), (64, end // 2 // heat.bin_ns), (1, end // heat.bin_ns)}
    assert heat.counts.shape[1] == end // heat.bin_ns + 1
