"""A dispatcher, the commands that speak with it, pilots that work for it: what a newcomer does, and what goes wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from .cluster import CLEAN, PILOT, Cluster, alive, free_port, gone
from .storm import storm

DATA = b"in\0put\n" * 50_000
MAKE = "cat in.txt > out.txt; echo made >> out.txt"
WAIT = "echo $$ > {root}/pid.{name}; until [ -e {root}/go ]; do sleep 0.05; done; echo made > out.txt"


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


def shape(jobs):
    return [(job["state"], job["attempt"]) for job in jobs]


def in_state(state):
    return lambda jobs: all(job["state"] == state for job in jobs)


def waiting(cluster, name="one", **more):
    """A pilot whose payload waits for the file ``go``, and the payload's pid."""
    cluster.submit(WAIT.format(root=cluster.root, name=name), outputs=["out.txt"], log="log.tgz", **more)
    pilot = cluster.start()
    return pilot, int(cluster.await_file(f"pid.{name}"))


def let_go(cluster):
    (cluster.root / "go").touch()


def fetched(cluster, job=1, folder="here"):
    done = cluster.command("fetch", str(job), "--to", folder)
    assert done.returncode == 0, done.stderr
    return (cluster.root / folder / "out.txt").read_bytes()


# --- the newcomer's path ----------------------------------------------------------------------------------------------


def test_submit_run_jobs_fetch(cluster):
    cluster.serve()
    (cluster.root / "in.txt").write_bytes(DATA)
    inputs = [{"name": "in.txt", "source": "in.txt"}]
    assert cluster.submit(MAKE, 2, inputs=inputs, outputs=["out.txt"], log="log.tgz") == [1, 2]
    code, said = cluster.run()
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 1)] * 2
    assert fetched(cluster, 2) == DATA + b"made\n"
    assert cluster.command("fetch", "2", "--log", "--to", "here").returncode == 0
    assert (cluster.root / "here/log.tgz").stat().st_size
    cluster.stop()
    assert not (cluster.home / "server.json").exists()


def test_a_running_payload_is_cancelled(cluster):
    cluster.configure()
    cluster.serve()
    pilot, payload = waiting(cluster)
    assert cluster.command("cancel", "1").returncode == 0
    assert gone(payload)
    code, said = cluster.end(pilot)
    assert code == 0, said
    assert shape(cluster.jobs()) == [("cancelled", 1)]


def test_an_operator_looks_at_a_running_job_where_it_runs(cluster):
    """pilot:K01, K02, K03"""
    cluster.configure()
    cluster.serve()
    cluster.submit(f"echo '<b>said</b>' > seen.txt; {WAIT.format(root=cluster.root, name='one')}")
    pilot = cluster.start()
    cluster.await_file("pid.one")
    looked = cluster.command("debug", "1", "tail -n 1 seen.txt")
    assert (looked.returncode, looked.stdout) == (0, "<b>said</b>\n"), looked.stderr
    (told,) = [cluster.ask("debug", "1", "ls -1")]
    assert told["command"] == "ls -1"
    assert "seen.txt" in told["text"].splitlines()
    assert "is not in the job's directory" in cluster.command("debug", "1", "tail /etc/passwd").stdout
    wrong = cluster.command("debug", "1", "rm seen.txt")
    assert wrong.returncode == 1
    assert "command: 'rm' is not one of tail, ls, ps, du, gdb" in wrong.stderr
    assert not cluster.job()["debug"]
    let_go(cluster)
    code, said = cluster.end(pilot)
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 1)]
    late = cluster.command("debug", "1", "ls -1")
    assert (late.returncode, late.stderr) == (1, "pilot: job 1: it is finished already\n")


def test_a_failed_job_is_put_back_and_runs_again(cluster):
    cluster.serve()
    cluster.submit(f"[ -e {cluster.root}/mended ] && echo made > out.txt", outputs=["out.txt"])
    cluster.run()
    (job,) = cluster.jobs()
    assert (job["state"], job["exit_code"]) == ("failed", 1)
    assert "exit code 1" in str(job["error"])
    assert "The payload failed" in cluster.command("jobs", "1").stdout
    (cluster.root / "mended").touch()
    assert cluster.command("retry", "1").returncode == 0
    code, said = cluster.run("again")
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 2)]
    assert fetched(cluster) == b"made\n"


def test_a_malformed_submission_is_refused_with_the_field(cluster):
    cluster.serve()
    (cluster.root / "bad.json").write_text('{"script": "true", "outputs": [{"nme": "a"}], "needs": {"cores": "many"}}')
    done = cluster.command("submit", "bad.json")
    assert done.returncode == 2
    assert "outputs[0].nme" in done.stderr
    assert "needs.cores" in done.stderr
    assert "Traceback" not in done.stderr
    body = json.dumps({"queue": "local", "jobs": [{"description": {"script": "true", "outputs": [{"name": "a/b"}]}}]})
    status, told = asked(cluster, "POST", "/dispatcher/v1/submit", cluster.token("submit").read_text(), body)
    assert status == 400
    assert "jobs[0].description.outputs[0].name" in [each["path"] for each in told["problems"]]
    assert cluster.jobs() == []


# --- pilots that go ---------------------------------------------------------------------------------------------------


def test_an_evicted_pilots_job_goes_back_uncounted_and_another_finishes_it(cluster):
    """server:F-13 (what the server hears)"""
    cluster.configure()
    cluster.serve()
    pilot, payload = waiting(cluster)
    pilot.send_signal(signal.SIGTERM)
    code, said = cluster.end(pilot)
    assert code == 143, said
    assert not alive(payload)
    (job,) = cluster.jobs()
    assert (job["state"], job["attempt"], job["lost"]) == ("activated", 2, 0)
    let_go(cluster)
    code, said = cluster.run("other")
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 2)]
    assert fetched(cluster) == b"made\n"


@pytest.mark.timeout(180)
def test_a_lost_pilots_job_runs_again_and_not_without_end(cluster):
    cluster.configure(lost_after=2, retries=1)
    cluster.serve()
    cluster.submit(f"echo $$ > {cluster.root}/pid.$(basename $PWD); exec sleep 300")
    for attempt in (1, 2):
        pilot = cluster.start(f"work{attempt}", "payload.orphan=stop", "payload.grace_s=1", "pilot.empty_answers=60")
        cluster.wait(in_state("running"))
        pilot.kill()
        pilot.wait()
        state = "activated" if attempt == 1 else "failed"
        (job,) = cluster.wait(in_state(state))
        assert job["lost"] == attempt
    assert job["error"]["code"] == 100
    assert "not heard of for 2 s" in job["error"]["detail"]


def test_of_two_pilots_that_own_a_job_only_the_younger_is_heard(cluster):
    cluster.configure(lost_after=2)
    cluster.serve()
    script = f"echo $$ > {cluster.root}/pid.one; until [ -e ../go ]; do sleep 0.05; done; echo made > out.txt"
    cluster.submit(script, outputs=["out.txt"], log="log.tgz")
    older = cluster.start("older")
    cluster.await_file("pid.one")
    older.send_signal(signal.SIGSTOP)
    cluster.wait(in_state("activated"))
    (cluster.root / "pid.one").unlink()
    younger = cluster.start("younger")
    cluster.await_file("pid.one")
    cluster.wait(in_state("running"))
    (cluster.root / "older/go").touch()
    older.send_signal(signal.SIGCONT)
    _, said = cluster.end(older)
    assert "0 finished, 1 failed" in said
    log = (cluster.root / "older/pilotlog.txt").read_text()
    assert "attempt 2 is in its place" in log
    assert log.count("nothing is stored for it") <= 2, "each file is tried once"
    speak_for_the_older(cluster)
    assert shape(cluster.jobs()) == [("running", 2)], said
    (cluster.root / "younger/go").touch()
    assert cluster.end(younger)[0] == 0
    (job,) = cluster.jobs()
    assert (job["state"], job["attempt"], job["lost"]) == ("finished", 2, 1), said
    with pytest.raises(urllib.error.HTTPError, match="404"):
        cluster.stored("out.txt")
    assert {each["attempt"]: each["state"] for each in cluster.job()["attempts"]} == {1: "failed", 2: "finished"}
    assert fetched(cluster) == b"made\n"


def speak_for_the_older(cluster):
    """What a pilot would say that does not yet know of its loss."""
    token = cluster.token().read_text()
    assert asked(cluster, "PUT", "/storage/1.1/out.txt", token, "older")[0] == 409
    last = {"job_id": 1, "attempt_nr": 1, "job_status": "finished", "job_output_report": '{"out.txt": {"guid": "g"}}'}
    status, told = asked(cluster, "POST", "/api/v1/pilot/update_job", token, json.dumps(last))
    assert (status, told["data"]["command"]) == (200, "tobekilled")


def test_a_report_that_comes_too_late_is_told_so_and_not_that_it_is_delivered(cluster):
    cluster.configure(lost_after=2)
    cluster.serve()
    cluster.submit(WAIT.format(root=cluster.root, name="one"))
    pilot = cluster.start("work", "report.final_budget_s=1", "pilot.failed_answers=1")
    cluster.await_file("pid.one")
    cluster.stop()
    let_go(cluster)
    cluster.end(pilot)
    cluster.serve()
    cluster.wait(in_state("activated"))
    assert cluster.run("other")[0] == 0
    line = [*PILOT, "recover", str(cluster.root / "work")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=cluster.root, env=CLEAN, timeout=60)
    assert "job 1: its last report came too late: attempt 2 is in its place; nothing is to be done" in done.stdout
    assert "delivered" not in done.stdout
    assert shape(cluster.jobs()) == [("finished", 2)]


# --- a dispatcher that goes -------------------------------------------------------------------------------------------


def test_a_dispatcher_that_comes_back_finds_the_payload_healthy(cluster):
    """pilot:H04"""
    cluster.configure()
    cluster.serve()
    pilot, payload = waiting(cluster)
    cluster.kill()
    let_go(cluster)
    assert gone(payload)
    cluster.serve()
    code, said = cluster.end(pilot)
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 1)]
    assert fetched(cluster) == b"made\n"


@pytest.mark.parametrize("outputs", [[], ["out.txt"]])
def test_a_dispatcher_that_moves_is_found_at_its_other_address(cluster, outputs):
    cluster.configure()
    cluster.serve()
    other = free_port()
    cluster.submit(WAIT.format(root=cluster.root, name="one"), outputs=outputs)
    pilot = cluster.start(urls=(cluster.url, f"http://127.0.0.1:{other}"))
    cluster.await_file("pid.one")
    cluster.stop()
    cluster.port = other
    cluster.serve()
    let_go(cluster)
    code, said = cluster.end(pilot)
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 1)]


def test_a_result_that_cannot_be_told_waits_in_the_outbox_for_the_next_pilot(cluster):
    """The dispatcher moves to where this pilot does not look for it. pilot:H02"""
    cluster.configure()
    cluster.serve()
    cluster.submit(WAIT.format(root=cluster.root, name="one"))
    outbox = cluster.root / "outbox"
    settings = (f"report.outbox={outbox}", "report.final_budget_s=1", "pilot.failed_answers=1", "pilot.empty_answers=2")
    pilot = cluster.start("work", *settings)
    cluster.await_file("pid.one")
    cluster.stop()
    cluster.port = free_port()
    cluster.serve()
    let_go(cluster)
    _, said = cluster.end(pilot)
    assert "nobody listens there" in said
    assert len(list(outbox.glob("*.json"))) == 1, said
    _, said = cluster.run("other", *settings)
    assert not list(outbox.glob("*.json")), said
    assert shape(cluster.jobs()) == [("finished", 1)]


def test_who_joins_anew_where_the_dispatcher_went_delivers_what_waits(cluster):
    """Its join string says where it is now, and with which token."""
    cluster.configure()
    cluster.serve()
    cluster.submit(WAIT.format(root=cluster.root, name="one"))
    outbox = cluster.root / "outbox"
    settings = (f"report.outbox={outbox}", "report.final_budget_s=1", "pilot.failed_answers=1", "pilot.empty_answers=2")
    pilot = cluster.join("work", *settings)
    cluster.await_file("pid.one")
    cluster.stop()
    cluster.token().write_text("another-token-that-is-long-enough\n")
    cluster.port = free_port()
    cluster.serve()
    let_go(cluster)
    _, said = cluster.end(pilot)
    assert "nobody listens there" in said
    assert len(list(outbox.glob("*.json"))) == 1, said
    _, said = cluster.end(cluster.join("other", *settings))
    assert not list(outbox.glob("*.json")), said
    assert shape(cluster.jobs()) == [("finished", 1)]


@pytest.mark.parametrize("place", [("--join", "home/join"), ("--home", "home")])
def test_who_recovers_says_where_the_dispatcher_went(cluster, place):
    """It has another address and another token, and an output waits to be stored as well."""
    cluster.configure()
    cluster.serve()
    cluster.submit(WAIT.format(root=cluster.root, name="one"), outputs=["out.txt"], log="log.tgz")
    pilot = cluster.join("work", "payload.orphan=finish")
    cluster.await_file("pid.one")
    pilot.kill()
    pilot.wait()
    cluster.stop()
    cluster.token().write_text("another-token-that-is-long-enough\n")
    cluster.port = free_port()
    cluster.serve()
    let_go(cluster)
    line = [*PILOT, "recover", "work", *place]
    done = subprocess.run(line, capture_output=True, text=True, cwd=cluster.root, env=CLEAN, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shape(cluster.jobs()) == [("finished", 1)]
    assert fetched(cluster) == b"made\n"


# --- who may what -----------------------------------------------------------------------------------------------------


def asked(cluster, method, path, token="", body=None):
    """The status and the answer of a request."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token.strip()}"} if token else {})
    request = urllib.request.Request(cluster.url + path, body and body.encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            body = refused.read()
            return refused.code, {"error": body.decode()} if body.startswith(b"ERROR : ") else json.loads(body)


STRANGE = [
    ("POST", "/api/v1/pilot/acquire_jobs"),
    ("POST", "/api/v1/pilot/update_job"),
    ("GET", "/api/v1/pilot/get_job_status?job_ids=1"),
    ("GET", "/api/v1/system/is_alive"),
    ("GET", "/cache/schedconfig/local.all.json"),
    ("GET", "/cache/ddmendpoints.json"),
    ("GET", "/dispatcher/v1/queues"),
    ("GET", "/dispatcher/v1/jobs"),
    ("GET", "/dispatcher/v1/jobs/1"),
    ("POST", "/dispatcher/v1/submit"),
    ("POST", "/dispatcher/v1/cancel"),
    ("POST", "/dispatcher/v1/retry"),
    ("POST", "/dispatcher/v1/debug"),
    ("GET", "/storage/1.1/out.txt"),
    ("PUT", "/storage/1.1/out.txt"),
    ("GET", "/nothing/here"),
]


def test_a_stranger_gets_nothing(cluster):
    (cluster.home / "server.yaml").write_text("queues: {secretive: {}}")
    cluster.serve()
    cluster.submit("true")
    for token in ("", "0" * 43, "run"):
        for method, path in STRANGE:
            status, told = asked(cluster, method, path, token, "{}" if method != "GET" else None)
            assert (status, list(told)) == (403, ["error"]), (method, path, told)
            assert "secretive" not in str(told)
    with urllib.request.urlopen(cluster.url, timeout=10) as page:
        assert b"secretive" not in page.read()


def test_a_token_opens_only_its_own_doors(cluster):
    cluster.serve()
    assert asked(cluster, "GET", "/dispatcher/v1/jobs", cluster.token("run").read_text())[0] == 403
    submit = cluster.token("submit").read_text()
    _, envelope = asked(cluster, "POST", "/api/v1/pilot/acquire_jobs", submit, '{"site_name": "local"}')
    assert envelope["message"].startswith("production or pilot role required")
    assert asked(cluster, "POST", "/dispatcher/v1/debug", submit, '{"ids": [1]}')[0] == 403


def test_a_revoked_token_is_told_in_a_sentence_and_no_result_is_lost(cluster):
    cluster.configure()
    cluster.serve()
    own = cluster.root / "token"
    shutil.copy(cluster.token(), own)
    cluster.submit(WAIT.format(root=cluster.root, name="one"))
    outbox = cluster.root / "outbox"
    settings = (f"report.outbox={outbox}", "report.final_budget_s=1", "pilot.empty_answers=2")
    pilot = cluster.start("work", *settings, token=own)
    cluster.await_file("pid.one")
    cluster.token().write_text("another-token-that-is-long-enough\n")
    let_go(cluster)
    code, said = cluster.end(pilot)
    assert code == 68, said
    assert "connection.token" in said
    assert "Traceback" not in said
    assert len(list(outbox.glob("*.json"))) == 1, said
    _, said = cluster.run("other", *settings)
    assert shape(cluster.jobs()) == [("finished", 1)], said


def refuse(cluster, own):
    """Another token opens the dispatcher now."""
    cluster.token().write_text("another-token-that-is-long-enough\n")
    return lambda: shutil.copy(cluster.token(), own)


def take_away(cluster, own):
    """The pilot's token is not where it was."""
    own.rename(own.with_suffix(".away"))
    return lambda: own.with_suffix(".away").rename(own)


def let_others_read(cluster, own):
    own.chmod(0o644)
    return lambda: own.chmod(0o600)


def kept_out(cluster, spoil):
    """A pilot that has an output to store and no token to do it with, and what mends that."""
    cluster.configure()
    cluster.serve()
    own = cluster.root / "token"
    shutil.copy(cluster.token(), own)
    cluster.submit(WAIT.format(root=cluster.root, name="one"), outputs=["out.txt"], log="log.tgz")
    pilot = cluster.start("work", token=own)
    cluster.await_file("pid.one")
    mend = spoil(cluster, own)
    let_go(cluster)
    end = time.monotonic() + 30
    while "1383" not in (cluster.root / "work/pilotlog.txt").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    return pilot, mend


@pytest.mark.parametrize("spoil", [refuse, take_away, let_others_read])
def test_outputs_wait_for_a_token_that_somebody_mends(cluster, spoil):
    """Found: a token file that was away for a second failed a finished payload."""
    pilot, mend = kept_out(cluster, spoil)
    mend()
    code, said = cluster.end(pilot)
    assert code == 0, said
    assert shape(cluster.jobs()) == [("finished", 1)]
    assert fetched(cluster) == b"made\n"


def test_who_died_without_its_token_has_its_outputs_stored_by_who_recovers(cluster):
    pilot, mend = kept_out(cluster, take_away)
    pilot.kill()
    pilot.wait()
    mend()
    line = [*PILOT, "recover", str(cluster.root / "work")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=cluster.root, env=CLEAN, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shape(cluster.jobs()) == [("finished", 1)]
    assert fetched(cluster) == b"made\n"


def test_a_pilot_that_was_stopped_for_too_long_finishes_what_nobody_else_has(cluster):
    """Found: its lease was lost, so what it had done was thrown away, and nobody was any better off."""
    cluster.configure(lost_after=2)
    cluster.serve()
    pilot, _ = waiting(cluster)
    pilot.send_signal(signal.SIGSTOP)
    cluster.wait(in_state("activated"))
    let_go(cluster)
    pilot.send_signal(signal.SIGCONT)
    code, said = cluster.end(pilot)
    assert code == 0, said
    (job,) = cluster.jobs()
    assert (job["state"], job["attempt"], job["lost"]) == ("finished", 1, 0)
    assert fetched(cluster) == b"made\n"


# --- clocks and disks -------------------------------------------------------------------------------------------------


OFF = '''
"""A clock that is off."""
import time
real = time.time
time.time = lambda: real() + {}
'''


@pytest.mark.parametrize("off_s", [3600, -3600])
def test_a_pilot_whose_clock_is_an_hour_off_does_its_work(cluster, off_s):
    cluster.configure(lost_after=60)
    cluster.serve()
    cluster.submit("echo made > out.txt; sleep 1.2", outputs=["out.txt"], log="log.tgz")
    clock = cluster.root / "clock.py"
    clock.write_text(OFF.format(off_s))
    code, said = cluster.run("work", f"bootstrap.pilotfile={clock}")
    assert code == 0, said
    job = cluster.job()
    assert shape([job]) == [("finished", 1)], said
    assert 0 <= job["ended"] - job["began"] < 60, "times are told by the dispatcher's clock"
    assert fetched(cluster) == b"made\n"


IN_A_SMALL_DISK = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
FILL = "echo filling >&2; dd if=/dev/zero of=filler bs=64k 2>/dev/null; "


def may_mount():
    """Whether this user may mount something in a namespace of its own."""
    tried = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return shutil.which("unshare") is not None and not subprocess.run(tried, capture_output=True).returncode


small = pytest.mark.skipif(not may_mount(), reason="needs root, or a mount in a namespace of one's own")


def in_a_small_disk(folder):
    folder.mkdir(exist_ok=True)
    return "unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, str(folder)


@small
def test_a_pilot_whose_disk_fills_says_so_and_tells_the_end(cluster):
    """server:F-15"""
    cluster.serve()
    cluster.submit(f"{FILL} cp filler out.txt || exit 9")
    line = [sys.executable, "-m", "pilot_core", *cluster.arguments("work", "slot.free_disk_b=1 MB")]
    wrapped = [*in_a_small_disk(cluster.root / "work"), *line]
    done = subprocess.run(wrapped, capture_output=True, text=True, cwd=cluster.root, timeout=90)
    (job,) = cluster.jobs()
    assert (job["state"], job["attempt"]) == ("failed", 1), done.stdout + done.stderr
    assert job["error"]["code"] == 1098
    assert "Traceback" not in done.stdout + done.stderr


FULL = 'mount -t tmpfs -o size=256k tmpfs "$0" && { head -c 300k /dev/zero > "$0/filler" || exec "$@"; }'


@small
def test_a_dispatcher_that_cannot_start_on_a_full_disk_says_so(cluster):
    line = [*PILOT, "serve", "--home", str(cluster.home)]
    wrapped = ["unshare", "-rm", "sh", "-c", FULL, str(cluster.home), *line]
    done = subprocess.run(wrapped, capture_output=True, text=True, cwd=cluster.root, env=CLEAN, timeout=60)
    assert done.returncode == 1, done.stderr
    assert f"{cluster.home}: No space left on device; make room on its disk, and start again" in done.stderr
    assert "internal error" not in done.stderr


@small
def test_a_dispatcher_whose_own_disk_is_full_says_so_once_and_when_that_is_over(cluster):
    """Found: it refused what was submitted, and its log said nothing."""
    server = cluster.serve(*in_a_small_disk(cluster.home))
    inside = Path(f"/proc/{server.pid}/root{cluster.home}")
    (cluster.root / "job.json").write_text('{"script": "true"}')
    submit = [*PILOT, "submit", "job.json", "--url", cluster.url, "--token-file", str(inside / "tokens/submit")]
    submitting = partial(
        subprocess.run, submit, capture_output=True, text=True, cwd=cluster.root, env=CLEAN, timeout=60
    )
    fill(inside / "filler")
    for _ in range(3):
        done = submitting()
        assert (done.returncode, "database or disk is full" in done.stderr) == (1, True), done.stderr
    (inside / "filler").unlink()
    done = submitting()
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    log = (cluster.root / "serve.log").read_text()
    assert log.count("the database fails") == log.count("make room on its disk") == 1, log
    assert log.count("the database works again; it had failed 3 times") == 1, log


def fill(path):
    """Take up the last byte of a disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size_b in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size_b))


@small
def test_a_dispatcher_whose_disk_fills_stores_no_half_and_recovers(cluster):
    """Its storage is a disk of 4 MB: the large file is refused in a sentence, the small one is stored."""
    storage = cluster.root / "storage"
    (cluster.home / "server.yaml").write_text(json.dumps({"storages": {"OWN": {"path": str(storage)}}}))
    cluster.serve(*in_a_small_disk(storage))
    cluster.submit("head -c 5000000 /dev/zero > out.txt", outputs=["out.txt"])
    cluster.submit("echo made > out.txt", outputs=["out.txt"])
    _, said = cluster.run()
    large, little = cluster.jobs()
    assert (large["state"], little["state"]) == ("failed", "finished"), said
    assert "there is no room for 'out.txt'" in large["error"]["detail"], large["error"]
    assert fetched(cluster, 2) == b"made\n"
    status, _ = asked(cluster, "GET", "/storage/1.1/out.txt", cluster.token().read_text())
    assert status == 404


@pytest.mark.timeout(300)
def test_a_dispatcher_killed_again_and_again_loses_no_job_and_ends_each_once(tmp_path):
    storm(tmp_path, jobs=40, kills=6, limit_s=120, seed=9)
