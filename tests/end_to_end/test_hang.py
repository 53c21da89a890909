"""A pilot that ends, whatever hangs: each hook in turn, a driver, an observer, the loop itself."""

from __future__ import annotations

import json

import pytest

from pilot_core.spec import jobs, payload, reporting, staging, startup

HOOKS = [
    name
    for module in (startup, jobs, staging, payload, reporting)
    for name in vars(module)
    if name.startswith("pilot_")
]
ENDS_THE_START = {"pilot_config_sections", "pilot_config_defaults", "pilot_error_codes"}
FAILS_THE_JOB = {
    "pilot_job_extras",
    "pilot_job_verify",
    "pilot_inputs_replicas",
    "pilot_inputs_skip",
    "pilot_inputs_staged",
    "pilot_outputs_select",
    "pilot_outputs_replicas",
    "pilot_payload_command",
    "pilot_payload_environment",
    "pilot_payload_container",
    "pilot_payload_diagnose",
}

PILOTFILE = """
import threading
from pilot_core.sdk import hookimpl

@hookimpl
def {hook}():
    threading.Event().wait()
"""


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_hangs_is_left_behind_and_named(site, hook):
    (site.root / "in.txt").write_text("x")
    site.job(
        "one",
        "cp in.txt out.txt; sleep 0.7",
        inputs=[{"name": "in.txt", "source": str(site.root / "in.txt")}],
        outputs=[site.output("out.txt")],
        log={"name": "log.tgz", "destination": str(site.store / "log.tgz")},
    )
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(PILOTFILE.format(hook=hook))
    code, said = site.run(
        f"bootstrap.pilotfile={pilotfile}",
        "pilot.hook_budget_s=0.4",
        "monitor.sample_s=0.2",
        "pilot.ask_again_s=0.1",
    )
    assert hook in said
    assert "pilotfile" in said
    if hook in ENDS_THE_START:
        assert code == 1
        assert not (site.box / "reports").exists()
    elif hook == "pilot_node_check":
        assert code != 0
        assert (site.box / "one.json").exists()
    else:
        state = "failed" if hook in FAILS_THE_JOB else "finished"
        report = site.report("one")
        assert (report["state"], report["final"]) == (state, True)
        assert ("error" in report and hook in json.dumps(report["error"])) == (hook in FAILS_THE_JOB)


LOOP_HANGS = """
import time
from pilot_core.agent import loop

turn = loop.Loop._turn

def hang(self, event, perform):
    turn(self, event, perform)
    if type(event).__name__ == "PayloadStarted":
        while True:
            time.sleep(0.1)

loop.Loop._turn = hang
"""


def test_a_loop_that_hangs_is_ended_with_its_stacks_and_its_job_is_recovered(site):
    site.job("one", f"echo $$ > {site.root}/pid; sleep 300", log="log.tgz")
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(LOOP_HANGS)
    code, said = site.run(
        f"bootstrap.pilotfile={pilotfile}", "pilot.watchdog_s=2", "payload.orphan=stop", "payload.grace_s=1"
    )
    assert code == -9, said
    assert "hang" in (site.work / "pilot.control" / "stacks.txt").read_text()
    code, said = site.recover()
    assert code == 0, said
    report = site.report("one")
    assert (report["state"], report["final"]) == ("failed", True)
    assert "hung" in report["error"]["detail"]


DRIVER_HANGS = """
import threading
from {module} import {driver}

def hang(self, *_, **__):
    threading.Event().wait()

{driver}.{method} = hang
"""


def hanging(site, module, driver, method):
    """A site's file that makes one method of a driver hang."""
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(DRIVER_HANGS.format(module=module, driver=driver, method=method))
    return f"bootstrap.pilotfile={pilotfile}"


def test_a_copy_tool_that_hangs_is_left_behind(site):
    (site.root / "in.txt").write_text("x")
    site.job("one", "true", inputs=[{"name": "in.txt", "source": str(site.root / "in.txt")}])
    code, said = site.run(hanging(site, "pilot_copytools.local", "Local", "fetch"), "budgets.steps=stage_in=0.5")
    report = site.report("one")
    assert (report["state"], report["error"]["number"]) == ("failed", 1151), said
    assert "left behind" in said
    assert code == 1


def test_a_communicator_that_hangs_is_left_behind(site):
    site.job("one", "true")
    hangs = hanging(site, "pilot_core.builtin.filebox", "FileBox", "acquire")
    code, said = site.run(hangs, "budgets.ask_s=0.3", "pilot.failed_answers=2", "pilot.ask_again_s=0.1")
    assert code == 79, said
    assert said.count("| ask was left behind in ") == 2


def test_a_communicator_that_never_delivers_keeps_nothing_alive(site):
    site.job("one", "true")
    hangs = hanging(site, "pilot_core.builtin.filebox", "FileBox", "send")
    _, said = site.run(hangs, "report.final_budget_s=1", f"report.outbox={site.root / 'outbox'}")
    assert "conclude" in said, said
    assert len(list((site.root / "outbox").glob("*.json"))) == 1
    _, said = site.run(f"report.outbox={site.root / 'outbox'}")
    assert site.report("one")["state"] == "finished", said


def test_a_monitor_that_hangs_does_not_disturb_the_job(site):
    site.job("one", "sleep 1")
    hangs = hanging(site, "pilot_core.builtin.monitors", "Memory", "look")
    code, said = site.run(hangs, "monitor.sample_s=0.1", "budgets.look_s=0.2")
    assert code == 0, said
    assert "monitors/one was left behind" in said
    assert site.report("one")["state"] == "finished"
