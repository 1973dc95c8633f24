"""The tests of this folder can fail: each fault here, put into the code, is caught by the test that should catch it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from agewalk.core.errors import TraceError
from agewalk.trace import open_trace
from agewalk.trace.convert import lackey, slots_and_frames
from agewalk.trace.format import Batch
from agewalk.trace.row_rules import StreamCheck

from .conftest import Make
from .test_facts import test_against_dictionaries_at_any_batch_size as facts_test
from .test_synth import test_rows_do_not_depend_on_batches as synth_test

CAUGHT = (AssertionError, ExceptionGroup)  # hypothesis groups failures of several kinds


def _load(name: str) -> ModuleType:
    import importlib.util

    path = Path(__file__).parent.joinpath(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(f"seeded_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_check_that_forgets_the_last_batch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(time_ns=([0, 20, 10, 20, 40], "uint64"))
    with pytest.raises(TraceError):
        list(open_trace(path).batches(2))
    whole = StreamCheck.check

    def forgetful(self: StreamCheck, batch: Batch) -> None:
        self._last = 0
        whole(self, batch)

    monkeypatch.setattr(StreamCheck, "check", forgetful)
    list(open_trace(path).batches(2))  # the fault is in, and the error is gone: test_bad_row_... asks for it


def drops_writes(rows: Batch) -> Batch:
    kept = WHOLE["once"](rows)
    return Batch(kept.time_ns, kept.vcpu, kept.gfn, rows.write[: len(kept)], kept.context)


def forgets_vcpu(rows: Batch) -> Batch:
    kept = WHOLE["once"](Batch(rows.time_ns, np.zeros_like(rows.vcpu), rows.gfn, rows.write, rows.context))
    return Batch(kept.time_ns, kept.vcpu, kept.gfn, kept.write, kept.context)


WHOLE: dict[str, Callable[..., Any]] = {
    "once": slots_and_frames._once_each,
    "number": lackey._number,
}


@pytest.mark.parametrize("fault", [drops_writes, forgets_vcpu])
def test_slots(monkeypatch: pytest.MonkeyPatch, fault: Callable[[Batch], Batch]) -> None:
    monkeypatch.setattr(slots_and_frames, "_once_each", fault)
    with pytest.raises(CAUGHT):
        _load("convert.test_slots_and_frames").test_slots_are_a_dictionary_by_slot_page_and_vcpu()


def test_lackey_addresses_off_by_one_digit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def short(text: Any, start: Any, digits: Any, base: int) -> Any:
        return WHOLE["number"](text, start, np.minimum(digits, 9), base)

    monkeypatch.setattr(lackey, "_number", short)
    with pytest.raises(CAUGHT):
        _load("convert.test_formats").test_lackey_recorded_program_counts_what_valgrind_counted(tmp_path)


def test_working_set_that_starts_anew_with_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from agewalk.trace import facts

    add = facts._Counts.add

    def restart(self: Any, batch: Batch) -> None:
        self._open_pages.clear()
        add(self, batch)

    monkeypatch.setattr(facts._Counts, "add", restart)
    with pytest.raises(CAUGHT):
        facts_test()


def test_synthesis_that_draws_in_the_order_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    from agewalk.trace import synth

    rng = np.random.default_rng(0)
    monkeypatch.setattr(synth, "_raw", lambda seed, block, count: rng.integers(0, 2**64, count, np.uint64))
    # One case, not a search: hypothesis would try for minutes to make a random fault smaller.
    with pytest.raises(CAUGHT):
        synth_test.hypothesis.inner_test("zipf", 1000, 0)  # type: ignore[attr-defined]
