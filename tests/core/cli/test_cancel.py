"""``pilot cancel``."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]


def test_jobs_are_cancelled(pilot, dispatcher):
    dispatcher.put(1, state="running")
    dispatcher.put(2)
    said = pilot("cancel", 1, 2, "--home", dispatcher.home)
    assert said.code == 0
    assert said.out.splitlines()[1] == "job 2: is cancelled; a payload that runs is ended by its pilot"
    assert {job["state"] for job in dispatcher.jobs.values()} == {"cancelled"}


def test_what_cannot_be_cancelled_is_told_with_the_reason(pilot, dispatcher):
    dispatcher.put(1, state="finished")
    dispatcher.put(2)
    said = pilot("cancel", 1, 2, 9, "--home", dispatcher.home)
    assert said.code == 1
    assert said.err == "pilot: job 1: it is finished\npilot: job 9: there is no such job\n"
    assert said.out.startswith("job 2: ")


def test_the_answer_as_json(pilot, dispatcher):
    said = pilot("cancel", 9, "--json", "--home", dispatcher.home)
    assert (said.code, json.loads(said.out)["done"]) == (1, [])


def test_a_number_is_wanted(pilot, dispatcher):
    said = pilot("cancel", "fit", "--home", dispatcher.home)
    assert (said.code, "'fit' is no job's number; `pilot jobs` lists them" in said.err) == (2, True)
    assert dispatcher.asked == []
