"""``pilot debug``."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]


def test_a_job_is_followed_and_no_more(pilot, dispatcher):
    dispatcher.put(1, state="running")
    said = pilot("debug", 1, "--home", dispatcher.home)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("job 1: sends what its payload says with each update")
    assert pilot("debug", 1, "--off", "--home", dispatcher.home).out == "job 1: sends no more than usual from now on\n"
    assert dispatcher.submitted == [(True, ""), (False, "")]


def test_a_command_is_answered_and_then_all_is_as_it_was(pilot, dispatcher):
    old = {"command": "ls -l", "text": "old", "at": 1.0}
    dispatcher.put(1, state="running", debug=True, command="du .", answer=old)
    coming = iter(
        ({"command": "du .", "text": "another's", "at": 2.0}, {"command": "ls -l", "text": "new\x1b[2J\n", "at": 3.0})
    )
    dispatcher.on_wait = lambda: dispatcher.put(1, answer=next(coming))
    said = pilot("debug", 1, "ls -l", "--home", dispatcher.home)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("new")
    assert "\x1b" not in said.out
    assert dispatcher.submitted == [(True, "ls -l"), (True, "du .")]


def test_a_job_that_ends_first_is_said_to_have_done_so(pilot, dispatcher):
    dispatcher.put(1, state="running")
    dispatcher.on_wait = lambda: dispatcher.put(1, state="finished")
    said = pilot("debug", 1, "ls -l", "--json", "--home", dispatcher.home)
    assert (said.code, json.loads(said.out)) == (1, None)
    dispatcher.put(2, state="running")
    dispatcher.on_wait = lambda: dispatcher.put(2, state="failed")
    said = pilot("debug", 2, "ls -l", "--home", dispatcher.home)
    assert (said.code, said.out) == (1, "job 2 was over before it answered; `pilot jobs 2` says how\n")


def test_a_job_that_is_over_is_not_followed(pilot, dispatcher):
    dispatcher.put(1, state="failed")
    for words in ((), ("ls -l",), ("--off",)):
        said = pilot("debug", 1, *words, "--home", dispatcher.home)
        assert (said.code, said.err) == (1, "pilot: job 1: it is over\n")


def test_a_command_and_off_contradict_each_other(pilot, dispatcher):
    said = pilot("debug", 1, "ls -l", "--off", "--home", dispatcher.home)
    assert said.code == 2
    assert "a command is asked for, or --off given; not both" in said.err
