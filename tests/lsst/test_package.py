"""pilot-lsst is nearly empty and says so."""

from __future__ import annotations

from importlib.metadata import distribution

import pilot_lsst


def test_it_installs_beside_the_core_and_registers_nothing():
    installed = distribution("pilot-lsst")
    assert installed.version == distribution("pilot-core").version
    assert list(installed.entry_points) == []
    assert "nearly empty" in str(installed.metadata.get_payload())
    assert "Nearly empty" in str(pilot_lsst.__doc__)
