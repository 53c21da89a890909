"""The keeper beside real pilots that are killed, stopped, frozen or loop."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pilot_core import keeper
from pilot_core.io.process import Ended, Orphaned, OrphanPolicy, ProcessSpec, ended
from pilot_core.io.process_keeper import KeeperStarter, _connect, attach
from pilot_core.keeper import line, watch
from pilot_core.keeper.tree import Policy, Tree, may_serve

PILOT = """
import faulthandler, json, os, select, signal, sys, time
from pathlib import Path
from pilot_core.io.process import OrphanPolicy, ProcessSpec, Started
from pilot_core.io.process_keeper import KeeperStarter

def payload(code, **policy):
    global processes
    processes = starter.open("17", work, OrphanPolicy(**policy), 0.3)
    argv = (sys.executable, "-I", "-S", "-c", code)
    processes.start(ProcessSpec("payload", argv, {}, work, work / "out", work / "err"))
    select.select([processes], [], [])
    (started,) = processes.read()
    say(payload=started.pid)
    return processes

def say(**facts):
    print(json.dumps({"keeper": starter.pid, **facts}), flush=True)

def watch():
    stacks = open(work / "stacks", "w")
    faulthandler.register(signal.SIGUSR1, stacks)
    starter.watch(0.1, 5, signal.SIGUSR1, work / "stacks", work / "record.json")
    return stacks

def loop(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.03)
        starter.ping()

work = Path(sys.argv[1])
starter = KeeperStarter(work / "keeper.log")
starter.start()
"""


class Pilot:
    def __init__(self, work: Path, code: str):
        self.work = work
        argv = [sys.executable, "-c", PILOT + code, str(work)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)

    def hear(self):
        assert select.select([self.process.stdout], [], [], 10)[0], "the pilot says nothing"
        return json.loads(self.process.stdout.readline())

    def kill(self, signum=signal.SIGKILL):
        self.process.send_signal(signum)
        return self.process.wait(10)


@pytest.fixture
def pilot(tmp_path):
    pilots = []

    def start(code):
        pilots.append(Pilot(tmp_path, code))
        return pilots[-1]

    yield start
    for one in pilots:
        one.kill()
        one.process.stdout.close()
    if living := attach(tmp_path):
        living.end(0.0)
        living.close()
    log = tmp_path / "keeper.log"
    assert not log.exists() or log.read_text() == ""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def wait_orphaned(work):
    wait_until(lambda: any(isinstance(event, Orphaned) for event in ended(work)))
    *ends, orphaned = ended(work)
    assert attach(work) is None
    return ends, orphaned


# -- a pilot that is killed

LONG = "import time; time.sleep(60)"
SHORT = "import time; time.sleep(.5); raise SystemExit(6)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"


def test_policy_stop_ends_the_payload_at_once(pilot, tmp_path):
    one = pilot(f"payload({LONG!r}, orphan='stop', wait_s=60); time.sleep(60)")
    payload = one.hear()["payload"]
    one.kill()
    ends, orphaned = wait_orphaned(tmp_path)
    assert (ends[0].pid, ends[0].signal) == (payload, signal.SIGTERM)
    assert (orphaned.policy, orphaned.acted) == ("stop", True)
    assert not alive(payload)


def test_policy_stop_kills_after_the_grace(pilot, tmp_path):
    one = pilot(f"payload({DEAF!r}, orphan='stop'); time.sleep(60)")
    one.hear()
    time.sleep(0.2)
    one.kill()
    assert wait_orphaned(tmp_path)[0][0].signal == signal.SIGKILL


def test_policy_wait_waits_first(pilot, tmp_path):
    one = pilot(f"payload({LONG!r}, orphan='wait', wait_s=0.6); time.sleep(60)")
    payload = one.hear()["payload"]
    one.kill()
    killed = time.monotonic()
    time.sleep(0.4)
    assert alive(payload)
    ends, orphaned = wait_orphaned(tmp_path)
    assert time.monotonic() - killed >= 0.6
    assert (ends[0].signal, orphaned.acted) == (signal.SIGTERM, True)


def test_a_payload_that_ends_while_waited_for_keeps_its_status(pilot, tmp_path):
    one = pilot(f"payload({SHORT!r}, orphan='wait', wait_s=30); time.sleep(60)")
    one.hear()
    one.kill()
    ends, orphaned = wait_orphaned(tmp_path)
    assert (ends[0].status, orphaned.acted) == (6, False)


def test_policy_finish_lets_it_finish(pilot, tmp_path):
    one = pilot(f"payload({SHORT!r}, orphan='finish', wait_s=0, wall_limit_s=30); time.sleep(60)")
    one.hear()
    one.kill()
    ends, orphaned = wait_orphaned(tmp_path)
    assert (ends[0].status, orphaned.policy) == (6, "finish")


def test_policy_finish_has_a_wall_time(pilot, tmp_path):
    one = pilot(f"payload({LONG!r}, orphan='finish', wall_limit_s=0.8); time.sleep(60)")
    payload = one.hear()["payload"]
    one.kill()
    time.sleep(0.3)
    assert alive(payload)
    ends, orphaned = wait_orphaned(tmp_path)
    assert (ends[0].signal, orphaned.acted) == (signal.SIGTERM, True)


def test_policy_finish_does_not_wait_for_side_processes(pilot, tmp_path):
    side = "processes.start(ProcessSpec('side', ('/bin/sleep', '60'), {}, work, work / 'o', work / 'e'))"
    one = pilot(f"payload({SHORT!r}, orphan='finish'); {side}; time.sleep(60)")
    one.hear()
    time.sleep(0.1)
    one.kill()
    ends, _ = wait_orphaned(tmp_path)
    assert [(end.name, end.status, end.signal) for end in ends] == [("payload", 6, None), ("side", None, 15)]


def test_a_changed_policy_counts(pilot, tmp_path):
    change = "processes.set_policy(OrphanPolicy('stop'), 0.1)"
    one = pilot(f"payload({LONG!r}); {change}; time.sleep(60)")
    one.hear()
    time.sleep(0.1)
    one.kill()
    assert wait_orphaned(tmp_path)[1].policy == "stop"


def test_a_pilot_that_comes_in_time_adopts(pilot, tmp_path):
    one = pilot(f"payload({SHORT!r}, orphan='wait', wait_s=30); time.sleep(60)")
    payload = one.hear()["payload"]
    one.kill()
    again = attach(tmp_path)
    assert again is not None
    select.select([again], [], [], 10)
    (end,) = again.read()
    assert isinstance(end, Ended)
    assert (end.pid, end.status) == (payload, 6)
    again.close()


def test_pilot_and_keeper_killed_together_change_nothing_for_the_payload(pilot, tmp_path):
    one = pilot(f"payload({SHORT!r}, orphan='wait', wait_s=30); time.sleep(60)")
    os.kill(one.hear()["keeper"], signal.SIGKILL)
    one.kill()
    assert wait_orphaned(tmp_path)[0][0].status == 6


def test_signals_to_everybody_end_neither_keeper_nor_child(pilot, tmp_path):
    one = pilot(f"payload({SHORT!r}); loop(60)")
    kept = one.hear()["keeper"]
    (child,) = Path(f"/proc/{kept}/task/{kept}/children").read_text().split()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU):
        os.kill(kept, signum)
        os.kill(int(child), signum)
    wait_until(lambda: ended(tmp_path))
    assert alive(kept)
    assert ended(tmp_path)[0].status == 6
    assert os.getsid(kept) == kept


# -- the watchdog


def read_record(work, limit_s=10.0):
    wait_until((work / "record.json").exists, limit_s)
    return json.loads((work / "record.json").read_text())


def test_a_loop_that_hangs_is_dumped_and_ended(pilot, tmp_path):
    one = pilot("stacks = watch(); loop(.5); say()\ndef stuck():\n    while True: pass\nstuck()")
    one.hear()
    assert one.process.wait(10) == -signal.SIGKILL
    record = read_record(tmp_path)
    assert (record["why"], record["pid"], record["signal"], record["stacks"]) == (
        "hung",
        one.process.pid,
        9,
        True,
    )
    assert "in stuck" in (tmp_path / "stacks").read_text()
    assert 0.5 <= record["silent_s"] < 2


def test_a_stopped_pilot_is_ended(pilot, tmp_path):
    one = pilot("stacks = watch(); say(); loop(60)")
    one.hear()
    one.process.send_signal(signal.SIGSTOP)
    assert one.process.wait(10) == -signal.SIGKILL
    record = read_record(tmp_path)
    assert (record["why"], record["state"], record["stacks"]) == ("hung", "T", False)


def test_a_pilot_that_pings_is_left_alone(pilot, tmp_path):
    one = pilot("stacks = watch(); loop(1.5); starter.close()")
    assert one.process.wait(10) == 0
    assert not (tmp_path / "record.json").exists()


def test_a_frozen_node_is_no_hang(pilot, tmp_path):
    one = pilot("stacks = watch(); say(); loop(3)\nstarter.close()")
    kept = one.hear()["keeper"]
    time.sleep(0.2)
    one.process.send_signal(signal.SIGSTOP)
    os.kill(kept, signal.SIGSTOP)
    time.sleep(1.2)
    os.kill(kept, signal.SIGCONT)
    time.sleep(0.15)
    one.process.send_signal(signal.SIGCONT)
    assert one.process.wait(10) == 0
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL])
def test_the_death_of_a_pilot_is_recorded(pilot, tmp_path, signum):
    one = pilot("stacks = watch(); payload('', orphan='stop'); loop(60)")
    one.hear()
    one.process.send_signal(signum)
    record = read_record(tmp_path)
    assert (record["why"], record["pid"], record["signal"]) == ("died", one.process.pid, signum)


def test_a_pilot_that_its_parent_buried_at_once_is_recorded_too(pilot, tmp_path):
    middle = "import os\npid = os.fork()\nif pid: say(); print(os.waitpid(pid, 0)); os._exit(0)\n"
    one = pilot("starter.close()\n" + middle + "stacks = watch(); payload('', orphan='stop'); os._exit(3)")
    one.process.wait(10)
    record = read_record(tmp_path)
    assert record["why"] == "died"
    assert record["status"] in {3, None}  # kernels before 6.15 forget it


def test_a_pilot_that_died_before_its_keeper_was_up_is_recorded(pilot, tmp_path):
    pilot("stacks = watch(); os.kill(os.getpid(), 9)").process.wait(10)
    assert read_record(tmp_path)["why"] == "died"


def test_the_keeper_goes_with_its_pilot(pilot):
    one = pilot("say(); loop(60)")
    kept = one.hear()["keeper"]
    one.kill()
    wait_until(lambda: not alive(kept))


# -- size


def rss_mb(pid):
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def test_keeper_and_child_are_small_and_sleep(tmp_path):
    starter = KeeperStarter()
    for name in ("warm", "job"):
        (tmp_path / name).mkdir()
        starter.close()
        processes = starter.open("17", tmp_path / name, OrphanPolicy(), 1.0)
        spec = ProcessSpec("payload", ("/bin/sleep", "60"), {}, tmp_path, tmp_path / "o", tmp_path / "e")
        processes.start(spec)
        if name == "warm":
            processes.end(0.0)
            processes.close()
    (child,) = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    sizes = {"keeper": rss_mb(starter.pid), "child": rss_mb(child)}
    print(f"peak resident memory, MB: {sizes}")
    assert max(sizes.values()) <= 12
    time.sleep(0.2)
    before = switches(starter.pid) + switches(child)
    time.sleep(1.0)
    assert switches(starter.pid) + switches(child) == before
    processes.end(0.0)
    processes.close()
    starter.close()


def switches(pid):
    return int(Path(f"/proc/{pid}/status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])


def test_where_no_socket_can_be_its_address_is_left(tmp_path, monkeypatch):
    class Nowhere(socket.socket):
        def bind(self, address):
            if address == keeper.SOCKET:
                raise OSError(errno.ENOTSUP, "no sockets here")
            super().bind(address)

    monkeypatch.setattr(watch.socket, "socket", Nowhere)
    monkeypatch.chdir(tmp_path)
    listener, address = watch.listen_here()
    monkeypatch.undo()
    left = tmp_path / keeper.ADDRESS
    assert json.loads(left.read_text())["address"] == address
    assert Path(address).stat().st_mode & 0o777 == 0o600
    assert Path(address).parent.stat().st_mode & 0o777 == 0o700
    with listener, _connect(tmp_path):
        listener.accept()[0].close()
    monkeypatch.chdir(tmp_path)
    Tree(listener, address, Policy({})).leave()
    assert not Path(address).parent.exists()
    assert not left.exists()


def test_a_full_disk_leaves_no_half_line_and_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = Tree(None, keeper.SOCKET, Policy({}))
    assert tree.record({"n": 1})
    write = os.write
    monkeypatch.setattr(line.os, "write", lambda fd, data: write(fd, data[:3]))
    assert not tree.record({"n": 2})
    assert (tmp_path / keeper.PROCESSES).read_text() == '{"n": 1}\n'
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert tree.record({"n": 3})
    assert (tmp_path / keeper.PROCESSES).read_text() == '{"n": 1}\n{"n": 2}\n{"n": 3}\n'


@pytest.mark.parametrize("order", [{"policy": {"orphan": "flee"}}, {"grace_s": "long"}])
def test_a_policy_that_is_none_is_refused(order):
    with pytest.raises(ValueError, match=r"flee|long"):
        Policy(order)


def test_the_program_imports_nothing_of_the_pilot():
    folder = Path(keeper.__file__).parent
    for source in folder.glob("*.py"):
        assert "pilot_core" not in source.read_text(), source


INTRUDER = """
import os, socket, sys, time
if "aside" in sys.argv and os.fork():
    raise SystemExit
if "aside" in sys.argv:
    os.setsid()
sock = socket.socket(socket.AF_UNIX)
sock.connect("keeper.sock")
open("heard", "wb").write(b"heard " + sock.recv(4096))
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["directly", "aside"])
def test_a_payload_cannot_become_the_client_of_its_own_keeper(pilot, tmp_path, how):
    (tmp_path / "intruder.py").write_text(INTRUDER)
    wait = "import pathlib, os, time\nwhile not pathlib.Path('go').exists(): time.sleep(.02)\n"
    code = wait + f"os.spawnv(os.P_NOWAIT, {sys.executable!r}, [{sys.executable!r}, 'intruder.py', {how!r}])\n{LONG}"
    one = pilot(f"payload({code!r}, orphan='wait', wait_s=60); time.sleep(60)")
    one.hear()
    one.kill()
    (tmp_path / "go").touch()
    wait_until(lambda: (tmp_path / "heard").exists() and (tmp_path / "heard").read_text())
    assert (tmp_path / "heard").read_text() == "heard "
    again = attach(tmp_path)
    assert again is not None
    again.close()


def test_another_user_is_no_client():
    outside = os.getppid()
    assert may_serve(outside, os.geteuid())
    assert may_serve(0, os.geteuid()), "who has no number here is in a namespace above"
    assert not may_serve(outside, os.geteuid() + 1)


def test_who_has_gone_is_no_client():
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    child.wait()
    assert not may_serve(child.pid, os.geteuid())
