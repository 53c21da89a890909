"""``pilot recover`` where no job is left and a last report still waits."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pilot_core.control.outbox import WAITING, write_letter
from pilot_core.spec.drivers import Letter

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}


@pytest.fixture
def run(tmp_path):
    """Run a pilot's command to its end in a directory where one has worked already."""

    def run(*words):
        command = [sys.executable, "-m", "pilot_core", *words]
        return subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, text=True, timeout=30, check=False)

    (tmp_path / "job.yaml").write_text("id: good\ncommand: [/bin/true]\n")
    options = ("--set", f"report.outbox={tmp_path / 'outbox'}")
    assert run("run", "--job", "job.yaml", "--workdir", "work", *options).returncode == 0
    return run


@pytest.fixture(params=["work/PanDA_Pilot-7.control", "outbox"])
def place(tmp_path, request):
    """Where a letter may wait."""
    folder = tmp_path / request.param
    folder.mkdir(parents=True, exist_ok=True)
    return folder / (WAITING if folder.name != "outbox" else "0a1b.json")


def letter(communicator):
    return Letter(communicator=communicator, job="7", attempt=1, final=True, body={})


def test_a_report_that_waited_is_told_of_and_delivered(run, place):
    write_letter(place, letter("jobfile"))
    said = run("recover", "work")
    assert said.returncode == 0, said.stderr
    lines = ["no jobs left in work", "1 report of jobs that are over waits", "1 report that waited is delivered"]
    assert said.stdout.splitlines() == lines
    assert not place.exists()


def test_only_one_thing_says_where_the_server_is(run):
    for more in (("--home", "h"), ("--url", "http://127.0.0.1:1")):
        said = run("recover", "work", "--join", "j", *more)
        assert (said.returncode, f"--join and {more[0]} both say which server" in said.stderr) == (2, True), said.stderr


def test_a_report_that_waits_still_is_named_and_fails_the_command(run, place):
    write_letter(place, letter("nobody"))
    said = run("recover", "work")
    assert said.returncode == 1
    assert said.stdout.splitlines() == ["no jobs left in work", "1 report of jobs that are over waits"]
    assert f"pilot: a report waits still in {place}; pilotlog.txt says why" in said.stderr.splitlines()
    assert run("recover", "work", "--json").stdout == "[]\n"


def test_where_nothing_waits_nothing_is_told_of_it(run):
    said = run("recover", "work")
    assert (said.returncode, said.stdout) == (0, "no jobs left in work\n")
