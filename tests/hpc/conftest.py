"""A batch system's job as its processes see it: variables, files, and commands that say what was recorded."""

from __future__ import annotations

import os
import sys

import pytest

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE

MARKS = ("SLURM", "PBS", "LSB", "LSF", "FLUX", "_CONDOR", "KUBERNETES", "GRID_", "K8S_", "NCPUS")
NODE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "MACHINEFEATURES", "JOBFEATURES")


@pytest.fixture
def job(monkeypatch, tmp_path_factory):
    """``job(variables, command={arguments: output})``: nothing else is told, no other program is there. Its folder."""
    for name in list(os.environ):
        if name.startswith(MARKS) or name in NODE:
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("job")
    programs = folder / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def enter(variables, **commands):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        for name, answers in commands.items():
            program = programs / name
            program.write_text(
                f"#!{sys.executable} -IS\nimport sys\nprint({answers!r}[' '.join(sys.argv[1:])], end='')"
            )
            program.chmod(0o755)
        return folder

    return enter


@pytest.fixture
def make():
    """``make(Driver, section={"name": value})``."""

    def build(driver, **values):
        sections = (*CORE, driver.options) if driver.options else CORE
        settings = Schema(sections).merge(Layer(Rank.SITE, "test", values))
        assert not settings.warnings
        return driver(settings)

    return build
