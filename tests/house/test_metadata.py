"""What the installed distributions say about themselves."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution, requires

import pytest

OTHERS = ("pilot-copytools", "pilot-hpc", "pilot-atlas", "pilot-lsst")


def unconditional(name: str) -> set[str]:
    return {need.replace(" ", "") for need in requires(name) or [] if "extra ==" not in need}


def pilot_entry_points(installed: Distribution):
    return [entry for entry in installed.entry_points if entry.group.startswith("pilot_core.")]


def test_the_core_needs_six_libraries():
    assert unconditional("pilot-core") == {
        *("attrs>=24.2", "pluggy>=1.6", "psutil>=6", "pyyaml>=6.0.1", "requests>=2.32", "stevedore>=5.6"),
    }


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_need_the_core_they_are_released_with(name: str):
    assert {tuple(sorted(need.removeprefix("pilot-core").split(","))) for need in unconditional(name)} == {
        ("<0.2", ">=0.1")
    }
    assert distribution(name).version == distribution("pilot-core").version


@pytest.mark.parametrize("name", ["pilot-core", *OTHERS])
def test_metadata(name: str):
    metadata = distribution(name).metadata
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert str(metadata["Summary"]).isprintable()


@pytest.mark.parametrize("name", ["pilot-core", *OTHERS])
def test_every_entry_point_leads_somewhere(name: str):
    for entry in distribution(name).entry_points:
        assert entry.load() is not None


def test_no_two_of_ours_claim_one_name():
    claims = [
        (entry.group, entry.name)
        for name in ("pilot-core", *OTHERS)
        for entry in pilot_entry_points(distribution(name))
    ]
    assert len(claims) == len(set(claims)) > 10
