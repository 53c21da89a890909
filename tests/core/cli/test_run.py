"""``pilot run`` and ``recover`` as people start them: the command in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
LONG = "id: long\nscript: 'echo $$ > pid; sleep 60'\n"


class Place:
    """A directory to run pilots in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: object, **environ: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pilot_core", *map(str, words)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.started.append(subprocess.Popen(command, cwd=self.root, env={**CLEAN, **environ}, **streams))
        return self.started[-1]

    def run(self, *words: object, **environ: str) -> tuple[int, str, str]:
        pilot = self.start(*words, **environ)
        out, err = pilot.communicate(timeout=30)
        return pilot.returncode, out, err

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def await_text(self, path: Path) -> str:
        until = time.monotonic() + 20
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < until, f"{path} did not come"
            time.sleep(0.02)
        return path.read_text()


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    for pilot in made.started:
        if pilot.poll() is None:
            pilot.kill()
            pilot.communicate()


def test_a_job_that_finishes(place):
    """pilot:D01"""
    place.write(
        "job.yaml", "id: good\nscript: 'echo hello; echo $GREETING > greeting.txt'\nenvironment: {GREETING: hi}\n"
    )
    code, out, err = place.run("run", "--job", "job.yaml", "--workdir", "work", "--set", "pilot.cleanup=false")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("job good finished after ")
    record = place.root / "work/PanDA_Pilot-good.control/record.json"
    assert lines[-1].split() == ["kept", "the", "record", str(record)]
    assert json.loads(record.read_text())["state"] == "finished"
    assert (place.root / "work/PanDA_Pilot-good/greeting.txt").read_text() == "hi\n"
    assert "job good: running" in (place.root / "work/pilotlog.txt").read_text()
    assert "job good: running" in err


def test_a_job_that_fails_is_explained_and_fails_the_command(place):
    place.write("job.json", json.dumps({"id": "bad", "script": "echo 'ERROR: no geometry' >&2; exit 3"}))
    code, out, err = place.run("run", "--job", "job.json", "--workdir", "work", PILOT_TRACE="hooks")
    assert code == 1
    assert out.startswith("job bad failed after ")
    assert "1305 PAYLOADEXECUTIONFAILURE" in out
    assert "fault of the payload; " in out
    assert "pilot_payload_command(" in err


def test_the_record_of_a_job_as_json(place):
    place.write("job.yaml", "id: '7'\ncommand: [/bin/false]\n")
    code, out, _ = place.run("run", "--job", "job.yaml", "--json", "--workflow", "standard", "--set", "log.level=error")
    record = json.loads(out)
    assert (code, record["id"], record["state"]) == (1, "7", "failed")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id: x\ncommand: [a\n", "line"),
        ("id: x\ncommnd: [a]\n", "did you mean 'command'?"),
        ("- a\n", "job.yaml"),
    ],
)
def test_a_description_that_is_wrong_is_refused_before_anything_runs(pilot, tmp_path, text, why):
    (tmp_path / "job.yaml").write_text(text)
    said = pilot("run", "--job", "job.yaml", "--workdir", "work")
    assert said.code == 2
    assert why in said.err
    assert not list((tmp_path / "work").glob("PanDA_Pilot-*"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--job", "missing.yaml"], "--job missing.yaml: there is no such file"),
        (["--filebox", "missing"], "--filebox missing: there is no such directory"),
        (["--job", "a", "--filebox", "b"], "not allowed with"),
    ],
)
def test_what_is_not_there(pilot, words, why):
    said = pilot("run", *words)
    assert (said.code, why in said.err) == (2, True)


def test_a_work_directory_that_cannot_be(pilot, tmp_path):
    """pilot:A03"""
    (tmp_path / "file").write_text("")
    (tmp_path / "job.yaml").write_text("command: [/bin/true]\n")
    said = pilot("run", "--job", "job.yaml", "--workdir", "file")
    assert said.code == 66
    assert "1199 MKDIR" in said.err


@pytest.mark.parametrize(
    ("queue", "code", "why"),
    [("off", 83, "1386"), ("passive", 78, "1359"), ("pasive", 71, "did you mean 'passive'?")],
)
def test_a_queue_that_takes_no_work_is_the_exit_code(pilot, tmp_path, queue, code, why):
    """pilot:A04, A05, A06"""
    (tmp_path / "queues.yaml").write_text("off: {status: offline}\npassive: {state: INACTIVE}\n")
    (tmp_path / "job.yaml").write_text("command: [/bin/true]\n")
    said = pilot("run", "--job", "job.yaml", "--queue", queue, "--set", "queue_file.path=queues.yaml")
    assert (said.code, why in said.err) == (code, True)


def test_an_unknown_thing_to_trace(pilot, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOT_TRACE", "hook")
    (tmp_path / "job.yaml").write_text("command: [/bin/true]\n")
    said = pilot("run", "--job", "job.yaml")
    assert (said.code, "'hooks' or not set, and not 'hook'" in said.err) == (2, True)


def test_a_box_of_jobs(place):
    for name, script in (("a", "exit 0"), ("b", "exit 4")):
        place.write(f"box/{name}.yaml", f"id: {name}\nscript: {script}\n")
    code, out, err = place.run("run", "--filebox", "box", "--workdir", "work", "--json")
    told = json.loads(out)
    assert (code, told["finished"], told["failed"], len(told["records"])) == (0, 1, 1, 2), err


def test_a_running_pilot_is_reached_and_stopped(place, pilot):
    place.write("job.yaml", LONG)
    running = place.start("run", "--job", "job.yaml", "--workdir", "work")
    place.await_text(place.root / "work/PanDA_Pilot-long/pid")
    status = json.loads(pilot("status", place.root / "work", "--json").out)
    assert [(job["id"], job["phase"]) for job in status["jobs"]] == [("long", "running")]
    assert " running " in pilot("status", place.root / "work").out
    assert "it takes no more jobs" in pilot("drain", place.root / "work").out
    options = (place.root / "work/pilot.control/command.json").read_text()
    second = pilot("run", "--job", place.root / "job.yaml", "--workdir", place.root / "work", "--queue", "else")
    assert (second.code, f"process {running.pid}" in second.err) == (1, True)
    assert (place.root / "work/pilot.control/command.json").read_text() == options
    assert "it ends its jobs and itself now" in pilot("stop", place.root / "work").out
    out, err = running.communicate(timeout=20)
    assert running.returncode == 143, err
    assert out.startswith("job long failed after ")
    assert "1201 SIGTERM" in out


def test_what_a_dead_pilot_left_is_shown_and_recovered_with_its_own_options(place, pilot):
    place.write("job.yaml", LONG)
    running = place.start("run", "--job", "job.yaml", "--workdir", "work", "--set", "payload.adopt=false")
    place.await_text(place.root / "work/PanDA_Pilot-long/pid")
    running.send_signal(signal.SIGKILL)
    running.communicate()
    dead = pilot("status", place.root / "work")
    assert dead.code == 1
    assert "1 job left; `pilot recover" in dead.out
    assert dead.out.splitlines()[-1].split() == ["long", "running"]
    code, out, err = place.run("recover", "work")
    assert code == 0, err
    assert out.startswith("1 job left in work\n  long: running\n")
    assert "job long failed after" in out
    again = place.run("recover", "work")
    assert (again[0], again[1].splitlines()[0]) == (0, "no jobs left in work")


def test_there_is_nothing_to_recover_where_no_pilot_was(pilot, tmp_path):
    said = pilot("recover", tmp_path)
    assert (said.code, "no pilot has worked in" in said.err) == (2, True)


def test_python_runs_it_too(place):
    assert place.run("--version")[1].startswith("pilot 0.")


@pytest.mark.parametrize("option", ["--filebox", "--job"])
def test_two_who_bring_the_jobs_are_one_too_many(place, option):
    place.write("box/one.yaml", "id: one\nscript: 'true'\n")
    given = "box" if option == "--filebox" else "box/one.yaml"
    code, _, err = place.run("run", option, given, "--set", "pilot.communicator=elsewhere")
    assert code == 2
    assert f"{option} takes the communicator" in err
    assert "pilot.communicator=elsewhere" in err
