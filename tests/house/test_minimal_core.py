"""The minimal core: what ``pilot run`` loads in the plainest case; all else of the top floor can go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pilot_core

PACKAGE = Path(str(pilot_core.__file__)).parent
JOB = "id: plain\ncommand: [/bin/true]\n"
TOP = [name for name in ("workflows", "builtin", "api", "cli", "testing") if (PACKAGE / name).is_dir()]
RUN = """
import atexit, os, sys
sys.path.insert(0, sys.argv.pop(1))
loaded = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
atexit.register(lambda: os.write(loaded, "\\n".join(sorted(sys.modules)).encode()))
from pilot_core.cli.main import main
sys.exit(main())
"""


def run_plain_job(folder: Path, package_parent: Path) -> set[str]:
    """Run a described job with the package found there; return the names of our modules that were loaded."""
    (folder / "job.yaml").write_text(JOB)
    loaded = folder / "loaded"
    options = ["run", "--job", folder / "job.yaml", "--workdir", folder / "work"]
    run = subprocess.run(
        [sys.executable, "-c", RUN, package_parent, loaded, *options],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return {name for name in loaded.read_text().split() if name.partition(".")[0] == "pilot_core"}


def test_the_plainest_job_loads_the_minimal_core_and_no_more(tmp_path: Path):
    listed = (Path(__file__).with_name("minimal_core.txt")).read_text().split()
    assert sorted(run_plain_job(tmp_path, PACKAGE.parent)) == listed


@pytest.mark.parametrize("folder", TOP)
def test_a_folder_of_the_top_floor_that_is_not_listed_can_go(tmp_path: Path, folder: str):
    listed = (Path(__file__).with_name("minimal_core.txt")).read_text().split()
    copy = tmp_path / "copy" / "pilot_core"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted((copy / folder).rglob("*.py"), reverse=True):
        name = ".".join(path.relative_to(copy.parent).with_suffix("").parts).removesuffix(".__init__")
        if name not in listed:
            path.unlink()
    run_plain_job(tmp_path, copy.parent)
