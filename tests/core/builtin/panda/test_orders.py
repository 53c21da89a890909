"""Commands by which somebody looks at a job: five programs, its directory alone, no shell, and an end in time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from attrs import evolve

from pilot_core.builtin.panda.commands import Wanted, wanted_in
from pilot_core.builtin.panda.orders import KEPT_B, PROGRAMS, SAFE_ENVIRONMENT, Bounds, Refused, carry_out, command_of
from pilot_core.model.queue import Queue, Resources
from pilot_core.sdk import RUNNING, Job, Outcome, Update

UPDATE = "/api/v1/pilot/update_job"


@pytest.fixture
def workdir(tmp_path):
    """A job's directory with something in it, and something beside it."""
    directory = tmp_path / "PanDA_Pilot-7"
    directory.mkdir()
    (directory / "payload.stdout").write_text("".join(f"event {number}\n" for number in range(100)))
    (directory / "sub").mkdir()
    (directory / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("sesame")
    (directory / "panda_secrets.json").write_text("sesame, open sesame")
    (directory / "link").symlink_to("panda_secrets.json")
    return directory


@pytest.mark.parametrize(
    ("order", "shows"),
    [
        ("tail payload.stdout", "event 99\n"),
        ("tail -n 3 payload.stdout", "event 97\nevent 98\nevent 99\n"),
        ("tail -2 payload.stdout", "event 98\nevent 99\n"),
        ("ls -l", "payload.stdout"),
        ("ls", "payload.stdout"),
        ("ls -l sub", "total 0"),
        ("du -s .", "\t."),
        ("du -h -d 1 sub", "sub"),
    ],
)
def test_a_job_can_be_looked_at(workdir, order, shows):
    """server:C-10 (what is run)"""
    program = order.split()[0]
    installed = shutil.which(program, path=SAFE_ENVIRONMENT["PATH"])
    assert (shows if installed else f"{program} is not installed") in carry_out(order, Bounds(workdir))


def test_a_file_can_be_named_by_its_whole_path(workdir):
    assert carry_out(f"tail -n 1 {workdir}/payload.stdout", Bounds(workdir)) == "event 99\n"


WAITS = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


@pytest.fixture
def payload():
    """A payload of two processes, both of which are there."""
    with subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        yield process


@pytest.mark.skipif(not shutil.which("ps"), reason="ps is not installed")
@pytest.mark.parametrize(
    ("order", "processes", "shape"),
    [
        *(("ps", 2, "CMD"), ("ps aux", 2, "%CPU"), ("ps ux", 2, "%CPU"), ("ps -ef", 2, "PPID"), ("ps ax", 2, "TT")),
        *(("ps ax -o pid,args", 2, "COMMAND"), ("ps -f -u 0", 2, "PPID"), ("ps -el", 2, "ADDR")),
        *(("ps -o pid,args -p {pid}", 1, "COMMAND"), ("ps -A -p {pid},1", 1, "CMD")),
    ],
)
def test_the_processes_shown_are_the_jobs(workdir, payload, order, processes, shape):
    """server:C-10 (ps). Found: it showed the whole node."""
    head, *lines = carry_out(order.format(pid=payload.pid), Bounds(workdir, payload.pid)).splitlines()
    assert shape in head
    assert len(lines) == processes
    assert "pytest" not in "".join(lines)


def test_of_a_job_without_processes_none_are_shown(workdir, payload):
    job = Job(id="7", notes={"pid": payload.pid})
    assert Bounds.of(job, workdir).pids()[0] == payload.pid
    ended = Bounds.of(evolve(job, outcome=Outcome(exit_code=0)), workdir)
    for order, bounds in (("ps aux", ended), ("ps -p 1", Bounds(workdir, payload.pid)), ("ps -e", Bounds(workdir))):
        if shutil.which("ps"):
            assert "the job has no such process now" in carry_out(order, bounds)


@pytest.mark.parametrize(
    "order",
    [
        *("rm -rf x", "sh -c id", "", "/bin/ls -l", "../ls x", "gdbserver :1"),
        *("ls; rm x", "ls `id`", "ls $HOME", "ls | sh", "ls > x", "ls\nrm x", "ls 'a b'", 'ls "x"', "ls \\x", "ls *"),
        *(
            "tail /etc/passwd",
            "tail ../secret",
            "tail out/secret",
            "ls out/",
            "du ..",
            "ls -l /",
            "tail sub/../../secret",
        ),
        *("tail -f payload.stdout", "tail --follow payload.stdout", "tail --pid=1 payload.stdout"),
        *("du --files0-from=secret", "du -X payload.stdout", "du -L .", "ls -RL .", "ls --color=always"),
        *("ps e", "ps auxe", "ps aux e", "ps -o environ", "ps -oenviron", "ps --format=environ", "ps -p 1 /etc"),
        *("ps -auxe", "ps -fewwx", "ps ax -e", "ps -e ax", "ps -ef -u x", "ps -p ax -e", "ps -o", "ps aux -u e"),
        *("tail -c 14 panda_secrets.json", "tail link", "ls -l ./panda_secrets.json", "du {}/panda_secrets.json"),
        *("gdb", "gdb -p 1", "gdb -ex bt", "gdb -x file", "gdb -p 1 -ex bt", "gdb /bin/ls"),
    ],
)
def test_all_else_is_refused_in_words(workdir, order):
    """server:C-10 (what is refused)"""
    before = sorted(os.listdir(workdir))
    told = carry_out(order.format(workdir), Bounds(workdir, os.getpid()))
    assert told.startswith("refused: ")
    assert "sesame" not in told
    assert "root:" not in told
    assert sorted(os.listdir(workdir)) == before


def test_the_stacks_are_those_of_a_process_of_the_job(workdir, payload, monkeypatch):
    """server:C-10 (gdb)"""
    monkeypatch.setattr("pilot_core.builtin.panda.orders.shutil.which", lambda program, path: f"/usr/bin/{program}")
    bounds = Bounds(workdir, payload.pid)
    assert command_of(f"gdb -p {payload.pid}", bounds)[-2:] == ["-p", str(payload.pid)]
    with pytest.raises(Refused, match="no process"):
        command_of(f"gdb --pid={os.getpid()}", bounds)


def test_a_program_that_is_not_there_is_named(workdir, monkeypatch):
    monkeypatch.setattr("pilot_core.builtin.panda.orders.SAFE_ENVIRONMENT", {"PATH": str(workdir)})
    for program in PROGRAMS:
        assert f"{program} is not installed" in carry_out(f"{program} x", Bounds(workdir))


def test_a_command_gets_nothing_of_the_pilots_environment(workdir, monkeypatch):
    """server:I6"""
    monkeypatch.setenv("SECRET_OF_THE_PILOT", "sesame")
    monkeypatch.setitem(PROGRAMS, "env", lambda words, bounds: words)
    assert "sesame" not in carry_out("env", Bounds(workdir))


def test_what_does_not_end_is_ended(workdir):
    """server:C-10 (the limit)"""
    os.mkfifo(workdir / "pipe")
    assert carry_out("tail pipe", Bounds(workdir), limit_s=0.2).endswith("ended after 0.2 s\n")


def test_the_end_of_much_is_kept_and_nothing_is_said_as_such(workdir):
    with (workdir / "big").open("wb") as file:
        file.truncate(1 << 24)
        file.seek(0, 2)
        file.write(b"the end")
    told = carry_out("tail -c 16M big", Bounds(workdir))
    assert len(told) == KEPT_B
    assert told.endswith("the end")
    assert carry_out("ls sub", Bounds(workdir)) == "nothing was printed, exit status 0\n"
    assert "No such file" in carry_out("tail gone", Bounds(workdir))


# --- in the conversation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("debug,tail payload.stdout", Wanted(("debug",), "tail payload.stdout")),
        ("debug, ps -o pid,args , debugoff", Wanted(("debug", "debugoff"), "ps -o pid,args")),
        ("ls -l,tobekilled", Wanted(("tobekilled",), "ls -l")),
        ("debug,foo,NULL,", Wanted(("debug", "foo"), "")),
        ("NULL", Wanted()),
        (None, Wanted()),
        (7, Wanted()),
    ],
)
def test_an_order_is_found_among_words(command, wanted):
    assert wanted_in(command) == wanted


def take(talk, panda, raw):
    panda.waiting.append(raw)
    (given,) = talk.acquire(talk.request_fields(Queue(name="Q"), Resources(cores=1))).jobs
    return evolve(talk.read(given), phase=RUNNING)


def tell(talk, job, shown=""):
    update = Update(job=job, final=False, at=1_788_264_060.0, log_tail=shown, debug=bool(shown))
    return talk.send(talk.compose(update))


def test_what_was_asked_for_is_shown_with_the_next_update(talker, panda, wire_job, workdir):
    """server:C-10, server:C-08"""
    talk = talker()
    job = take(talk, panda, wire_job())
    assert talk.show(job, workdir) == ""
    panda.commands[7100000001] = "debug,tail -n 2 payload.stdout"
    reply = tell(talk, job)
    assert (reply.debug, reply.heartbeat_s, dict(reply.notes)) == (True, 60.0, {})
    panda.commands[7100000001] = "debug,rm -rf x"
    tell(talk, job, talk.show(job, workdir))
    tell(talk, job, talk.show(job, workdir))
    assert panda.said()[1]["stdout"] == "event 98\nevent 99\n"
    assert panda.said()[2]["stdout"].startswith("refused: rm -rf x: only tail, ls, ps, du, gdb are run")
    panda.commands.clear()
    tell(talk, job)
    assert talk.show(job, workdir) == "", "what was shown once is not shown again"


@pytest.mark.parametrize(("follow_all", "shown"), [(True, True), (False, False)])
def test_each_update_may_carry_the_end_of_the_log(talker, panda, wire_job, follow_all, shown):
    """The field holds 2048 bytes, and no half of a character."""
    talk = talker(follow_all=follow_all)
    job = take(talk, panda, wire_job())
    for said in ("first\n", "é" * 2000 + "x\n"):
        update = Update(job=job, final=False, at=1_788_264_060.0, log_tail=said)
        talk.send(talk.compose(update))
    told = [said.get("stdout", "") for said in panda.said()]
    assert told == (["first\n", "é" * 1023 + "x\n"] if shown else ["", ""])
    assert all(len(each.encode()) <= 2048 for each in told)


def test_a_job_may_be_followed_from_its_beginning(talker, panda, wire_job):
    """server:D-19 (the pace)"""
    talk = talker()
    job = take(talk, panda, wire_job(debug="True"))
    first, second = tell(talk, job), tell(talk, job)
    assert (first.debug, first.heartbeat_s) == (True, 60.0)
    assert (second.debug, second.heartbeat_s) == (None, None)


def test_a_job_that_is_no_longer_followed_at_its_beginning_is_not(talker, panda, wire_job):
    talk = talker()
    job = take(talk, panda, wire_job(debug="True"))
    panda.commands[7100000001] = "debugoff"
    assert tell(talk, job).debug is False
