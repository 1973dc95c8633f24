"""Fields of the engine's records do not overlap."""

import pytest

from agewalk.engine.state import layout as at


def test_each_field_begins_where_the_one_before_ends() -> None:
    record = at.Record()
    assert [record.field(), record.field(3), record.field(), record.size] == [0, 1, 4, 5]


@pytest.mark.parametrize("length", [0, -1])
def test_a_field_has_a_place(length: int) -> None:
    with pytest.raises(ValueError, match="at least one place"):
        at.Record().field(length)


def test_fields_of_word_are_apart() -> None:
    """Lengths by the numbers that they stand for: no array reaches into the next field."""
    long = {
        "MIN_SEQ": 2, "NR_PAGES": 8, "AVG_REFAULTED": 8, "AVG_TOTAL": 8, "EVICTED_IN": 8, "REFAULTED_IN": 8, "PROTECTED_IN": 8,
        "LATER": 64, "OPENED": at.N_GENS, "PROTECTED": at.N_TIERS, "MOVING": at.BATCH, "ISOLATED": at.BATCH + 1, "KEPT": at.BATCH,
        "LISTED": 2, "HEADS": at.N_LISTS, "TAILS": at.N_LISTS, "MEMO_FLAGS": at.N_MEMOS,
    }  # fmt: skip
    starts = sorted(getattr(at, name) for name in long)
    for name, length in long.items():
        first = getattr(at, name)
        assert not [start for start in starts if first < start < first + length], name
        assert first + length <= at.N_WORDS
    assert set(at.SCRATCH) <= set(range(at.N_WORDS))
