"""Names that do not belong: experiments in the core, tools outside their places, words that say nothing."""

from __future__ import annotations

import re
from pathlib import Path

EXPERIMENTS = r"(?<![a-z])(atlas|lsst|rubin|sphenix|belle|icecube)|(?<![a-z])(cms|lhcb|darkside|cta|compass)(?![a-z])"
TOOLS = (
    r"(?<![a-z])(rucio|xrootd|xrdcp|gfal|gsiftp|boto|webdav|cric|agis|cvmfs|frontier|voms|singularity|apptainer"
    r"|podman|docker|shifter|charliecloud|bubblewrap|slurm|srun|sbatch|pbs|qsub|lsf|jsrun|aprun|mpirun|condor"
    r"|htcondor|kubernetes|perlmutter|raythena|harvester)(?![a-z])"
)
#: Here names are the field's: default drivers, the error table, wire tables, the older pilot's options.
TOOLS_BELONG = re.compile(
    r"pilot_core/(builtin/|dispatcher/|error_table\.py|model/transfers\.py|cli/(legacy|older)\.py|pyproject\.toml)|/wire\.py$"
)
EMPTY_WORDS = {"utils", "util", "common", "helpers", "manager", "misc", "base"}


def found(pattern: str, paths: list[Path], root: Path) -> list[str]:
    hits = []
    for path in paths:
        lines = [str(path.relative_to(root)), *path.read_text(errors="replace").splitlines()]
        hits += [f"{path}:{n}: {line}" for n, line in enumerate(lines) if re.search(pattern, line.lower())]
    return hits


def in_core(files: list[Path], root: Path) -> list[Path]:
    return [path for path in files if path.is_relative_to(root / "pilot_core")]


def test_the_patterns_find_what_they_should():
    for name in ("AtlasSetup", "pilot_atlas", "LSST", "sPHENIX", "Belle II", "CMS"):
        assert re.search(EXPERIMENTS, name.lower()), name
    for name in ("labelled", "rebellen", "cmsg", "compassion"):
        assert not re.search(EXPERIMENTS, name), name
    assert re.search(TOOLS, "the rucio_client")


def test_no_experiment_is_named_in_the_core(files, root):
    assert found(EXPERIMENTS, in_core(files, root), root) == []


def test_tools_are_named_in_their_places_only(files, root):
    elsewhere = [path for path in in_core(files, root) if not TOOLS_BELONG.search(str(path))]
    assert found(TOOLS, elsewhere, root) == []


def test_no_name_is_empty_of_meaning(sources):
    for source in sources:
        assert not EMPTY_WORDS & {*source.path.with_suffix("").parts[-3:]}, source.name
        for function in source.functions():
            assert not function.name.startswith("handle_"), f"{source.name}:{function.lineno}"


def test_no_trace_of_the_workshop(files, root):
    """What only the place of writing knows: its paths, its documents, its other tools."""
    traces = (
        "/work/" + "(main|shared)",
        "/tmp/" + "venv",
        "HOUSE" + r"\.md",
        "error-codes" + r"\.md",
        "the " + "incumbent",
    )
    for trace in traces:
        assert found(trace.lower(), files, root) == [], trace
