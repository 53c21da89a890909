"""The kit: a whole pilot in process, fakes that do as told, fixtures that see what was left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.sdk import Command, JobKey, hookimpl
from pilot_core.spec.drivers import Reply
from pilot_core.testing import FakeClock, PilotKit, a_job
from pilot_core.testing.fakes import Payload
from pilot_core.workflows.standard import Standard

pytest_plugins = ["pilot_core.testing.fixtures"]
pytestmark = pytest.mark.usefixtures("unchanged_process")
GLOBAL_TAG = JobKey("tagged.global_tag")


@pytest.fixture
def tagged():
    """The plugin of the house's example, nearly."""

    @hookimpl
    def pilot_job_extras(wire):
        return {GLOBAL_TAG: str(wire["globalTag"])} if "globalTag" in wire else {}

    @hookimpl
    def pilot_payload_command(job):
        return Command("basf2", job.transformation, env={"GLOBALTAG": job.extras[GLOBAL_TAG]})

    plugin = types.ModuleType("tagged")
    plugin.pilot_job_extras, plugin.pilot_payload_command = pilot_job_extras, pilot_payload_command
    return plugin


def test_a_payload_runs_under_the_tag_of_its_job(tagged, pilot_kit):
    run = pilot_kit(plugins=[tagged]).run(a_job(wire={"globalTag": "main_2026"}))
    assert run.command.env["GLOBALTAG"] == "main_2026"
    assert run.trail == ["stage_in", "running", "stage_out", "finished"]
    assert run.ending.exit_code == 0


def test_a_plugin_that_fails_is_named(tagged, pilot_kit):
    run = pilot_kit(plugins=[tagged]).run(a_job())
    assert run.trail[-1] == "failed"
    assert "plugin tagged" in str(run.error)
    assert "pilot_payload_command" in str(run.error)


def test_files_come_from_and_go_to_the_kits_storage(pilot_kit):
    made = Payload(does=lambda here, env: (here / "out").write_bytes((here / "in").read_bytes().upper()) and None)
    run = pilot_kit(files={"in": b"abc"}, outcome=made).run(a_job(inputs=["in"], outputs=["out"], log=True))
    assert run.storage["out"] == b"ABC"
    assert "1.log.tar.gz" in run.storage
    assert {receipt.lfn for receipt in run.job.receipts} == {"in", "out", "1.log.tar.gz"}
    assert run.record["state"] == "finished"


def test_a_fault_is_ordered_and_got_over(pilot_kit):
    kit = pilot_kit(files={"in": b"abc"})
    kit.storage.fail("in")
    assert kit.run(a_job(inputs=["in"])).trail[-1] == "finished"
    kit.storage.fail("in", PilotError(Code.SERVICENOTAVAILABLE, "gone fishing"), times=9)
    assert "gone fishing" in str(kit.run(a_job(inputs=["in"])).error)


def test_what_arrives_spoilt_is_not_taken(pilot_kit):
    kit = pilot_kit(files={"in": b"abc"})
    kit.storage.spoil("in", b"ab")
    source = {"source": "kit://in", "name": "in", "size": 3}
    run = kit.run(a_job(inputs=[source]))
    assert run.trail[-1] == "finished"
    assert "3" in kit.runs[0].log


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Payload(exit_code=3, stderr="no calibration"), "exit code 3"),
        (Payload(signal=signal.SIGSEGV), "SIGSEGV"),
        (Payload(refused="no such file"), "did not start"),
    ],
)
def test_a_payload_ends_as_told(outcome, said, pilot_kit):
    run = pilot_kit(outcome=outcome).run(a_job())
    assert run.trail[-1] == "failed"
    assert said in str(run.error)


def test_a_payload_that_hangs_is_stopped_when_the_server_says_so(pilot_kit):
    kit = pilot_kit(outcome=Payload(hangs=True))
    kit.communicator.replies[:] = [Reply(stop=PilotError(Code.PANDAKILL, "by its owner"))]
    run = kit.run(a_job())
    assert run.error.code is Code.PANDAKILL
    assert run.job.outcome is None or run.job.outcome.signal == signal.SIGTERM


def test_a_real_process_runs(pilot_kit):
    job = a_job(command=["sh", "-c", "echo $A > out"], environment={"A": "b"}, outputs=["out"])
    run = pilot_kit(process="real").run(job)
    assert run.storage["out"] == b"b\n"
    assert run.job.outcome.exit_code == 0


def test_several_jobs_are_told_apart(pilot_kit):
    run = pilot_kit(outcome=[Payload(), Payload(exit_code=1)]).run(a_job("1"), a_job("2"))
    assert [run["1"].trail[-1], run["2"].trail[-1]] == ["finished", "failed"]
    with pytest.raises(AttributeError, match="say which"):
        _ = run.trail


def test_a_job_that_makes_no_sense_is_refused(pilot_kit):
    run = pilot_kit().run(a_job(colour="red"))
    assert run.trail == ["refused"]
    assert "colour" in str(run.error)


def test_hook_calls_are_recorded_in_order(tagged, pilot_kit):
    run = pilot_kit(plugins=[tagged]).run(a_job(wire={"globalTag": "x"}))
    names = [call.hook for call in run.hook_calls]
    order = ["pilot_job_extras", "pilot_job_verify", "pilot_payload_command", "pilot_payload_diagnose", "pilot_ended"]
    assert [name for name in names if name in order] == order
    (asked,) = run.calls("pilot_payload_command")
    assert asked.given["job"].id == "1"
    assert asked.answer.argv[0] == "basf2"


def test_settings_and_drivers_are_given(pilot_kit):
    class Short(Standard):
        name = "short"
        steps = Standard.steps[1:4]

    settings = {"pilot.workflow": "short", "payload.grace_s": 1.0}
    run = pilot_kit(drivers={"workflow": {"short": Short}}, settings=settings).run(a_job())
    assert run.trail == ["stage_in", "running", "finished"]


def test_an_experiment_comes_before_plugins(tagged, pilot_kit):
    class Other:
        @hookimpl
        def pilot_payload_command(self):
            return Command("other")

    run = pilot_kit(plugins=[tagged], experiment=Other()).run(a_job())
    assert run.command.argv == ("other",)


def test_a_story_tells_it_all(pilot_kit):
    run = pilot_kit(outcome=Payload(exit_code=7)).run(a_job())
    assert "failed: 1305" in repr(run)
    for told in ("PayloadStarted", "command: ('true',)", "job 1: stage_in"):
        assert told in run.story()


def test_reports_are_kept(pilot_kit):
    run = pilot_kit().run(a_job())
    assert run.reports[0]["state"] != "finished"
    assert (run.reports[-1]["state"], run.reports[-1]["final"]) == ("finished", True)
    assert sum(report["final"] for report in run.reports) == 1


def test_no_update_that_waited_for_a_slow_one_follows_the_final_one(pilot_kit):
    """Found: the latest update was sent when the slow one had ended, though the job was reported by then."""
    kit, final = pilot_kit(), threading.Event()
    send = kit.communicator.send

    def slow(self, letter):
        if letter.final:
            final.set()
        else:
            final.wait(10)
        return send(self, letter)

    kit.communicator.send = slow
    run = kit.run(a_job())
    assert [report["state"] for report in run.reports if not report["final"]] == ["accepted"]


def test_a_clock_moves_when_told():
    clock = FakeClock(mono=5.0)
    clock.advance(2.0)
    assert clock.mono() == 7.0
    assert clock.now() == 1_800_000_002.0


def test_the_kit_needs_no_pytest(tmp_path):
    blocked = "import sys; sys.modules.update(pytest=None, hypothesis=None, _pytest=None)"
    program = f"{blocked}\nfrom pilot_core.testing import PilotKit, a_job, World\nprint(PilotKit().run(a_job()).trail)"
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "['stage_in', 'running', 'stage_out', 'finished']", told.stderr


INNER = """
import os, threading, pytest
pytest_plugins = ["pilot_core.testing.fixtures"]
from pilot_core.testing import a_job

def test_story(pilot_kit):
    assert pilot_kit().run(a_job()).trail == []

@pytest.mark.usefixtures("unchanged_process")
def test_environment():
    os.environ["LEFT"] = "x"

@pytest.mark.usefixtures("unchanged_process")
def test_thread():
    threading.Thread(target=threading.Event().wait, name="lingering", daemon=True).start()
"""


def test_a_failure_comes_with_its_story_and_a_changed_process_fails(tmp_path):
    (tmp_path / "test_inner.py").write_text(INNER)
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/t", "test_inner.py"]
    command = [sys.executable, "-m", "pytest", *options]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100).stdout
    assert "1 failed" in told
    assert "2 errors" in told
    assert "pilot's log:" in told
    assert "the test changed its process" in told
    assert "lingering" in told


def test_this_module_leaves_no_thread():
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("fake")] == []
    assert PilotKit().tmp is None
