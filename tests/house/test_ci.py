"""What CI says last: one line over all reports, and an exit code that agrees with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

def test_good(): pass
def test_bad(): assert 1 == 2, "arithmetic is on strike"
@pytest.mark.skip(reason="it is Sunday")
def test_idle(): pass
@pytest.fixture
def broken(): raise OSError("no disk")
def test_unready(broken): pass
@pytest.mark.xfail(reason="known")
def test_known(): assert False
"""


def report(folder: Path, name: str, *chosen: str) -> None:
    (folder / "test_it.py").write_text(TESTS)
    options = ["-q", "-c", "/dev/null", "--rootdir", folder, f"--junitxml={folder}/{name}.xml"]
    command = [sys.executable, "-m", "pytest", *options, *(f"{folder}/test_it.py::{test}" for test in chosen)]
    subprocess.run(command, capture_output=True)


def sum_up(root: Path, folder: Path, *failed_sessions: str) -> tuple[int, list[str]]:
    command = [sys.executable, root / ".ci" / "sum_up.py", folder, *failed_sessions]
    run = subprocess.run(command, capture_output=True, text=True)
    return run.returncode, run.stdout.splitlines()


def test_all_is_well(root: Path, tmp_path: Path):
    report(tmp_path, "tests-core", "test_good")
    report(tmp_path, "together", "test_good")
    assert sum_up(root, tmp_path) == (0, ["2 passed, 0 failed, 0 skipped"])


def test_what_failed_and_what_was_skipped_is_told(root: Path, tmp_path: Path):
    report(tmp_path, "tests-core", "test_good", "test_bad", "test_idle", "test_unready", "test_known")
    code, lines = sum_up(root, tmp_path, "tests")
    assert code == 1
    assert lines[-1] == "1 passed, 2 failed, 2 skipped"
    assert any("test_bad" in line and "arithmetic is on strike" in line for line in lines)
    assert any("test_idle" in line and "it is Sunday" in line for line in lines)


def test_a_session_that_failed_without_a_failed_test_counts(root: Path, tmp_path: Path):
    report(tmp_path, "tests-core", "test_good", "test_bad")
    code, lines = sum_up(root, tmp_path, "tests", "lint")
    assert code == 1
    assert lines[-2:] == [
        "failed: session lint, with no failed test in its report",
        "1 passed, 2 failed, 0 skipped",
    ]


def test_nothing_run_is_a_failure(root: Path, tmp_path: Path):
    assert sum_up(root, tmp_path) == (1, ["0 passed, 0 failed, 0 skipped"])


NO_PIP = """
import runpy, sys
sys.modules["ensurepip"] = None
runpy.run_path("noxfile.py", run_name="__main__")
"""


def test_without_pip_one_sentence_says_what_to_install(root: Path, tmp_path: Path):
    shutil.copy(root / "noxfile.py", tmp_path)
    run = subprocess.run([sys.executable, "-c", NO_PIP], cwd=tmp_path, capture_output=True, text=True)
    assert run.stderr == "noxfile.py needs Python's venv with pip in it; on Debian, apt install python3-venv\n"
    assert run.returncode == 1
