"""Starting and ending real processes, with the keeper and without."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pilot_core.io.hiding import why_not
from pilot_core.io.process import (
    Cleared,
    Complaint,
    Ended,
    Gone,
    Listed,
    OrphanPolicy,
    ProcessSpec,
    Refused,
    Released,
    Started,
    ended,
)
from pilot_core.io.process_keeper import KeeperStarter, attach
from pilot_core.io.process_plain import PlainStarter
from pilot_core.keeper import output
from pilot_core.keeper.group import Group
from pilot_core.keeper.process import launch

PYTHON = (sys.executable, "-I", "-S", "-c")


class Job:
    """One job's processes, and a wait for what they tell."""

    def __init__(self, starter, control: Path, policy=None, grace_s=0.3, hidden=()):
        control.mkdir(parents=True)
        self.control = control
        self.hidden = hidden
        self.processes = starter.open("17", control, policy or OrphanPolicy(), grace_s)
        self.told = []

    def run(self, *argv, name="payload", env=None, **more):
        out = self.control / f"{name}.out"
        more = {"hidden": self.hidden, **more}
        spec = ProcessSpec(name, argv, env or {}, self.control, out, self.control / f"{name}.err", **more)
        self.processes.start(spec)
        return self

    def python(self, code, **more):
        return self.run(*PYTHON, code, **more)

    def wait(self, kind, limit_s=10.0):
        deadline = time.monotonic() + limit_s
        while True:
            for event in self.told:
                if isinstance(event, kind):
                    self.told.remove(event)
                    return event
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"no {kind.__name__}, only {self.told}"
            if select.select([self.processes], [], [], left_s)[0]:
                self.told += self.processes.read()

    def wait_text(self, name="payload", lines=1):
        path, deadline = self.control / f"{name}.out", time.monotonic() + 10
        while time.monotonic() < deadline:
            if path.exists() and len(found := path.read_text().splitlines()) >= lines:
                return found
            time.sleep(0.01)
        pytest.fail(f"{name} wrote nothing")


@pytest.fixture(params=[KeeperStarter, PlainStarter])
def starter(request):
    starter = request.param()
    yield starter
    if isinstance(starter, KeeperStarter):
        starter.close()


@pytest.fixture
def keeper():
    starter = KeeperStarter()
    yield starter
    starter.close()


def ended_job(job):
    job.processes.end(0.0)
    job.wait(Cleared)
    job.processes.release()
    job.wait(Released)
    job.processes.close()


@pytest.fixture(params=["seen", "hidden"])
def hidden(request, tmp_path):
    """What is hidden from a process changes nothing else for it."""
    if request.param == "seen":
        return ()
    if why := why_not():
        pytest.skip(f"nothing can be hidden here: {why}")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "token").write_text("secret")
    return (str(tmp_path / "own"),)


@pytest.fixture
def job(starter, tmp_path, hidden):
    job = Job(starter, tmp_path / "control", hidden=hidden)
    yield job
    ended_job(job)
    assert not (job.control / "keeper.log").exists()


@pytest.fixture
def kept(keeper, tmp_path, hidden):
    job = Job(keeper, tmp_path / "control", hidden=hidden)
    yield job
    ended_job(job)
    assert not (job.control / "keeper.log").exists()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_dead(pids, limit_s=5.0):
    deadline = time.monotonic() + limit_s
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, f"one of {pids} lives"
        time.sleep(0.005)


@pytest.mark.parametrize("status", [0, 1, 2, 255])
def test_a_status_is_told(job, status):
    job.python(f"raise SystemExit({status})")
    started, end = job.wait(Started), job.wait(Ended)
    assert (end.name, end.pid, end.status, end.signal) == ("payload", started.pid, status, None)
    assert end.maxrss_b > 1e6
    assert end.tree_utime_s >= end.utime_s


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_is_told(job, signum):
    job.python(f"import os; os.kill(os.getpid(), {int(signum)})")
    end = job.wait(Ended)
    assert (end.status, end.signal) == (None, signum)


def test_every_status_is_told_verbatim(kept):
    for status in range(256):
        kept.run("/bin/sh", "-c", f"exit {status}", name=f"status{status}")
    ends = [kept.wait(Ended) for _ in range(256)]
    assert {end.name: (end.status, end.signal) for end in ends} == {f"status{n}": (n, None) for n in range(256)}


HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


def test_every_fatal_signal_is_told_verbatim(kept):
    fatal = [int(signum) for signum in signal.valid_signals() if signum not in HARMLESS | STOPS]
    for signum in fatal:
        kept.run("/bin/sh", "-c", f"ulimit -c 0; kill -{signum} $$", name=f"signal{signum}")
    ends = [kept.wait(Ended) for _ in fatal]
    assert {end.name: (end.status, end.signal) for end in ends} == {f"signal{n}": (None, n) for n in fatal}


@pytest.mark.parametrize("argv", [("/no/such/program",), ("/etc/passwd",), ("no-such-program",)])
def test_what_does_not_run_is_refused_by_name(job, argv):
    refused = job.run(*argv).wait(Refused)
    assert argv[0] in refused.error
    assert refused.errno in {2, 13}


def test_a_word_that_no_program_can_get_is_refused(job):
    assert "null byte" in job.run("/bin/echo", "a\0b").wait(Refused).error


def test_a_missing_folder_is_refused_by_name(job, tmp_path):
    spec = ProcessSpec("payload", ("/bin/true",), {}, tmp_path / "gone", tmp_path / "o", tmp_path / "e")
    job.processes.start(spec)
    refused = job.wait(Refused)
    assert (refused.errno, "gone" in refused.error) == (2, True)


def test_a_name_runs_once_at_a_time(job):
    job.run("/bin/sleep", "60").wait(Started)
    assert job.run("/bin/true").wait(Refused).errno == 17


def test_environment_and_descriptors_are_what_was_given(job):
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    code = "import os; print(sorted(os.environb.items())); print(os.listdir('/proc/self/fd')[:-1], os.getsid(0))"
    job.python(code, env={"ODD": "\udcff=\n", "LC_ALL": "C"})
    end = job.wait(Ended)
    os.close(leak)
    env, fds = job.wait_text(lines=2)
    assert env == str([(b"LC_ALL", b"C"), (b"ODD", b"\xff=\n")])
    assert fds == f"['0', '1', '2'] {end.pid}"


IGNORED = sum(1 << each - 1 for each in signal.valid_signals() if signal.getsignal(each) is signal.SIG_IGN)


def test_signals_have_their_defaults_again(job):
    job.python("import os; print(open('/proc/self/status').read())")
    job.wait(Ended)
    masks = dict(line.split(":\t") for line in job.wait_text(lines=20) if line.startswith("Sig"))
    # the interpreter that tells this ignores SIGPIPE and SIGXFSZ and catches SIGINT itself; who runs the tests may have
    # been told to ignore more; the C library owns 32 and 33
    assert int(masks["SigIgn"], 16) & ~(1 << 12 | 1 << 24 | 3 << 31) & ~IGNORED == 0
    assert int(masks["SigBlk"], 16) == 0


@pytest.mark.parametrize("path", ["/nowhere:{0}/plain:{0}/bin", "{0}/bin", ":{0}/bin"])
def test_a_program_is_found_by_its_own_path(job, tmp_path, path):
    for folder, mode in (("plain", 0o644), ("bin", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "found").write_text(f"#!/bin/sh\necho {folder}\n")
        (tmp_path / folder / "found").chmod(mode)
    job.run("found", env={"PATH": path.format(tmp_path)})
    assert job.wait_text() == ["bin"]


def test_what_is_set_for_a_process_stays_with_it(kept):
    """A tree is in its own directory again, with its own limits and cores, also after a start that failed."""
    core = min(os.sched_getaffinity(0))
    kept.run("/bin/true", nofile=77, cores=(core,)).wait(Ended)
    kept.run("/no/such/program", nofile=77, cores=(core,)).wait(Refused)
    kept.python("import os, resource; print(resource.getrlimit(7)[0] == 77, len(os.sched_getaffinity(0)))", name="next")
    assert kept.wait_text("next") == [f"False {len(os.sched_getaffinity(0))}"]
    assert {end.name for end in ended(kept.control)} >= {"payload"}


def test_where_no_session_can_be_asked_for_a_group_does(monkeypatch, tmp_path):
    spawn = os.posix_spawn

    def older(*args, setsid=False, **more):
        if setsid:
            raise NotImplementedError("posix_spawn: setsid unavailable on this platform")
        return spawn(*args, **more)

    monkeypatch.setattr(os, "posix_spawn", older)
    order = {"argv": ["/bin/sleep", "60"], "env": {}, "cwd": str(tmp_path)}
    pid = launch(order, Group())
    assert os.getpgid(pid) == pid
    os.killpg(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[0] == pid


def test_descriptor_limit_and_cores(job):
    core = min(os.sched_getaffinity(0))
    code = "import os, resource, time; time.sleep(.3); print(resource.getrlimit(7)[0], os.sched_getaffinity(0))"
    job.python(code, nofile=77, cores=(core,))
    assert job.wait_text() == [f"77 {{{core}}}"]


def test_as_many_processes_as_are_granted(job):
    code = "import os, resource, time; time.sleep(.3); print(resource.getrlimit(resource.RLIMIT_NPROC)[0])"
    assert job.python(code, nproc=4321).wait_text() == ["4321"]


FLOOD = """
import os, signal, sys
signal.signal(signal.SIGTERM, {answer})
open("pid", "w").write(str(os.getpid()))
{first}
while True:
    os.write({fd}, b"x" * 65536)
"""


@pytest.mark.parametrize(("fd", "name"), [(1, "out"), (2, "err")])
def test_who_writes_too_much_is_ended_and_its_file_is_cut(kept, fd, name):
    kept.python(FLOOD.format(fd=fd, first="", answer="signal.SIG_IGN"), output_b=100_000)
    end = kept.wait(Ended)
    text = (kept.control / f"payload.{name}").read_bytes()
    assert (end.signal, end.flooded) == (signal.SIGKILL, str(kept.control / f"payload.{name}"))
    assert text.startswith(b"x" * 100_000)
    assert text[100_000:] == b"\n[the output was longer than 100000 bytes and is cut here]\n"


def test_where_no_watch_is_granted_it_is_looked_at(tmp_path, monkeypatch):
    libc = SimpleNamespace(inotify_init1=lambda flags: -1, inotify_add_watch=lambda *watch: -1)
    monkeypatch.setattr(output, "libc", lambda: libc)
    outputs = output.Outputs(select.poll())
    outputs.hold("payload", [str(tmp_path / "out")], 10)
    assert outputs.look_at < time.monotonic() + 2
    (tmp_path / "out").write_bytes(b"x" * 11)
    assert outputs.look() == {"payload": str(tmp_path / "out")}
    outputs.let_go("payload")
    assert outputs.look() == {}
    assert outputs.look_at == output.NEVER


def test_no_other_name_lets_output_grow(kept):
    first = "os.rename('payload.out', 'hidden'); open('payload.out', 'w').close()"
    kept.python(FLOOD.format(fd=1, first=first, answer="signal.SIG_DFL"), output_b=100_000)
    assert kept.wait(Ended).signal == signal.SIGTERM
    assert (kept.control / "hidden").stat().st_size < 100_100


def test_output_within_its_limit_is_left_as_it_is(kept):
    kept.python("print('x' * 99_999)", output_b=100_000)
    assert not kept.wait(Ended).flooded
    assert (kept.control / "payload.out").stat().st_size == 100_000


def test_what_was_too_long_at_the_end_is_cut_and_told_too(kept):
    kept.python("print('x' * 100_000)", output_b=100_000)
    end = kept.wait(Ended)
    assert (end.status, end.flooded) == (0, str(kept.control / "payload.out"))


def test_a_process_is_signalled_by_name(job):
    job.python("import signal, time; print('up', flush=True); time.sleep(60)").wait_text()
    job.processes.signal("payload", signal.SIGUSR1)
    assert job.wait(Ended).signal == signal.SIGUSR1
    job.processes.signal("payload", signal.SIGUSR1)
    job.processes.list()
    assert job.wait(Listed).ended[0].signal == signal.SIGUSR1


def test_a_list_tells_what_runs_and_what_ended(job):
    job.run("/bin/true", name="first").wait(Started)
    job.wait(Ended)
    started = job.run("/bin/sleep", "60").wait(Started)
    job.processes.list()
    listed = job.wait(Listed)
    assert listed.running == (started,)
    assert [(end.name, end.status) for end in listed.ended] == [("first", 0)]


def test_an_end_is_asked_for_first(job):
    job.python(
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(5))\nprint('up', flush=True); time.sleep(60)"
    ).wait_text()
    job.processes.end(30.0)
    assert job.wait(Ended).status == 5
    assert job.wait(Cleared).names is None


DEAF_TREE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork(); os.fork()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_tree_that_ignores_the_question_is_killed_after_the_grace(job):
    pids = [int(line) for line in job.python(DEAF_TREE).wait_text(lines=4)]
    asked = time.monotonic()
    job.processes.end(0.5)
    assert job.wait(Ended).signal == signal.SIGKILL
    job.wait(Cleared)
    assert 0.5 <= time.monotonic() - asked < 5
    wait_dead(pids)


def test_one_of_two_is_ended_with_all_below_it(job):
    side = job.run("/bin/sleep", "60", name="side").wait(Started)
    pids = [int(line) for line in job.python(DEAF_TREE).wait_text(lines=4)]
    job.processes.end(0.1, ["payload"])
    assert job.wait(Cleared).names == ("payload",)
    wait_dead(pids)
    assert alive(side.pid)


def test_without_a_keeper_a_group_ends_with_its_leader(tmp_path):
    job = Job(PlainStarter(), tmp_path / "control")
    job.python("import os, time\npid = os.fork()\nif pid: print(pid, flush=True); os._exit(0)\ntime.sleep(60)")
    assert job.wait(Ended).status == 0
    wait_dead([int(line) for line in job.wait_text()])
    ended_job(job)


def test_what_runs_is_not_released(job):
    job.run("/bin/sleep", "60").wait(Started)
    job.processes.release()
    assert "running" in job.wait(Complaint).error


# -- only the keeper

DAEMON = """
import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
"""


def test_a_daemon_does_not_survive_a_sweep(kept):
    side = kept.run("/bin/sleep", "60", name="side").wait(Started)
    (pid,) = map(int, kept.python(DAEMON).wait_text())
    assert kept.wait(Ended).status == 0
    assert alive(pid)
    kept.processes.sweep(keep=["side"])
    assert kept.wait(Cleared).keep == ("side",)
    assert not alive(pid)
    assert alive(side.pid)


def test_a_daemon_does_not_survive_an_end(kept):
    (pid,) = map(int, kept.python(DAEMON + "time.sleep(60)").wait_text())
    kept.processes.end(0.1)
    kept.wait(Cleared)
    assert not alive(pid)


@pytest.mark.parametrize("session", ["", "os.setsid()"])
def test_what_forks_and_exits_for_ever_is_caught(kept, session):
    code = f"import os\nprint('up', flush=True)\nwhile True:\n    if os.fork(): os._exit(0)\n    {session}"
    kept.python(code).wait_text()
    kept.wait(Ended)
    kept.processes.sweep()
    kept.wait(Cleared)


def test_a_fork_bomb_is_caught(kept):
    bomb = "for _ in range(8):\n    os.fork(); time.sleep(.01)\ntime.sleep(60)"
    code = f"import os, time\nprint('up', flush=True)\n{bomb}"
    kept.python(code).wait_text()
    kept.processes.sweep()
    kept.wait(Ended)
    kept.wait(Cleared)


def test_time_of_orphans_is_counted(kept):
    """pilot:E19"""
    burn = "import os, time\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\n"
    kept.python(burn + "while time.process_time() < 0.4: pass")
    first = kept.wait(Ended)
    (pid,) = map(int, kept.wait_text())
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    later = kept.run("/bin/true", name="later").wait(Ended)
    before_s, after_s = (end.tree_utime_s + end.tree_stime_s for end in (first, later))
    assert after_s - before_s > 0.3


def test_a_status_is_on_disk_when_it_is_told(kept):
    end = kept.python("raise SystemExit(3)").wait(Ended)
    assert ended(kept.control) == (end,)
    assert (kept.control / "processes.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_left_out(kept):
    end = kept.run("/bin/true").wait(Ended)
    with (kept.control / "processes.jsonl").open("a") as file:
        file.write('{"event": "ended", "na')
    assert ended(kept.control) == (end,)


def test_no_file_is_no_end(tmp_path):
    assert ended(tmp_path) == ()


def test_others_of_the_same_user_are_untouched(kept):
    """pilot:F13"""
    pid = os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "60"])
    try:
        kept.python(DEAF_TREE).wait_text(lines=4)
        kept.processes.sweep()
        kept.wait(Cleared)
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_children_serve_on_without_their_keeper_and_a_new_one_comes(keeper, kept, tmp_path):
    kept.python("import time; time.sleep(.3); raise SystemExit(4)").wait(Started)
    first = keeper.pid
    os.kill(first, signal.SIGKILL)
    assert kept.wait(Ended).status == 4
    second = Job(keeper, tmp_path / "second")
    assert keeper.pid != first
    assert second.run("/bin/true").wait(Ended).status == 0
    ended_job(second)


def test_a_ping_starts_a_new_keeper_that_watches(keeper, kept, tmp_path):
    keeper.watch(30.0, 3, signal.SIGUSR1, tmp_path / "stacks", tmp_path / "record")
    first = keeper.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    keeper.ping()
    assert keeper.pid != first
    keeper.ping()


def test_a_long_path_is_no_hindrance(keeper, tmp_path):
    job = Job(keeper, tmp_path / ("x" * 120) / "control")
    assert job.run("/bin/true").wait(Ended).status == 0
    assert (job.control / "keeper.sock").stat().st_mode & 0o777 == 0o600
    ended_job(job)
    assert not (job.control / "keeper.sock").exists()


def test_a_missing_control_directory_is_an_error_by_name(keeper, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        keeper.open("17", tmp_path / "nowhere", OrphanPolicy(), 1.0)


def test_one_pilot_at_a_time(keeper, kept):
    kept.run("/bin/true").wait(Ended)
    with pytest.raises(OSError, match="another pilot"):
        attach(kept.control)
    with pytest.raises(OSError, match="another keeper"):
        keeper.open("17", kept.control, OrphanPolicy(), 1.0)


def test_a_pilot_that_comes_back_hears_the_rest(kept):
    kept.python("import time; time.sleep(.5); raise SystemExit(7)").wait(Started)
    kept.processes.close()
    again = attach(kept.control)
    assert again is not None
    kept.processes = again
    again.list()
    assert kept.wait(Listed).running[0].name == "payload"
    assert kept.wait(Ended).status == 7


def test_nobody_is_there_to_attach_to(tmp_path):
    assert attach(tmp_path) is None
    (tmp_path / "keeper.sock").touch()
    assert attach(tmp_path) is None


def test_what_is_no_order_is_answered(kept):
    for order in (b"{\n", b"[]\n", b'{"op": "fly"}\n', b'{"op": "start", "name": "x"}\n', b'{"op": "end"}\n'):
        kept.processes._wire.sock.sendall(order)
    assert {type(kept.wait((Complaint, Refused))) for _ in range(5)} == {Complaint, Refused}
    assert kept.run("/bin/true").wait(Ended).status == 0


def test_a_lost_connection_is_told_and_an_idle_child_leaves(keeper, tmp_path):
    job = Job(keeper, tmp_path / "control")
    job.processes._wire.sock.shutdown(socket.SHUT_RDWR)
    job.wait(Gone)
    job.processes.close()
    deadline = time.monotonic() + 5
    while (job.control / "keeper.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert attach(job.control) is None
    assert [end.acted for end in ended(job.control)] == [False]


def test_a_full_environment_goes_through(kept):
    env = {f"KEY_{n}": "x" * 1000 for n in range(300)}
    kept.python("import os; print(len(os.environ))", env=env)
    assert kept.wait_text() in (["300"], ["301"])


# --- what is hidden ---


def test_what_is_hidden_is_hidden_from_this_process_alone(job, tmp_path):
    (tmp_path / "file").write_text("told")
    paths = [str(tmp_path / name) for name in ("own/token", "file", "folder/file")]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("kept")
    (tmp_path / "own").mkdir(exist_ok=True)
    (tmp_path / "own/token").write_text("secret")
    covered = tuple(str(tmp_path / name) for name in ("own", "file", "folder", "gone", "file/below"))
    sh = ("/bin/sh", "-c", 'cat "$@"; true', "sh", *paths)
    job.run(*sh, hidden=covered if job.hidden else ())
    assert job.wait(Ended).status == 0
    assert (job.control / "payload.out").read_text() == ("" if job.hidden else "secrettoldkept")
    job.run(*sh, name="other", hidden=())
    assert job.wait(Ended).status == 0
    assert (job.control / "other.out").read_text() == "secrettoldkept"


def test_who_cannot_be_kept_from_it_is_not_started(keeper, tmp_path):
    job = Job(keeper, tmp_path / "control")
    refused = job.run("/bin/true", hidden=(str(tmp_path / "gone"),)).wait(Refused)
    assert refused.error == f"/bin/true: a cover over {tmp_path / 'gone'}: No such file or directory"
    ended_job(job)
