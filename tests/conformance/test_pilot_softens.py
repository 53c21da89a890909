"""A payload whose slot the server wants: one that can come to an early end of its own does, and any other goes on."""

from __future__ import annotations

import json
import sys

import pytest

from pilot_core.sdk import hookimpl

from .ids import scenario
from .stage import JOB, UPDATE, last, runs, told

REAL = {"process": "real"}
STATE = {"name": "state.tgz", "warning": 60}
SAVES = """
import os, pathlib, signal, sys
def save(*_):
    pathlib.Path(os.environ["PILOT_CHECKPOINT_DIR"], "count").write_text("7")
    sys.exit(int(os.environ["PILOT_CHECKPOINT_EXIT"]))
signal.signal(signal.SIGUSR1, save)
while True:
    signal.pause()
"""
DEAF = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\nwhile True:\n    signal.pause()\n"
WAITS = """
import pathlib, time
while not pathlib.Path('go').exists():
    time.sleep(0.05)
open('out.txt', 'w').write('made')
"""


def python(program, **more):
    return {**JOB, "command": [sys.executable, "-c", program], "script": None, **more}


def code_of(stage, dialect="v1"):
    body = last(stage, dialect)
    return int(body["pilot_error_code" if dialect == "v1" else "pilotErrorCode"])


@scenario("C-11", "C-17")
@pytest.mark.parametrize("when", ["starting", "running"])
def test_a_payload_that_may_save_a_checkpoint_does_and_ends(stage, pilot, dialect, when):
    """Asked before it begins, it is asked when it has; and once, however often the server says so."""
    stage.submit(python(SAVES, checkpoint=STATE))
    stage.give(checkpoint=STATE)
    stage.change(UPDATE[dialect], told("softkill", dialect), 1 if when == "starting" else 5, lambda h: h.state == when)
    run = pilot(kit=REAL, **{"panda.dialect": dialect})
    assert (stage.states(dialect)[-1], code_of(stage, dialect)) == ("failed", 1901), run.story()
    report = json.loads(last(stage, dialect)["job_output_report" if dialect == "v1" else "xml"])
    assert report.keys() == {"log.tgz", "state.tgz"}
    assert run.log.count("its payload has 60 s to end early") == 1


@scenario("C-11")
def test_a_payload_that_cannot_end_early_goes_on(stage, pilot, dialect, tmp_path):
    """It ends after the next update, whose answer brings what it waits for."""
    program = WAITS.replace("'go'", repr(str(tmp_path / "go")))

    def let_go(answer):
        (tmp_path / "go").touch()
        return answer

    stage.submit(python(program))
    stage.change(UPDATE[dialect], told("softkill", dialect), when=runs)
    stage.change(UPDATE[dialect], let_go, when=runs)
    run = pilot(kit=REAL, **{"panda.dialect": dialect})
    assert (stage.states(dialect)[-1], code_of(stage, dialect)) == ("finished", 0), run.story()
    assert "goes on, as its payload cannot end early" in run.log


@scenario("C-11")
def test_a_payload_that_is_deaf_is_stopped_after_its_time(stage, pilot):
    """A second is not enough for a payload that has more to do."""
    stage.submit(python(DEAF, checkpoint=STATE))
    stage.give(checkpoint={**STATE, "warning": 1})
    stage.change(UPDATE["v1"], told("softkill", "v1"), when=runs)
    run = pilot(kit=REAL)
    assert (stage.states()[-1], code_of(stage)) == ("failed", 1379), run.story()
    assert "the server says: softkill" in last(stage)["pilot_error_diag"]


class Drains:
    """A plugin whose payloads take their work from it: told to end early, it has none left for them."""

    def __init__(self):
        self.asked = []

    @hookimpl
    def pilot_payload_soft_stop(self, job, workdir):
        self.asked.append(job.id)
        (workdir / "go").touch()
        return 60.0


@scenario("C-11")
def test_a_plugin_that_feeds_a_payload_brings_it_to_its_end(stage, pilot):
    stage.submit(python(WAITS))
    drains = Drains()
    stage.change(UPDATE["v1"], told("softkill", "v1"), 3, when=runs)
    run = pilot(kit={**REAL, "plugins": [drains]})
    assert (stage.states()[-1], drains.asked) == ("finished", ["1"]), run.story()


class Breaks:
    @hookimpl
    def pilot_payload_soft_stop(self, job, workdir):
        (workdir / "go").touch()
        raise RuntimeError("no such channel")


@scenario("C-11")
def test_a_plugin_that_fails_at_it_leaves_the_payload_alone(stage, pilot):
    stage.submit(python(WAITS))
    stage.change(UPDATE["v1"], told("softkill", "v1"), when=runs)
    run = pilot(kit={**REAL, "plugins": [Breaks()]})
    assert stage.states()[-1] == "finished", run.story()
    assert "was not asked to end early" in run.log
    assert "no such channel" in run.log
