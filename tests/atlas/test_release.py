"""What `asetup` is told."""

from __future__ import annotations

import pytest

from pilot_atlas.job import AtlasJob
from pilot_atlas.release import is_wanted, setup_command, tags


@pytest.mark.parametrize(
    ("release", "package", "expected"),
    [
        ("Atlas-23.0.53", "AthSimulation/23.0.53", ("AthSimulation", "23.0.53", "notest")),
        ("Atlas-21.0.15", "AtlasOffline/21.0.15", ("AtlasOffline", "21.0.15", "notest")),
        ("", "AnalysisTransforms-AnalysisBase_25.2.40", ("AnalysisBase", "25.2.40", "notest")),
        ("Atlas-25.2.40", "AnalysisTransforms-AnalysisBase_25.2.40", ("AnalysisBase", "25.2.40", "notest")),
        ("Atlas-21.0.15", "AnalysisTransforms", ("21.0.15", "notest")),
        ("", "AnalysisTransforms-Athena_main_2026-03-01T2101", ("Athena", "main", "2026-03-01T2101", "notest")),
        ("Atlas-23.0.53", "", ("23.0.53", "notest")),
    ],
)
def test_tags_of_a_release(release, package, expected):
    assert tags(release, package) == expected


def test_no_text_of_a_job_leaves_its_quotes():
    job = AtlasJob(release="Atlas-1.2", package="A/1.2; touch x", platform="$(touch y)")
    line = setup_command(job)
    assert "'A,1.2; touch x,1.2,notest'" in line
    assert "--platform '$(touch y)'" in line


@pytest.mark.parametrize(
    ("prepared", "parameters", "wanted"),
    [("", "x", True), ("True", "x", True), ("True", "source asetup.sh 1; x", False), ("", "source asetup.sh 1", True)],
)
def test_arguments_may_bring_their_own_set_up(prepared, parameters, wanted):
    assert is_wanted(AtlasJob(release="Atlas-1.2", prepared=prepared), parameters) == wanted
    assert not is_wanted(AtlasJob(prepared=prepared), parameters)
