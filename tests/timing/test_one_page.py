import pytest

from agewalk.timing.hardware.costs import load_costs
from agewalk.timing.one_page import one_page


def test_has_fast_aging_saves_one_retpoline_a_page() -> None:
    costs = load_costs()
    asked = one_page(costs, "linux-6.15", other=True).again_ns - one_page(costs, "linux-6.15").again_ns
    skipped = one_page(costs, "v7", other=True).again_ns - one_page(costs, "v7").again_ns
    saved = asked - skipped
    assert saved == pytest.approx(costs["call.retpoline"].value, abs=1.0)
    plain = one_page(costs, "linux-6.15", other=True, retpoline=False).again_ns
    assert plain - one_page(costs, "linux-6.15", retpoline=False).again_ns - skipped < 3


def test_nobody_is_called_twice_or_left_out() -> None:
    costs = load_costs()
    alone = one_page(costs, "v7")
    both = one_page(costs, "v7", other=True)
    assert alone.calls == both.calls == both.calls_saved == 2 * (1024 + 2)
    assert one_page(costs, "linux-6.9").calls == 0


def test_the_lock_costs_even_when_nobody_wants_it() -> None:
    costs = load_costs()
    assert one_page(costs, "linux-6.13").again_ns > one_page(costs, "linux-6.15").again_ns + 5


def test_the_flag_saves_the_question_to_a_kvm_without_tdp_mmu() -> None:
    """Christopherson's has_fast_aging follows tdp_mmu_enabled; Houghton and v7 ask such a VM all the same."""
    costs = load_costs()
    left_out = one_page(costs, "christopherson", mmu="legacy")
    assert left_out.calls == 0
    assert left_out.calls_saved == one_page(costs, "christopherson").calls == 2 * (1024 + 2)
    for name in ("houghton", "v7"):
        asked = one_page(costs, name, mmu="legacy")
        assert asked.calls_saved == 0
        assert asked.again_ns > 1.9 * left_out.again_ns
