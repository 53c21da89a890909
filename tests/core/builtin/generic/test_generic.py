from __future__ import annotations

import json
import os

import pytest

from pilot_core.builtin import generic
from pilot_core.builtin.containers.none import NoContainer
from pilot_core.config.layers import Schema
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome
from pilot_core.sdk import Code, JobExtras, PilotError

SETTINGS = Schema([generic.GenericOptions]).merge()
CLEAN, SEVEN = Outcome(exit_code=0), Outcome(exit_code=7)


def command_of(tmp_path, transformation):
    return generic.pilot_payload_command(
        Job(id="1", transformation=transformation, arguments=("-n", "3")), tmp_path, SETTINGS
    )


def test_what_the_job_says_is_run(tmp_path):
    (tmp_path / "run.sh").touch()
    assert command_of(tmp_path, "/bin/echo") == Command("/bin/echo", "-n", "3")
    assert command_of(tmp_path, "echo") == Command("echo", "-n", "3")
    assert command_of(tmp_path, "run.sh").argv[0] == str(tmp_path / "run.sh")
    assert command_of(tmp_path, "bin/run.sh").argv[0] == str(tmp_path / "bin/run.sh")
    assert command_of(tmp_path, "") is None


def test_arguments_that_are_shell_text_are_left_to_the_shell(tmp_path):
    job = Job(id="1", transformation="my run", parameters="--name \"$USER\" -x 'a b' | tee log")
    (tmp_path / "my run").touch()
    command = generic.pilot_payload_command(job, tmp_path, SETTINGS)
    assert command == Command("/bin/sh", "-c", f"'{tmp_path}/my run' --name \"$USER\" -x 'a b' | tee log")


def test_what_a_server_wants_around_the_payload_is_run(tmp_path):
    (tmp_path / "pre.sh").touch()
    steps = {"preprocess": {"command": "pre.sh", "args": "-i 'a b'"}, "coprocess": {"command": "watch"}}
    job = Job(id="1", extras=JobExtras({generic.STEPS.name: steps}))
    (before,) = generic.pilot_payload_preprocesses(job, tmp_path, SETTINGS)
    assert before.command == Command("/bin/sh", "-c", f"{tmp_path}/pre.sh -i 'a b'")
    assert (before.name, before.enough) == ("preprocess", (160, 161, 162))
    (beside,) = generic.pilot_payload_sides(job, tmp_path, SETTINGS)
    assert (beside.name, beside.command.argv[2], beside.enough) == ("coprocess", "watch ", ())
    assert generic.pilot_payload_postprocesses(job, tmp_path, SETTINGS) == ()


@pytest.mark.parametrize(("step", "said"), [
    ({"command": "https://h/pre"}, "is below none of the addresses allowed"), ({"args": "x"}, "names no command"),
])  # fmt: skip
def test_what_nothing_here_brings_is_refused(tmp_path, step, said):
    job = Job(id="1", extras=JobExtras({generic.STEPS.name: {"preprocess": step}}))
    with pytest.raises(PilotError, match=said):
        generic.pilot_payload_preprocesses(job, tmp_path, SETTINGS)


def said(tmp_path, text: str | bytes, outcome=CLEAN):
    (tmp_path / generic.REPORT).write_bytes(text.encode() if isinstance(text, str) else text)
    return tuple(generic.pilot_payload_diagnose(Job(id="1"), outcome, tmp_path))


def test_the_payloads_own_word_counts(tmp_path):
    """pilot:D12"""
    (error,) = said(tmp_path, json.dumps({"error_code": 42, "error_diag": "custom"}))
    assert (error.code, error.detail, error.facts) == (Code.PAYLOADEXECUTIONFAILURE, "custom", {"exe": 42, "trf": 0})


@pytest.mark.parametrize(
    "text",
    ["{", "", b"\xff", "[]", "[" * 100_000, '{"error_code": "many"}', '{"error_code": NaN}', '{"error_code": 0}', "7"],
    ids=range(9),
)
def test_a_report_that_makes_no_sense_is_left_out(tmp_path, text):
    """pilot:D13"""
    assert said(tmp_path, text, SEVEN) == ()


def test_a_report_that_is_too_long_or_no_file_is_left_out(tmp_path, caplog):
    assert said(tmp_path, " " * (2 << 20)) == ()
    (tmp_path / generic.REPORT).unlink()
    os.mkfifo(tmp_path / generic.REPORT)
    assert generic.pilot_payload_diagnose(Job(id="1"), SEVEN, tmp_path) == ()
    (tmp_path / generic.REPORT).unlink()
    (tmp_path / generic.REPORT).symlink_to("/etc/passwd")
    assert generic.pilot_payload_diagnose(Job(id="1"), SEVEN, tmp_path) == ()
    assert len(caplog.records) == 3


def test_without_a_report_there_is_nothing_to_say(tmp_path, caplog):
    assert generic.pilot_payload_diagnose(Job(id="1"), SEVEN, tmp_path) == ()
    assert not caplog.records


def test_a_code_without_words_still_says_something(tmp_path):
    (error,) = said(tmp_path, '{"error_code": 42}', SEVEN)
    assert error.detail == "error 42, without a word of explanation"
    assert error.facts["trf"] == 7


def test_no_container_runs_a_command_as_it_is_and_refuses_an_image(make, tmp_path):
    """pilot:C06"""
    none = make(NoContainer)
    command = Command("run.sh", env={"A": "b"})
    assert none.wrap(command, "", tmp_path, ()) is command
    with pytest.raises(PilotError, match=r"payload\.container") as raised:
        none.wrap(command, "docker://alpine", tmp_path, ())
    assert raised.value.code.number == 1384
