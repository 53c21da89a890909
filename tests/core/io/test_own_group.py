"""A job's own control group: where it may be made, what is set there, and that all in it lives and ends as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pilot_core.io.cgroup import Group, Groups, kills_in
from pilot_core.io.own_group import NONE, Bounds, kill_group, places, remove_group
from pilot_core.io.process import Cleared, Complaint, Ended, Released, Started
from pilot_core.io.process_keeper import KeeperStarter
from pilot_core.keeper import group as keeper_group

from .test_process import Job

MB = 1 << 20
PYTHON = (sys.executable, "-I", "-S", "-c")


@pytest.fixture
def kept(tmp_path):
    keeper = KeeperStarter()
    job = Job(keeper, tmp_path / "control")
    yield job
    job.processes.close()
    keeper.close()


def over(job):
    """Bring all to its end, as at the end of a job."""
    job.processes.end(0.0)
    job.wait(Cleared)
    job.processes.release()
    job.wait(Released)


def here(kind, memory_b=None, threads=500):
    """Those places of this machine whose groups have a file."""
    bounds = Bounds(memory_b=memory_b, threads=threads, cores=1)
    found = places(f"pilot-test-{os.urandom(4).hex()}", ".", bounds, Groups.of())
    found = [place for place in found if list(Path(place["home"]).glob(kind))]
    return tuple(found) or pytest.skip(f"needs a cgroup that may be divided and has {kind}")


def members(place):
    return {int(pid) for pid in (Path(place["path"]) / "cgroup.procs").read_text().split()}


def test_all_that_a_process_starts_is_in_its_group_and_the_keeper_is_not(kept):
    groups = here("cgroup.procs")
    keeper_in = Path(f"/proc/{os.getpid()}/cgroup").read_text()
    kept.python("import os, time; os.fork() or os.setsid(); print(1, flush=True); time.sleep(60)", groups=groups)
    pid = kept.wait(Started).pid
    kept.wait_text(lines=2)
    for place in groups:
        assert pid in members(place)
        assert len(members(place)) == 2
    tree = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert Path(f"/proc/{tree}/cgroup").read_text() == keeper_in
    over(kept)
    assert not any(Path(place["path"]).exists() for place in groups)


def test_a_group_of_version_2_is_killed_at_once(kept):
    """Not even one that forks as fast as it can outruns that."""
    (place,) = here("cgroup.controllers")
    kept.python("import os\nprint(1, flush=True)\nwhile True:\n if os.fork(): os._exit(0)", groups=(place,))
    kept.wait_text()
    with open(f"{place['path']}/cgroup.kill", "w") as file:
        file.write("1")
    kept.wait(Ended)
    while members(place):
        time.sleep(0.01)
    over(kept)


def test_who_is_in_the_group_ends_with_the_job_whoever_started_it(kept):
    (place,) = here("cgroup.controllers")
    kept.run("/bin/sleep", "60", groups=(place,))
    kept.wait(Started)
    with subprocess.Popen(["/bin/sleep", "60"]) as elsewhere:
        Path(place["path"], "cgroup.procs").write_text(str(elsewhere.pid))
        over(kept)
    assert elsewhere.returncode == -signal.SIGKILL


def test_where_the_kernel_kills_no_group_it_is_frozen_and_dies_all_the_same(monkeypatch):
    (place,) = here("cgroup.controllers")
    own = keeper_group.Group()
    own.make([place])
    write = keeper_group.write

    def older(path, text):
        write(path.replace("cgroup.kill", "no.such.file"), text)

    with subprocess.Popen(["/bin/sleep", "60"]) as payload:
        write(f"{place['path']}/cgroup.procs", str(payload.pid))
        monkeypatch.setattr(keeper_group, "write", older)
        own.kill()
        while "frozen 1" not in Path(place["path"], "cgroup.events").read_text():
            time.sleep(0.01)
        payload.kill()
    assert payload.returncode == -signal.SIGKILL
    own.remove()
    assert not Path(place["path"]).exists()


def test_who_could_not_come_back_kills_nobody(tmp_path):
    own = keeper_group.Group()
    place = {"path": str(tmp_path / "own"), "home": str(tmp_path / "gone"), "set": {}}
    own.make([place])
    for name in ("cgroup.procs", "cgroup.kill"):
        (tmp_path / "own" / name).touch()
    with ExitStack() as after:
        own.enter(after)
    assert "gone/cgroup.procs: No such file or directory" in own.problem
    own.kill()
    assert (tmp_path / "own/cgroup.kill").read_text() == ""


def test_the_kernel_stops_what_takes_more_memory_than_its_group_may_have_and_says_whose_it_was(kept):
    groups = here("memory.limit_in_bytes", memory_b=32 * MB)
    (other,) = here("memory.limit_in_bytes")
    kept.python("b = bytearray(96 << 20)", groups=groups)
    assert kept.wait(Ended).signal == signal.SIGKILL
    assert kills_in(Path(groups[0]["path"])) == 1
    kept.python("pass", name="beside", groups=(other,))
    assert kept.wait(Ended).status == 0
    assert kills_in(Path(other["path"])) == 0
    over(kept)


def test_a_bomb_gets_no_more_threads_than_its_group_may_have(kept):
    groups = tuple(place for place in here("cgroup.procs", threads=40) if "pids.max" in place["set"])
    if not groups:
        pytest.skip("needs a cgroup that may be divided and counts processes")
    bomb = "import os, time\ntry:\n while True:\n  os.fork() or time.sleep(60)\nexcept OSError as error:\n print(error)"
    kept.python(bomb, groups=groups)
    assert "Resource temporarily unavailable" in kept.wait_text()[0]
    over(kept)


def test_a_group_that_cannot_be_made_keeps_nothing_from_running(kept, tmp_path):
    gone = {"path": str(tmp_path / "no/group"), "home": str(tmp_path), "set": {}}
    kept.run("/bin/true", groups=(gone,))
    assert "no/group: No such file or directory" in kept.wait(Complaint).error
    assert kept.wait(Ended).status == 0
    over(kept)


def test_the_group_of_a_dead_keeper_is_ended(kept):
    groups = here("cgroup.controllers")
    kept.run("/bin/sleep", "60", groups=groups)
    pid = kept.wait(Started).pid
    (below := Path(groups[0]["path"]) / "of_a_container").mkdir()
    kill_group(list(groups))
    assert kept.wait(Ended).signal == signal.SIGKILL
    remove_group(list(groups))
    assert not below.parent.exists()
    assert not Path(f"/proc/{pid}").exists()


# -- where, on made trees


def a_group(root: Path, name: str, **files: str) -> Path:
    (path := root / name).mkdir(parents=True)
    for file, text in {"cgroup.procs": "", **files}.items():
        (path / file.replace("__", ".")).write_text(text)
    return path


WANTED = Bounds(memory_b=4000, threads=70, cores=8)


def test_in_version_2_what_the_group_above_hands_down_is_set(tmp_path):
    above = a_group(tmp_path, "slot", cgroup__controllers="cpu io memory pids", cgroup__subtree_control="")
    own = a_group(tmp_path, "slot/pilot", cgroup__controllers="memory", cgroup__subtree_control="")
    groups = Groups(None, None, None, Group(own, tmp_path, 2))
    (place,) = places("p", "..", WANTED, groups)
    assert place == {
        "path": str(above / "p"),
        "home": str(own),
        "set": {"memory.max": "4000", "pids.max": "70", "cpu.weight": "800"},
    }
    (place,) = places("p", ".", WANTED, groups)
    assert (place["path"], place["set"]) == (str(own / "p"), {})
    assert (own / "cgroup.subtree_control").read_text() == "", "a group with processes is left as it is"
    assert places("p", NONE, WANTED, groups) == []


def test_in_version_1_each_hierarchy_has_its_own(tmp_path):
    memory, pids = a_group(tmp_path, "memory/slot"), a_group(tmp_path, "pids/slot")
    groups = Groups(Group(memory, tmp_path, 1), None, Group(pids, tmp_path, 1))
    assert places("p", ".", WANTED, groups) == [
        {"path": str(memory / "p"), "home": str(memory), "set": {"memory.limit_in_bytes": "4000"}},
        {"path": str(pids / "p"), "home": str(pids), "set": {"pids.max": "70"}},
    ]


def test_what_is_not_handed_over_is_left_alone(tmp_path):
    (tmp_path / "sealed").mkdir()
    groups = Groups(Group(tmp_path / "sealed", tmp_path, 1), None, None, Group(tmp_path / "sealed", tmp_path, 2))
    assert places("p", ".", WANTED, groups) == []


def test_version_2_counts_kills_in_its_events(tmp_path):
    group = a_group(tmp_path, "job", memory__events="low 0\noom 2\noom_kill 1")
    assert kills_in(group) == 1
    assert kills_in(a_group(tmp_path, "other")) is None
