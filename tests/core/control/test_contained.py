"""The first step in a container, run for real by the shell of this node; and what is told when it was never done."""

from __future__ import annotations

import os
import select
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.control.contained import FOLDER, NAME, SHELLS_OWN, clear, contain, sign_of, start_problem
from pilot_core.control.record import CONTAINED
from pilot_core.errors import Code
from pilot_core.io.process import Ended, OrphanPolicy, ProcessSpec, Refused
from pilot_core.io.process_keeper import KeeperStarter
from pilot_core.io.process_plain import PlainStarter
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome
from pilot_core.spec.drivers import Container

CLOCK_REALTIME_COARSE = 5
"""The clock that dates files."""
TOUCHED = {*SHELLS_OWN, "_", "PWD", "OLDPWD", "SHLVL", "IFS", "PATH", "LD_PRELOAD"}
"""What a shell or a linker makes something of."""
names = st.from_regex(NAME, fullmatch=True).filter(lambda name: name not in TOUCHED)
texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))
JOB = Job(id="1", notes={CONTAINED: "box"})


class Through(Container):
    """Runs a command as it is, below another name for the directory."""

    name = "box"

    def wrap(self, command, image, workdir, mounts):
        return command


class Moved(Through):
    def inside(self, workdir):
        return Path("/srv")


def done(command, workdir):
    return subprocess.run(command.argv, env=dict(command.env), cwd=workdir, capture_output=True, check=False)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, texts, max_size=4))
def test_the_environment_arrives_as_it_is_and_only_there(tmp_path, env):
    command = contain(Through(None), "payload", Command("/usr/bin/env", "-0", env=env), "", tmp_path, {"PATH": "/bin"})
    assert command.env == {"PATH": "/bin"}
    said = done(command, tmp_path).stdout.split(b"\0")
    assert {f"{name}={value}".encode() for name, value in env.items()} <= set(said)


def in_a_keeper(argv, workdir, control):
    """How a process ended, as its keeper tells."""
    starter = KeeperStarter()
    starter.start()
    try:
        return plainly(argv, workdir, control, starter)
    finally:
        starter.close()


def plainly(argv, workdir, control, starter=None):
    files = {"stdout": workdir / "payload.stdout", "stderr": workdir / "payload.stderr"}
    sign, env = sign_of("payload", workdir), {"PATH": os.environ["PATH"]}
    with closing((starter or PlainStarter()).open("1", control, OrphanPolicy("stop"), 0.1)) as processes:
        processes.start(ProcessSpec("payload", tuple(argv), env, workdir, **files, sign=sign))
        return next(event for event in events_of(processes) if isinstance(event, Ended | Refused))


def events_of(processes):
    while True:
        select.select([processes], [], [], 30)
        yield from processes.read()


def await_the_next_tick(path):
    """Until what is changed gets a later date than this file has, as it does between a pilot's steps."""
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= path.stat().st_ctime_ns:
        time.sleep(0.001)


@pytest.mark.parametrize("run", [in_a_keeper, plainly])
@pytest.mark.parametrize(
    ("script", "begun"),
    [
        ("exit 125", True),
        ("rm -rf .pilot; exit 125", True),
        ("rm -rf .pilot; mkdir .pilot; : >.pilot/payload.started; exit 125", True),
        (": >.pilot/payload.started; touch -d @0 .pilot/payload.started; exit 125", True),
        ('rm -rf "$PWD"; exit 125', True),
        (None, False),
    ],
)
def test_the_sign_is_given_when_the_payload_begins_and_cannot_be_taken_back(tmp_path, run, script, begun):
    """Found: a payload that removed all that it saw was taken for a failure of the runtime."""
    workdir = tmp_path / "work"
    workdir.mkdir()
    command = contain(Through(None), "payload", Command("/bin/sh", "-c", script or ""), "", workdir, {})
    assert oct((workdir / FOLDER / "payload.env").stat().st_mode)[-3:] == "600"
    await_the_next_tick(workdir / FOLDER / "payload.started")
    argv = command.argv if script else ("/bin/sh", "-c", "exit 125")
    end = run(argv, workdir, tmp_path)
    assert (end.status, end.begun) == (125, begun)
    clear(JOB, workdir)
    assert not (workdir / FOLDER).exists()


def test_what_took_the_sign_away_before_the_payload_is_not_the_runtime(tmp_path):
    ended = in_a_keeper(["/bin/true"], tmp_path, tmp_path)
    assert "payload.started: No such file" in ended.error


def test_what_a_shell_cannot_set_is_named_and_left_out(tmp_path, caplog):
    contain(Through(None), "payload", Command("x", env={"A.B": "1", "UID": "0", "OK": "1"}), "", tmp_path, {})
    assert (tmp_path / FOLDER / "payload.env").read_text() == "export OK=1\n"
    assert [message.split()[5] for message in caplog.messages] == ["$A.B:", "$UID:"]


def test_paths_are_those_that_the_payload_sees(tmp_path):
    env = {"HOME": str(tmp_path), "OUT": f"{tmp_path}/out", "ELSE": f"{tmp_path}-else"}
    command = contain(Moved(None), "payload", Command("cp", f"{tmp_path}/a", env=env), "", tmp_path, {})
    assert command.argv[-2:] == ("cp", "/srv/a")
    written = (tmp_path / FOLDER / "payload.env").read_text()
    assert written == f"export HOME=/srv\nexport OUT=/srv/out\nexport ELSE={tmp_path}-else\n"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("FATAL: could not open image /x.sif: no such file", Code.IMAGENOTFOUND),
        ("Error: localhost/no: image not known", Code.IMAGENOTFOUND),
        ("ch-run[7]: error: can't stat: /no: No such file or directory", Code.IMAGENOTFOUND),
        ("bwrap: Can't find source path /no: No such file or directory", Code.SINGULARITYBINDPOINTFAILURE),
        ("bwrap: No permissions to create new namespace", Code.SINGULARITYNEWUSERNAMESPACE),
        ("ERROR: Failed to create user namespace", Code.SINGULARITYFAILEDUSERNAMESPACE),
        ("FATAL: while mounting image /proc/self/fd/3", Code.SINGULARITYIMAGEMOUNTFAILURE),
        ("FATAL: no more available loop devices", Code.SINGULARITYNOLOOPDEVICES),
        ("runtime: fork: Resource temporarily unavailable", Code.SINGULARITYRESOURCEUNAVAILABLE),
        ("something new", Code.SINGULARITYGENERALFAILURE),
    ],
)
def test_a_runtime_is_blamed_in_its_own_words(said, code):
    problem = start_problem(JOB, Outcome(exit_code=1), said)
    assert problem.code is code
    assert problem.detail == f"the container runtime did not start the payload (exit code 1): {said}"
