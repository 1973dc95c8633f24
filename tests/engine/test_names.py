"""The names that the package offers."""

import pytest

import agewalk.engine


@pytest.mark.parametrize("name", agewalk.engine.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(agewalk.engine, name).__name__ == name
