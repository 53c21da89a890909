"""What can't be installed or is not there is said in one sentence, and skipped only where nobody insists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import install
from .conftest import insist


def test_without_dpkg_one_sentence_says_so():
    command = [sys.executable, Path(install.__file__)]
    run = subprocess.run(command, env={"PATH": "/nonexistent"}, capture_output=True, text=True)
    assert run.returncode == 1
    (sentence,) = run.stderr.splitlines()
    assert "no dpkg" in sentence


def test_a_missing_program_is_named_with_the_way_out():
    said = install.missing("sh", "xrootd-of-another-world")
    assert said.startswith("this machine has no xrootd-of-another-world: `python3 tests/servers/install.py`")
    assert not install.missing("sh")


def test_what_is_missing_is_skipped_unless_all_is_wanted(monkeypatch):
    lack = install.missing("no-such-server")
    monkeypatch.delenv("PILOT_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception):
        insist(lack)
    monkeypatch.setenv("PILOT_SERVERS", "all")
    with pytest.raises(pytest.fail.Exception):
        insist(lack)
    insist("")
