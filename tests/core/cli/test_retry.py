"""``pilot retry``."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pilot_core.cli import client

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]


def test_a_job_runs_again(pilot, dispatcher):
    dispatcher.put(1, state="failed")
    said = pilot("retry", 1, "--home", dispatcher.home)
    assert (said.code, said.out) == (0, "job 1: waits to run again\n")
    assert dispatcher.jobs[1]["state"] == "activated"


def test_one_that_still_runs_is_refused(pilot, dispatcher):
    dispatcher.put(1, state="running")
    said = pilot("retry", 1, "--home", dispatcher.home)
    assert (said.code, said.err) == (1, "pilot: job 1: it is running\n")


def test_all_that_failed_page_after_page(pilot, dispatcher, monkeypatch):
    monkeypatch.setattr(client, "PAGE", 2)
    for number in range(1, 8):
        dispatcher.put(number, state="failed" if number != 4 else "finished", queue="far" if number == 7 else "local")
    said = pilot("retry", "--all-failed", "--queue", "local", "--home", dispatcher.home)
    assert said.code == 0
    assert [line.split(":")[0] for line in said.out.splitlines()] == [f"job {n}" for n in (6, 5, 3, 2, 1)]
    assert (dispatcher.jobs[4]["state"], dispatcher.jobs[7]["state"]) == ("finished", "failed")


def test_nothing_failed(pilot, dispatcher):
    said = pilot("retry", "--all-failed", "--home", dispatcher.home)
    assert (said.code, said.out) == (0, "no job failed\n")


@pytest.mark.parametrize("words", [[], [1, "--all-failed"], [1, "--queue", "local"]])
def test_which_jobs_are_meant_is_said_once(pilot, dispatcher, words):
    assert pilot("retry", *words, "--home", dispatcher.home).code == 2
    assert dispatcher.asked == []
