"""``pilot cancel``."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]


def test_jobs_are_cancelled(pilot, dispatcher):
    dispatcher.put(1, state="running")
    dispatcher.put(2)
    said = pilot("cancel", 1, 2, "--home", dispatcher.home)
    assert said.code == 0
    assert said.out.splitlines()[1] == "job 2: is cancelled; if a pilot has it, as soon as that hears of it"
    assert {job["state"] for job in dispatcher.jobs.values()} == {"cancelled"}


def test_what_cannot_be_cancelled_is_told_with_the_reason(pilot, dispatcher):
    dispatcher.put(1, state="finished")
    dispatcher.put(2)
    said = pilot("cancel", 1, 2, 9, "--home", dispatcher.home)
    assert said.code == 1
    assert said.err == "pilot: job 1: it is finished\npilot: job 9: there is no such job\n"
    assert said.out.startswith("job 2: ")


def test_all_that_are_not_over(pilot, dispatcher):
    for number, state in enumerate(("activated", "running", "finished", "sent", "activated"), 1):
        dispatcher.put(number, state=state, queue="far" if number == 5 else "local")
    said = pilot("cancel", "--all", "--waiting", "--queue", "far", "--home", dispatcher.home)
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["job 5"]
    said = pilot("cancel", "--all", "--home", dispatcher.home)
    assert sorted(line.partition(":")[0] for line in said.out.splitlines()) == ["job 1", "job 2", "job 4"]
    said = pilot("cancel", "--all", "--home", dispatcher.home)
    assert (said.code, said.out) == (0, "no job is left to cancel\n")


@pytest.mark.parametrize("words", [[], [1, "--all"], [1, "--queue", "local"], [1, "--waiting"]])
def test_which_jobs_are_meant_is_said_once(pilot, dispatcher, words):
    assert pilot("cancel", *words, "--home", dispatcher.home).code == 2
    assert dispatcher.asked == []


def test_the_answer_as_json(pilot, dispatcher):
    said = pilot("cancel", 9, "--json", "--home", dispatcher.home)
    assert (said.code, json.loads(said.out)["done"]) == (1, [])


def test_a_number_is_wanted(pilot, dispatcher):
    said = pilot("cancel", "fit", "--home", dispatcher.home)
    assert (said.code, "'fit' is no job's number; `pilot jobs` lists them" in said.err) == (2, True)
    assert dispatcher.asked == []
