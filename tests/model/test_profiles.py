"""Profiles: bundles of named features, every feature with a citation."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from agewalk.cli.profile import app
from agewalk.core.errors import UsageError
from agewalk.model.profiles import PROFILES, features, profile


def test_seven_kernels() -> None:
    assert list(PROFILES) == ["6.1", "6.9", "6.12", "6.13", "6.15", "6.18", "7.3"]
    assert [name for name, kernel in PROFILES.items() if kernel.recorded] == ["6.1", "6.12", "6.18", "7.3"]


def test_unknown_kernel_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as error:
        profile("5.4")
    assert "7.3" in error.value.hint


def test_every_feature_says_what_it_is_and_since_when() -> None:
    for feature in features(profile("7.3")):
        assert feature.cite, f"{feature.part}.{feature.name} has no citation"
        assert any(digit.isdigit() for digit in feature.cite), f"{feature.part}.{feature.name} names no release"


def test_facts_of_the_recordings_are_in_the_profiles() -> None:
    """SUMMARY 1, 9, 12, 22: read off the recordings, not off the code."""
    assert PROFILES["6.1"].mm.folio_batch_size == 15
    assert PROFILES["6.12"].mm.folio_batch_size == 31
    assert not PROFILES["6.1"].mglru.walk_notifies
    assert PROFILES["6.12"].mglru.walk_notifies
    assert PROFILES["7.3"].mglru.fault_adds == "workingset_or_accessed"
    assert PROFILES["6.18"].kvm.rmap_bit_lock


def test_command_line() -> None:
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert [row["profile"] for row in listed["profiles"]] == list(PROFILES)
    shown = json.loads(CliRunner().invoke(app, ["show", "7.3", "6.18", "--json"]).stdout)
    names = {row["feature"] for row in shown["features"]}
    assert "swapin_through_cache" in names
    assert "folio_batch_size" not in names
    assert "6.18" in CliRunner().invoke(app, ["list"]).stdout
    assert "swapin_through_cache" in CliRunner().invoke(app, ["show", "7.3"], env={"COLUMNS": "200"}).stdout
