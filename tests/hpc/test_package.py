"""pilot-hpc installs beside the core and registers its resources."""

from __future__ import annotations

from importlib.metadata import distribution


def test_it_installs_beside_the_core_and_registers_its_resources():
    installed = distribution("pilot-hpc")
    assert installed.version == distribution("pilot-core").version
    names = {(point.group, point.name) for point in installed.entry_points}
    resources = ("arc", "flux", "htcondor", "kubernetes", "lsf", "pbs", "slurm")
    assert names == {("pilot_core.resource", name) for name in resources}
    assert all(point.load().name == point.name for point in installed.entry_points)
