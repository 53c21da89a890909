"""A pilot that ends, whatever hangs: each hook in turn, a driver, an observer, the loop itself."""

from __future__ import annotations

import json
import signal
import time

import pytest

from pilot_core.spec import jobs, payload, reporting, staging, startup

HOOKS = [
    name
    for module in (startup, jobs, staging, payload, reporting)
    for name in vars(module)
    if name.startswith("pilot_")
]
ENDS_THE_START = {"pilot_config_sections", "pilot_config_defaults", "pilot_config_unused", "pilot_error_codes"}
FAILS_THE_JOB = {
    "pilot_job_extras",
    "pilot_job_verify",
    "pilot_inputs_rank",
    "pilot_inputs_replicas",
    "pilot_inputs_select",
    "pilot_inputs_skip",
    "pilot_inputs_staged",
    "pilot_outputs_select",
    "pilot_outputs_replicas",
    "pilot_outputs_sign",
    "pilot_payload_command",
    "pilot_payload_environment",
    "pilot_payload_container",
    "pilot_payload_diagnose",
    "pilot_payload_patterns",
    "pilot_payload_postprocesses",
    "pilot_payload_preprocesses",
}

BEFORE = {
    "pilot_inputs_rank": "@hookimpl\ndef pilot_inputs_replicas(job):\n    return {'in.txt': job.inputs[0].replicas}\n",
    "pilot_payload_soft_stop": """
from attrs import evolve
from pilot_core.builtin.filebox import FileBox
from pilot_core.errors import Code, PilotError

send = FileBox.send
FileBox.send = lambda *words: evolve(send(*words), soft_stop=PilotError(Code.PREEMPTION, "softly"))
""",
    "pilot_transfer_facts": "@hookimpl\ndef pilot_transfer_tried():\n    pass\n",
}
"""What somebody has to say first, or the hook is not asked."""

PILOTFILE = """
import threading
from pilot_core.sdk import hookimpl

@hookimpl
def {hook}():
    threading.Event().wait()
"""


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_hangs_is_left_behind_and_named(site, hook):
    """pilot:L03"""
    (site.root / "in.txt").write_text("x")
    site.job(
        "one",
        f"cp in.txt out.txt; sleep 0.7; exit {int(hook == 'pilot_payload_patterns')}",
        inputs=[{"name": "in.txt", "source": str(site.root / "in.txt")}],
        outputs=[site.output("out.txt")],
        log={"name": "log.tgz", "destination": str(site.store / "log.tgz")},
    )
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(PILOTFILE.format(hook=hook) + BEFORE.get(hook, ""))
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
    hangs = hanging(site, "pilot_core.builtin.monitors.memory", "Memory", "look")
    code, said = site.run(hangs, "monitor.sample_s=0.1", "budgets.look_s=0.2")
    assert code == 0, said
    assert said.count("| job one: monitor memory failed: monitor memory/one was left behind in threading.py") == 1
    assert site.report("one")["state"] == "finished"


MONITORS_HANG = """
import threading
from pilot_core.builtin.monitors.disk import Disk
from pilot_core.builtin.monitors.looping import Looping
from pilot_core.builtin.monitors.memory import Memory
from pilot_core.sdk import hookimpl

def hang(self, *_, **__):
    threading.Event().wait()

Disk.__init__ = Looping.look = Memory.look = hang

@hookimpl
def pilot_job_phase(phase):
    with open({told!r}, "a") as file:
        file.write(f"{{phase}} {{threading.active_count()}}\\n")
"""


def test_the_time_of_a_payload_is_watched_whatever_other_monitors_do(site):
    told = site.root / "threads"
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(MONITORS_HANG.format(told=str(told)))
    site.job("one", "sleep 30", limits={"wall": "2s"})
    settings = ("monitor.sample_s=0.1", "budgets.look_s=0.2", "payload.grace_s=1")
    began = time.monotonic()
    _, said = site.run(f"bootstrap.pilotfile={pilotfile}", *settings)
    assert time.monotonic() - began < 15
    assert site.report("one")["error"]["number"] == 1213, said
    for name in ("disk", "looping", "memory"):
        assert said.count(f"| left behind: monitor {name}/one in ") == 1, said
    counts = [int(line.split()[1]) for line in told.read_text().splitlines()]
    assert counts[-1] - counts[0] <= 6


UPDATES_ARE_SLOW = """
import time
from pilot_core.builtin.filebox import FileBox

send = FileBox.send

def slow(self, letter):
    if not letter.final:
        time.sleep({slow_s})
    with open({told!r}, "a") as file:
        file.write("final\\n" if letter.final else "update\\n")
    return send(self, letter)

FileBox.send = slow
"""


def test_the_final_update_is_sent_last(site):
    told = site.root / "letters"
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(UPDATES_ARE_SLOW.format(told=str(told), slow_s=1.5))
    site.job("one", "true")
    code, said = site.run(f"bootstrap.pilotfile={pilotfile}")
    assert code == 0, said
    letters = told.read_text().split()
    assert letters[0] == "update"
    assert letters.index("final") == len(letters) - 1


@pytest.mark.parametrize("setting", ["budgets.report_s=0.5", "report.final_budget_s=4"])
def test_the_final_update_does_not_wait_for_ever(site, setting):
    told = site.root / "letters"
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(UPDATES_ARE_SLOW.format(told=str(told), slow_s=60))
    site.job("one", "true")
    code, said = site.run(f"bootstrap.pilotfile={pilotfile}", setting)
    assert code == 0, said
    assert told.read_text().split() == ["final"]


def test_a_final_update_that_waits_is_written_already(site):
    pilotfile = site.root / "pilotfile.py"
    pilotfile.write_text(UPDATES_ARE_SLOW.format(told=str(site.root / "letters"), slow_s=60))
    site.job("one", "true")
    outbox = site.root / "outbox"
    settings = (f"bootstrap.pilotfile={pilotfile}", f"report.outbox={outbox}", "pilot.stop_s=2")
    pilot = site.start(*site.arguments(*settings))
    site.await_file(site.work / "PanDA_Pilot-one.control" / "final.json")
    pilot.send_signal(signal.SIGTERM)
    said, _ = pilot.communicate(timeout=30)
    assert len(list(outbox.glob("*.json"))) == 1, said
