"""Payloads that behave badly: what they do is bounded, they end to the last process, and the job is told as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from pilot_core.io.cgroup import Groups

from .conftest import alive

PYTHON = f"{sys.executable} -I -S -c"
LEAVES = {
    "double fork": "(sh -c 'echo $$ > ../pid; exec sleep 300' &)",
    "own session": "setsid sh -c 'echo $$ > ../pid; exec sleep 300' &",
    "own session, all else closed": "setsid -f sh -c 'echo $$ > ../pid; exec sleep 300' <&- >&- 2>&-",
    "no environment": "setsid -f env -i PATH=$PATH sh -c 'echo $$ > ../pid; exec sleep 300'",
    "parent that reaps nothing": "(echo $$ > /dev/null; sh -c 'true & echo $$ > ../pid; exec sleep 300' &)",
    "deaf to everything": "setsid -f sh -c \"trap '' TERM HUP INT; echo \\$\\$ > ../pid; while :; do sleep 1; done\"",
}


@pytest.fixture
def run(site):
    """The report of a job that a pilot runs to its end, and what the pilot said."""

    def until_the_end(script, *settings, wrapped=(), **more):
        log = {"name": "log.tgz", "destination": str(site.store / "log.tgz")}
        site.job("one", script, log=log, **more)
        command = [*wrapped, sys.executable, "-m", "pilot_core", *site.arguments(*settings)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=site.root, timeout=580)
        assert "Traceback" not in done.stdout + done.stderr
        return site.report("one"), done.stdout + done.stderr

    return until_the_end


def log_of(site):
    with tarfile.open(site.store / "log.tgz") as archive:
        return {member.name.rpartition("/")[2]: member for member in archive.getmembers()}


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", LEAVES)
def test_what_a_payload_leaves_running_ends_and_is_no_fault(site, run, how):
    """pilot:D16, E20, F14"""
    report, said = run(f"{LEAVES[how]}\nwhile [ ! -s ../pid ]; do sleep 0.05; done")
    assert report["state"] == "finished", said
    assert not alive(int((site.work / "pid").read_text()))


@pytest.mark.skipif(os.geteuid() != 0, reason="a payload as another user needs root")
def test_a_fork_bomb_is_bounded_and_ends_to_the_last(site, run):
    user = "64123"
    bomb = (
        f"setpriv --reuid={user} --regid={user} --clear-groups sh -c 'for i in $(seq 500); do sleep 300 & done; wait'"
    )
    report, said = run(f"{bomb}\nps -u {user} -o pid= | wc -l > ../left; exit 3", "payload.nproc=40")
    assert report["state"] == "failed", said
    assert int((site.work / "left").read_text()) <= 40
    assert not subprocess.run(["ps", "-u", user], capture_output=True).stdout.count(b"sleep")


BOMB = """
import os, resource, threading, time
hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
open("../armed", "w").close()
while True:
    try:
        threading.Thread(target=time.sleep, args=[300]).start()
        os.fork()
    except (OSError, RuntimeError):
        time.sleep(0.01)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a pilot as another user needs root")
@pytest.mark.parametrize("settings", [("walltime.limit_s=8", "payload.grace_s=1"), ("payload.threads=40",)])
def test_a_bomb_that_takes_all_threads_of_its_user_does_not_keep_the_pilot_from_ending_it(site, run, settings):
    """It takes even those that its limit leaves to the pilot; nobody but this user has fewer for that.

    The user's leave to look into root's folders would not hold where credentials are hidden.
    """
    user = "64124"
    sees_all = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *sees_all, "prlimit", "--nproc=120")
    report, said = run(f"{PYTHON} '{BOMB}'", *settings, "payload.isolation=none", wrapped=as_user)
    assert (site.work / "armed").exists()
    assert report["state"] == "failed", said
    assert report["error"]["number"] == (1213 if "walltime" in settings[0] else 1305), said
    assert b"armed" not in subprocess.run(["ps", "-u", user, "-o", "args="], capture_output=True).stdout


def has_memory_group() -> bool:
    """Whether a group that counts memory may be made here."""
    group = Groups.of().memory
    return group is not None and group.version == 1 and os.access(group.path, os.W_OK)


@pytest.mark.skipif(not has_memory_group(), reason="needs a cgroup of version 1 that may be divided")
def test_a_payload_that_takes_too_much_memory_at_once_is_told_so_and_leaves_no_group(site, run):
    take = f"{PYTHON} 'b = bytearray(400 << 20)'; exit 1"
    report, said = run(f"cat /proc/self/cgroup >../groups; {take}", "memory.grace=100", needs={"memory": "64 MB"})
    assert report["error"]["number"] == 1212, said
    assert report["error"]["detail"] == "the kernel killed 1 of its processes"
    groups = [line for line in (site.work / "groups").read_text().splitlines() if "/pilot-" in line]
    assert any(":memory:" in line for line in groups)
    name = groups[0].rpartition("/")[2]
    site.await_that(lambda: not list(Path("/sys/fs/cgroup").rglob(name)))


def test_a_payload_that_stands_still_is_stopped_in_order(site):
    site.job("one", "echo $$ > ../pid; kill -STOP $$; sleep 300")
    pilot = site.start(*site.arguments("payload.grace_s=1"))
    payload = int(site.await_file(site.work / "pid"))
    pilot.send_signal(signal.SIGTERM)
    said, _ = pilot.communicate(timeout=60)
    assert not alive(payload)
    assert site.report("one")["error"]["number"] == 1201, said


# --- files ------------------------------------------------------------------------------------------------------------


SAYS = "echo said; echo 'fatal: no more' >&2"
REMOVES = {
    "the directory": 'rm -rf "$PWD"',
    "the directory, a file in its place": 'rm -rf "$PWD"; touch "$PWD"',
    "the directory, a link in its place": 'rm -rf "$PWD"; ln -s .. "$PWD"',
    "the directory, moved": 'mv "$PWD" "$PWD.away"',
}


@pytest.mark.parametrize("how", REMOVES)
def test_a_payload_that_removes_its_own_directory_is_reported(site, run, how):
    """Found: the site was blamed beside it, and there was no log."""
    report, said = run(f"{SAYS}; {REMOVES[how]}; sleep 2", "monitor.sample_s=1", outputs=[site.output("out")])
    assert report["state"] == "failed", said
    assert report["error"]["number"] == 1305, report["error"]
    assert report["error"]["detail"] == "the payload removed the job's directory"
    record = json.loads((site.work / "PanDA_Pilot-one.control" / "record.json").read_text())
    assert [error["number"] for error in record["errors"]] == [1305]
    assert (record["failure"]["class"], record["failure"]["fault"]) == ("program", "payload")
    assert "failed in look" not in said
    assert {"payload.stdout", "payload.stderr", "pilotlog.txt"} <= set(log_of(site))
    assert not (site.work / "PanDA_Pilot-one").exists()


def test_what_a_payload_said_gets_out_though_it_removed_the_files(site, run):
    report, said = run(f"{SAYS}; rm -rf ./* && echo more && exit 3")
    assert "payload.stderr:1: fatal: no more" in report["error"]["detail"], said
    with tarfile.open(site.store / "log.tgz") as archive:
        found = {each.name.rpartition("/")[2]: each for each in archive}
        assert archive.extractfile(found["payload.stdout"]).read() == b"said\nmore\n"
    assert not list((site.work / "PanDA_Pilot-one.control").glob("payload.*"))


def test_two_gigabytes_of_output_fill_nothing(site, run):
    """pilot:E07"""
    report, said = run("exec head -c 2147483648 /dev/zero", "payload.output_b=1 MB", "payload.grace_s=0.2")
    assert report["error"]["number"] == 1106, said
    assert "payload.stdout" in report["error"]["detail"]
    assert log_of(site)["payload.stdout"].size < 1_001_000


@pytest.mark.timeout(600)
def test_a_hundred_thousand_files_are_no_trouble(site, run):
    made = f"{PYTHON} 'for i in range(100_000): open(str(i), \"w\").close()'"
    report, said = run(f"mkdir d && cd d && {made} && cd .. && echo made > out", outputs=[site.output("out")])
    assert report["state"] == "finished", said
    assert not (site.work / "PanDA_Pilot-one").exists()


def test_a_sparse_file_is_not_taken_for_what_it_seems(site, run):
    report, said = run("truncate -s 4T sparse; echo made > out", "disk.limit_b=100 MB", outputs=[site.output("out")])
    assert report["state"] == "finished", said
    assert (site.store / "log.tgz").stat().st_size < 10_000_000


def without_rights():
    """A command that runs another as one for whom modes of files hold, root too."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_files_that_cannot_be_read_are_left_out(site, run):
    hides = (
        "mkdir hidden && echo x > hidden/file && echo x > secret && chmod 0 hidden secret; mkfifo pipe; echo made > out"
    )
    report, said = run(hides, wrapped=without_rights(), outputs=[site.output("out")])
    assert report["state"] == "finished", said
    assert {"payload.stdout", "payload.stderr"} <= set(log_of(site))
    assert not (site.work / "PanDA_Pilot-one").exists()


# --- memory -----------------------------------------------------------------------------------------------------------

HOLDS = f'{PYTHON} \'import time; held = b"x" * 400_000_000; open("up", "w").close(); time.sleep({{}})\''


def test_too_much_memory_without_a_group(run):
    """pilot:E14"""
    settings = ("memory.limit_b=200 MB", "monitor.sample_s=0.2", "payload.grace_s=0.2")
    report, said = run(HOLDS.format(300), *settings)
    assert report["error"]["number"] == 1235, said


GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def group():
    """A memory group of 200 MB; whoever writes its number into ``cgroup.procs`` belongs to it."""
    path = GROUPS / f"pilot-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no memory group of version 1 can be made here: {error}")
    (path / "memory.limit_in_bytes").write_text("200M")
    yield path
    path.rmdir()


def test_too_much_memory_in_a_group(run, group):
    """pilot:D11"""
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    report, said = run(f"{HOLDS.format(0)}; exit 7", wrapped=enter)
    assert report["error"]["number"] == 1212, said


# --- clocks -----------------------------------------------------------------------------------------------------------

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_clock_that_jumps_by_an_hour_ends_nothing(site, jump):
    """pilot:E06, H09"""
    clock = site.root / "clock"
    clock.write_text("+0")
    preload = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    preload |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    wait = 'echo "[$LD_PRELOAD]" > ../seen; while [ ! -e ../go ]; do sleep 0.05; done; echo made > out'
    site.job("one", wait, outputs=[site.output("out")], limits={"wall": "30 min"})
    pilot = site.start(*site.arguments("monitor.sample_s=0.1", "looping.limit_s=1800"), **preload)
    assert site.await_file(site.work / "seen") == "[]\n", "the payload has the true time"
    clock.write_text(jump)
    looks = site.work / "PanDA_Pilot-one.control" / "usage.jsonl"
    site.await_there(looks)
    before = looks.stat().st_size
    while looks.stat().st_size < before + 500:
        assert pilot.poll() is None
        time.sleep(0.05)
    (site.work / "go").touch()
    said, _ = pilot.communicate(timeout=60)
    assert site.report("one")["state"] == "finished", said
